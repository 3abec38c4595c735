"""Training data: rows of data sets to token ids and labels.

In the order of the data: ``args`` (settings), ``rows`` (read files and hub data sets), ``shapes`` (Alpaca and text rows
to examples), ``conversations`` (ShareGPT and ChatML rows), ``roleplay`` (role-play rows), ``tokenization`` (one example
to token ids and labels, truncated to ``max_length``), ``dataset`` (all of it, with counts). ``embedder_pairs`` makes
the training pairs of ``finetune.embedder``.
"""
