"""Linear layers whose weights lie as oneDNN reads them: the same sums, sooner, on a CPU.

Many texts at once can be multiplied in bfloat16 where the processor is made for it (``many_at_once``): in two thirds of
the time, and each vector keeps its direction to a cosine of 0.9999 (MiniLM, a manual's 647 passages).

PyTorch gives a matrix product on the CPU to MKL, which reorders the weights in every call and is slow on processors
that are not Intel's; its inductor packs them once for oneDNN, and so does this, without compiling anything.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn


def multiplies_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32: with AMX, or AVX-512 BF16."""
    import torch

    able = torch.cpu.get_capabilities()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))


def many_at_once() -> AbstractContextManager[None]:
    """Within it packed models multiply in bfloat16, where :func:`multiplies_bfloat16`; elsewhere nothing changes."""
    import torch

    return torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bfloat16())


def pack(model: nn.Module) -> None:
    """Pack the weights of every linear layer of a model that only infers; in place, without a copy left behind.

    Nothing is done on another device, in another type than float32, or where PyTorch was built without oneDNN.
    Results differ from the plain ones as those of two batch sizes do, in the last bits.
    """
    import torch

    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is torch.nn.Linear and child.weight.device.type == "cpu" and _plain(child):
                setattr(module, name, _packed(child))


def _plain(layer: nn.Linear) -> bool:
    import torch

    return layer.weight.dtype == torch.float32


def _packed(layer: nn.Linear) -> nn.Module:
    import torch

    def pack_as(dtype: torch.dtype) -> tuple[Any, torch.Tensor | None]:
        weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().to(dtype), None)
        return weight, None if layer.bias is None else layer.bias.detach().to(dtype)

    class Packed(torch.nn.Module):
        """``torch.nn.Linear`` for inference."""

        def __init__(self) -> None:
            super().__init__()
            self.in_features, self.out_features = layer.in_features, layer.out_features
            types = [torch.float32, torch.bfloat16] if multiplies_bfloat16() else [torch.float32]
            self.packed = {dtype: pack_as(dtype) for dtype in types}

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            dtype = torch.bfloat16 if torch.is_autocast_enabled("cpu") and len(self.packed) > 1 else torch.float32
            weight, bias = self.packed[dtype]
            given = inputs.to(dtype)
            outputs: torch.Tensor = torch.ops.mkldnn._linear_pointwise(given, weight, bias, "none", [], "")
            return outputs

    return Packed()
