"""Linear layers whose weights lie as oneDNN reads them: the same sums, sooner, on a CPU.

PyTorch gives a matrix product on the CPU to MKL, which reorders the weights in every call and is slow on processors
that are not Intel's; its inductor packs them once for oneDNN, and so does this, without compiling anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


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

    class Packed(torch.nn.Module):
        """``torch.nn.Linear`` for inference."""

        def __init__(self) -> None:
            super().__init__()
            self.in_features, self.out_features = layer.in_features, layer.out_features
            self.weight: Any = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)
            self.bias = None if layer.bias is None else layer.bias.detach()

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            outputs: torch.Tensor = torch.ops.mkldnn._linear_pointwise(inputs, self.weight, self.bias, "none", [], "")
            return outputs

    return Packed()
