"""The training of pocket, the embedded default model, from scratch. Frozen: the shipped weights were made with it.

In reading order: ``grammar`` (generates the samples), ``args`` (settings), ``data`` (tokenizer and batches), ``train``
(the run), ``export`` (checkpoint folder, evaluation, model card). Used by ``train``: ``copy_circuit`` (initial
weights), ``attention`` (for bfloat16 on a CPU), ``muon`` (optimizer).
"""
