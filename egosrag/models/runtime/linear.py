"""Matrix products of a few tokens on the CPU, by oneDNN instead of MKL.

PyTorch gives float32 products to MKL, which copies the whole weight into its own layout each time more than one token
comes: two tokens cost ten times one token. oneDNN reads the weight as it lies, so that prompts, several requests at
once and guessed tokens cost what they should. Laid out anew, for one processor, it is read sooner still: up to six
tokens cost what one does. Small weights are kept both ways then, since one token alone is faster by MKL with them.
"""

from __future__ import annotations

import os
from types import MethodType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_LARGE = 1 << 19  # weights: two megabytes, below which the call itself costs more than reading them
# Shapes whose programs oneDNN and PyTorch's layer over it keep. They keep 1,024 by default, each prompt's length is a
# shape for every weight, and what they keep of one takes up to a megabyte: a process grew by 0.9 MB a call.
_SHAPES = "64"
_ROWS = 4  # oneDNN's kernels for one, two and three rows take longer than the one for four


def quicken(model: torch.nn.Module, *, pack: bool = False) -> None:
    """Let the float32 linear layers of a model on the CPU use oneDNN where no gradient is asked for.

    Args:
        model: whose ``torch.nn.Linear`` layers are changed in place; other layers, types and devices stay.
        pack: lay weights out anew; the model can only infer then. Of large ones no copy is left behind, but those
            that other layers share, as an embedding does, stay.
    """
    import torch

    # oneDNN's product for plain weights is what torch.compile calls; eager PyTorch has no name for it.
    if not torch._C._has_mkldnn or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return
    for name in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):  # read at the first product
        os.environ.setdefault(name, _SHAPES)
    uses: dict[int, int] = {}
    for layer in model.modules():
        for parameter in layer.parameters(recurse=False):
            uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    for layer in model.modules():
        if type(layer) is torch.nn.Linear and layer.weight.dtype == torch.float32 and layer.weight.device.type == "cpu":
            large = layer.weight.numel() >= _LARGE
            layer.forward = MethodType(_forward, layer)  # type: ignore[method-assign]
            if not pack or (large and uses[id(layer.weight)] > 1):
                continue
            # A plain attribute, no parameter: nothing but these products can read it.
            packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)
            layer.packed = packed
            if large:
                del layer.weight
                layer.weight = packed
                layer.forward = MethodType(_packed, layer)  # type: ignore[method-assign]


def restore(model: torch.nn.Module) -> None:
    """Undo ``quicken``."""
    import torch

    for layer in model.modules():
        layer.__dict__.pop("forward", None)
        layer.__dict__.pop("packed", None)
        packed = layer.__dict__.pop("weight", None)
        if packed is not None:
            layer.weight = torch.nn.Parameter(packed.to_dense())


def _forward(layer: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
    import torch

    if x.numel() == x.shape[-1] or x.dtype != torch.float32 or torch.is_grad_enabled():
        return torch.nn.functional.linear(x, layer.weight, layer.bias)
    weight = layer.__dict__.get("packed", layer.weight)
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, layer.bias, "none", [], "")
    return product


def _packed(layer: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
    import torch

    rows = x.reshape(-1, x.shape[-1])
    few = 0 < len(rows) < _ROWS
    given = torch.nn.functional.pad(rows, (0, 0, 0, _ROWS - len(rows))) if few else rows
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(given, layer.weight, layer.bias, "none", [], "")
    return product[: len(rows)].reshape(*x.shape[:-1], layer.out_features)
