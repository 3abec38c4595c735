"""One forward pass for several generations: their tokens laid end to end, each attending to its own past alone.

The weights are read once for all of them, which is what decoding waits for. Nothing is padded: a sequence keeps its
own cache of keys and values, so it may join or leave at any token, and what it says is what it would say alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from egosrag.models.runtime.kv_cache import Prefix

if TYPE_CHECKING:
    import torch

_NAME = "egosrag_together"


@dataclass
class Step:
    """The next ids of one generation, to be computed after its prefix.

    Attributes:
        prefix: keys and values so far; those of ``ids`` are added.
        ids: the ids to compute.
        wanted: logits of this many of the last ids are asked for.
        logits: comes to hold them, of shape (wanted, vocabulary).
    """

    prefix: Prefix
    ids: list[int]
    wanted: int = 1
    logits: Future[torch.Tensor] = field(default_factory=Future)


def forward(model: Any, steps: Sequence[Step]) -> list[torch.Tensor]:
    """Logits of every step, each of shape (wanted, vocabulary).

    Args:
        model: a transformers causal model whose attention is full in every layer.
        steps: of one adapter, which is active.
    """
    import torch

    ids = [token for step in steps for token in step.ids]
    places = [len(step.prefix.ids) + n for step in steps for n in range(len(step.ids))]
    kept: list[int] = []
    end = 0
    for step in steps:
        end += len(step.ids)
        kept += range(end - step.wanted, end)
    with _attending_apart(model.config):
        output = model(
            input_ids=torch.tensor([ids], device=model.device),
            position_ids=torch.tensor([places], device=model.device),
            logits_to_keep=torch.tensor(kept, device=model.device),
            use_cache=False,
            steps=steps,
        )
    logits: list[torch.Tensor] = list(output.logits[0].split([step.wanted for step in steps]))
    return logits


@contextmanager
def _attending_apart(config: Any) -> Iterator[None]:
    from transformers import AttentionInterface

    AttentionInterface.register(_NAME, _attention)
    before = config._attn_implementation
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    steps: Sequence[Step],
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of (1, heads, tokens, size), where the tokens are those of ``steps`` end to end."""
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    found, start = [], 0
    for step in steps:
        mine = slice(start, start + len(step.ids))
        start = mine.stop
        keys, values = step.prefix.cache.update(key[:, :, mine], value[:, :, mine], module.layer_idx)  # type: ignore[arg-type]
        found.append(
            sdpa_attention_forward(module, query[:, :, mine], keys, values, _mask(step, key.device), scaling=scaling)[0]
        )
    return torch.cat(found, dim=1), None


def _mask(step: Step, device: torch.device) -> torch.Tensor | None:
    import torch

    new, past = len(step.ids), len(step.prefix.ids)
    if new == 1 or past == 0:
        return None  # one id sees all; without a past the kernel's own causal mask is right
    return torch.ones(new, past + new, dtype=torch.bool, device=device).tril(past)[None, None]
