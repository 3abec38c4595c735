"""Model FLOPs utilization (MFU): the share of a GPU's peak arithmetic that a run used (Chowdhery et al. 2022, app. B).

Counted are the matrix products that the loss needs: 2 FLOP per weight and token for the forward pass, 2 for the
gradient of the input, 2 for the gradient of the weight if it is trained. The head is needed at tokens with a loss only.
Attention's own products are left out: at the lengths of instruction data they are about a hundredth.
"""

from __future__ import annotations

import math
from typing import Any

# Peak FLOP/s of bf16 matrix products without sparsity (NVIDIA's data sheets), by a part of the device's name.
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40": 181e12, "4090": 165e12, "3090": 71e12}


def flops_per_token(model: Any, loss_share: float) -> float:
    """FLOP of training on one token.

    Args:
        model: the model or PEFT model.
        loss_share: tokens with a loss as a share of all tokens.
    """
    import torch

    total = 0.0
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            share = loss_share if module.out_features == model.config.vocab_size else 1.0
            total += math.prod(module.weight.shape) * share * (6 if module.weight.requires_grad else 4)
    return total


def mfu(model: Any, tokens_per_second: float, loss_share: float, device: str, processes: int) -> float | None:
    """The share of the devices' peak that a bf16 run used; None if the device's peak is unknown.

    Args:
        model: the model or PEFT model.
        tokens_per_second: over all processes.
        loss_share: tokens with a loss as a share of all tokens.
        device: the device's name, from CUDA.
        processes: number of processes, with one device each.
    """
    peak = next((value for name, value in PEAK_FLOPS.items() if name in device), None)
    return round(flops_per_token(model, loss_share) * tokens_per_second / (peak * processes), 3) if peak else None
