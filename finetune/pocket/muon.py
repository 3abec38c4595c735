"""Muon (Jordan et al. 2024) for matrices, in a precision of one's choice, the matrices of one shape in one batch.

``torch.optim.Muon`` orthogonalizes in bfloat16, which processors without it emulate many times slower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from transformers import Qwen2ForCausalLM

from finetune.pocket.args import PocketArgs

_A, _B, _C = 3.4445, -4.775, 2.0315


def orthogonal(gradients: torch.Tensor, steps: int = 5, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Newton-Schulz iteration: ``gradients`` [n, rows, columns] with singular values drawn towards one."""
    wide = gradients.size(-2) > gradients.size(-1)
    x = gradients.mT if wide else gradients
    x = (x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)).to(dtype)
    for _ in range(steps):
        gram = x @ x.mT
        x = _A * x + (_B * gram + _C * gram @ gram) @ x
    return (x.mT if wide else x).to(gradients.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum, Nesterov, orthogonalized; matrices of one shape are handled in one batch.

    Args:
        params: two-dimensional parameters.
        lr: step size; scaled by sqrt(max(1, rows / columns)).
        momentum: of the gradient average.
        dtype: that the products are computed in.
    """

    def __init__(
        self,
        params: Iterable[torch.Tensor],
        lr: float = 0.02,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[torch.Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault(p.shape, []).append(p)
            for shape, parameters in shapes.items():
                updates = []
                for p in parameters:
                    state = self.state[p]
                    if "average" not in state:
                        state["average"] = torch.zeros_like(p)
                    state["average"].lerp_(p.grad, 1 - group["momentum"])
                    updates.append(p.grad.lerp(state["average"], group["momentum"]))
                scale = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for p, update in zip(parameters, orthogonal(torch.stack(updates), dtype=self._dtype), strict=True):
                    p.add_(update, alpha=-scale)


def optimizers(
    model: Qwen2ForCausalLM, config: PocketArgs, dtype: torch.dtype = torch.float32
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for the embedding, the biases and the norms."""
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    inside = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in inside]
    adam = torch.optim.AdamW(rest, config.adam_lr, betas=(0.9, 0.98), weight_decay=0.0)
    return [Muon(matrices, config.muon_lr, dtype=dtype), adam]
