"""The Muon optimizer (Jordan et al. 2024) for matrices, in any precision, batched over matrices of the same shape.

``torch.optim.Muon`` orthogonalizes in bfloat16, which CPUs without it emulate many times slower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from transformers import Qwen2ForCausalLM

from finetune.pocket.args import PocketArgs

_A, _B, _C = 3.4445, -4.775, 2.0315  # coefficients of the Newton-Schulz iteration, from Jordan et al.


def orthogonalize(gradients: torch.Tensor, steps: int = 5, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Move the singular values of ``gradients``, shape (n, rows, columns), towards one by Newton-Schulz iteration."""
    wide = gradients.size(-2) > gradients.size(-1)
    x = gradients.mT if wide else gradients
    x = (x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)).to(dtype)
    for _ in range(steps):
        gram = x @ x.mT
        x = _A * x + (_B * gram + _C * gram @ gram) @ x
    return (x.mT if wide else x).to(gradients.dtype)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalized; matrices of the same shape are updated in one batch.

    Args:
        params: two-dimensional parameters.
        lr: step size; scaled by sqrt(max(1, rows / columns)).
        momentum: of the gradient average.
        dtype: of the matrix products.
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
                for p, update in zip(parameters, orthogonalize(torch.stack(updates), dtype=self._dtype), strict=True):
                    p.add_(update, alpha=-scale)


def make_optimizers(
    model: Qwen2ForCausalLM, config: PocketArgs, dtype: torch.dtype = torch.float32
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for the embedding, the biases and the norms."""
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    inside = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in inside]
    adam = torch.optim.AdamW(rest, config.adam_lr, betas=(0.9, 0.98), weight_decay=0.0)
    return [Muon(matrices, config.muon_lr, dtype=dtype), adam]
