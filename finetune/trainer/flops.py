"""How much of a GPU's arithmetic a run used: model FLOPs utilisation (Chowdhery et al. 2022, appendix B).

Counted are the matrix products that the loss needs: 2 FLOP a weight and token forward, 2 for the gradient of what came
in, 2 for the gradient of the weight where it is trained. The head is needed at learned tokens alone. Attention's own
products are left out: at the lengths of instruction data they are about a hundredth.
"""

from __future__ import annotations

import math
from typing import Any

# What a bf16 matrix product reaches at most, FLOP/s without sparsity, by a part of the device's name.
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40": 181e12, "4090": 165e12, "3090": 71e12}


def per_token(net: Any, learned: float) -> float:
    """FLOP that one token of training takes.

    Args:
        net: the model, PEFT's around it or not.
        learned: learned tokens as a share of all.
    """
    import torch

    total = 0.0
    for module in net.modules():
        if isinstance(module, torch.nn.Linear):
            share = learned if module.out_features == net.config.vocab_size else 1.0
            total += math.prod(module.weight.shape) * share * (6 if module.weight.requires_grad else 4)
    return total


def mfu(net: Any, tokens_per_second: float, learned: float, device: str, processes: int) -> float | None:
    """The share of the devices' peak that a bf16 run used; None where the peak of the device is not known.

    Args:
        net: the model.
        tokens_per_second: over all processes.
        learned: learned tokens as a share of all.
        device: the name that CUDA gives it.
        processes: with a device each.
    """
    peak = next((value for name, value in PEAK.items() if name in device), None)
    return round(per_token(net, learned) * tokens_per_second / (peak * processes), 3) if peak else None
