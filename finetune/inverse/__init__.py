"""The inverse-data experiment (report 3): does training on (input, output) to instruction help?

In reading order: ``args`` (settings), ``rows`` (a row in both directions, and the order of training of each arm),
``recall`` (how well a model recovers the instruction of an output), ``experiment`` (train and measure every seed),
``__main__`` (the command ``python -m finetune.inverse``).
"""
