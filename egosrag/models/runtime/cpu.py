"""Faster matrix products on the CPU: oneDNN instead of MKL in the linear layers of language models and embedders.

PyTorch gives float32 products to MKL, which copies the whole weight into its own layout in every call with more than
one row (two tokens cost ten times one token), and which is slow on processors that are not Intel's. oneDNN reads the
weight as it is stored, so that prompts, batches and draft tokens cost what they should. Packed once into oneDNN's own
layout, as ``torch.compile`` does too, the weight is read faster still: up to six tokens cost what one does. Results
differ from PyTorch's own as those of two batch sizes do, in the last bits.

- ``use_onednn`` is for causal models and keeps their ``torch.nn.Linear`` layers, onto which adapters are loaded.
- ``pack_encoder`` is for embedders, whose layers it replaces. Within ``bfloat16_products`` they multiply in bfloat16
  where the processor has instructions for it.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from types import MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

_LARGE_WEIGHT = 1 << 19  # elements (2 MB): below, the call itself costs more than reading the weight
# Shapes whose compiled kernels oneDNN and PyTorch's layer over it cache. The default is 1,024; each prompt length is a
# shape for every weight, and an entry takes up to a megabyte: a process grew by 0.9 MB a call.
_CACHED_SHAPES = "64"
_MIN_ROWS = 4  # oneDNN's kernels for one, two and three rows take longer than the one for four


def use_onednn(model: nn.Module, *, pack: bool = False) -> None:
    """Let the float32 linear layers of a model on the CPU multiply by oneDNN where no gradient is needed.

    Nothing is done where PyTorch was built without oneDNN.

    Args:
        model: its ``torch.nn.Linear`` layers are changed in place; other layers, types and devices stay.
        pack: pack the weights; the model can only infer then. Large ones are kept in the packed layout alone, except
            those that other layers share, as an embedding does. Small ones are kept in both layouts, since MKL
            multiplies a single row by them faster.
    """
    import torch

    # oneDNN's product for plain weights is what torch.compile calls; eager PyTorch has no public name for it.
    if not torch._C._has_mkldnn or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return
    for name in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):  # read at the first product
        os.environ.setdefault(name, _CACHED_SHAPES)
    uses: dict[int, int] = {}  # layers that hold each parameter, by its id
    for layer in model.modules():
        for parameter in layer.parameters(recurse=False):
            uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    for layer in model.modules():
        if type(layer) is torch.nn.Linear and layer.weight.dtype == torch.float32 and layer.weight.device.type == "cpu":
            large = layer.weight.numel() >= _LARGE_WEIGHT
            layer.forward = MethodType(_forward, layer)  # type: ignore[method-assign]
            if not pack or (large and uses[id(layer.weight)] > 1):
                continue
            # A plain attribute, no parameter: nothing but these products can read it.
            packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)
            layer.packed = packed
            if large:
                del layer.weight
                layer.weight = packed
                layer.forward = MethodType(_packed_forward, layer)  # type: ignore[method-assign]


def restore_linear(model: nn.Module) -> None:
    """Undo ``use_onednn``."""
    import torch

    for layer in model.modules():
        layer.__dict__.pop("forward", None)
        layer.__dict__.pop("packed", None)
        packed = layer.__dict__.pop("weight", None)
        if packed is not None:
            layer.weight = torch.nn.Parameter(packed.to_dense())


def _forward(layer: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    """Of a layer that has its plain weight: (..., in) to (..., out), a single row by MKL."""
    import torch

    if x.numel() == x.shape[-1] or x.dtype != torch.float32 or torch.is_grad_enabled():
        return torch.nn.functional.linear(x, layer.weight, layer.bias)
    weight = layer.__dict__.get("packed", layer.weight)
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, layer.bias, "none", [], "")
    return product


def _packed_forward(layer: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    """Of a layer that has the packed weight alone: (..., in) to (..., out)."""
    import torch

    rows = x.reshape(-1, x.shape[-1])
    padded = rows
    if 0 < len(rows) < _MIN_ROWS:
        padded = torch.nn.functional.pad(rows, (0, 0, 0, _MIN_ROWS - len(rows)))
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(padded, layer.weight, layer.bias, "none", [], "")
    return product[: len(rows)].reshape(*x.shape[:-1], layer.out_features)


def has_fast_bfloat16(device: str = "cpu") -> bool:
    """Whether a device multiplies bfloat16 by itself: a CPU with AMX or AVX-512 BF16, CUDA from Ampere on, others."""
    import torch

    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not device.startswith("cpu"):
        return True
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def bfloat16_products() -> AbstractContextManager[None]:
    """A context in which encoders of ``pack_encoder`` multiply in bfloat16, where ``has_fast_bfloat16``.

    It takes two thirds of the time, and each vector keeps its direction to a cosine of 0.9999 (measured with MiniLM
    on a manual's 647 passages). On other processors nothing changes.
    """
    import torch

    return torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16())


def pack_encoder(model: nn.Module) -> None:
    """Replace the float32 linear layers of an encoder on the CPU by packed ones, which can only infer.

    In place, and no copy of the weights is left behind. Nothing is done where PyTorch was built without oneDNN.
    """
    import torch

    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is torch.nn.Linear and child.weight.device.type == "cpu" and _is_float32(child):
                setattr(module, name, _packed_linear(child))


def _is_float32(layer: nn.Linear) -> bool:
    import torch

    return layer.weight.dtype == torch.float32


def _packed_linear(layer: nn.Linear) -> nn.Module:
    import torch

    def pack_as(dtype: torch.dtype) -> tuple[Any, torch.Tensor | None]:
        weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().to(dtype), None)
        return weight, None if layer.bias is None else layer.bias.detach().to(dtype)

    class PackedLinear(torch.nn.Module):
        """``torch.nn.Linear`` for inference, with a packed weight for each type that it multiplies in."""

        def __init__(self) -> None:
            super().__init__()
            self.in_features, self.out_features = layer.in_features, layer.out_features
            types = [torch.float32, torch.bfloat16] if has_fast_bfloat16() else [torch.float32]
            self.packed = {dtype: pack_as(dtype) for dtype in types}

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            dtype = torch.bfloat16 if torch.is_autocast_enabled("cpu") and len(self.packed) > 1 else torch.float32
            weight, bias = self.packed[dtype]
            outputs: torch.Tensor = torch.ops.mkldnn._linear_pointwise(inputs.to(dtype), weight, bias, "none", [], "")
            return outputs

    return PackedLinear()
