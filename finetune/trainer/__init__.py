"""One training run of ``finetune.sft`` and ``finetune.inverse``, on Hugging Face's Trainer.

In reading order: ``args`` (settings), ``model`` (tokenizer, weights, LoRA), ``loss`` (fused loss on packed sequences),
``train`` (the run), ``run_folder`` (checkpoints and the result on disk), ``record`` (``run.json`` and ``loss.png``).
Used by these: ``progress`` and ``samples`` (callbacks), ``generation`` (greedy generation), ``flops`` (utilization).
"""
