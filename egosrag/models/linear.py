"""Matrix products of a few tokens on the CPU, by oneDNN instead of MKL.

PyTorch gives float32 products to MKL, which copies the whole weight into its own layout each time more than one token
comes: two tokens cost ten times one token. oneDNN reads the weight as it lies, so that prompts, several requests at
once and guessed tokens cost what they should. One token alone is faster by MKL and stays there.
"""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def quicken(model: torch.nn.Module) -> None:
    """Let the float32 linear layers of a model on the CPU use oneDNN where no gradient is asked for.

    Args:
        model: whose ``torch.nn.Linear`` layers are changed in place; other layers, types and devices stay.
    """
    import torch

    # oneDNN's product for plain weights is what torch.compile calls; eager PyTorch has no name for it.
    if not torch._C._has_mkldnn or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return
    for layer in model.modules():
        if type(layer) is torch.nn.Linear and layer.weight.dtype == torch.float32 and layer.weight.device.type == "cpu":
            layer.forward = MethodType(_forward, layer)  # type: ignore[method-assign]


def restore(model: torch.nn.Module) -> None:
    """Undo ``quicken``."""
    for layer in model.modules():
        layer.__dict__.pop("forward", None)


def _forward(layer: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
    import torch

    if x.numel() == x.shape[-1] or x.dtype != torch.float32 or torch.is_grad_enabled():
        return torch.nn.functional.linear(x, layer.weight, layer.bias)
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, layer.weight, layer.bias, "none", [], "")
    return product
