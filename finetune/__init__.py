"""Training, run from a checkout: ``python -m finetune.sft | inverse | embedder | pocket | merge --config FILE``."""
