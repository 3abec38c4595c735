"""Sampling: how the next token is chosen from the logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

GREEDY_BELOW = 1e-5
"""A lower temperature is greedy decoding: the logits divided by it would be infinite."""


@dataclass(frozen=True)
class Sampling:
    """Sampling parameters of one call. What a checkpoint recommends is not applied here (``egosrag.models.sampling``).

    Attributes:
        temperature: 0 (or nearly so, see ``GREEDY_BELOW``) for greedy decoding.
        top_p: sample only from the likeliest tokens that together have this probability; 1 for all.
        top_k: sample only from this many likeliest tokens; 0 for all.
        min_p: leave out tokens that are less likely than this share of the likeliest one's probability; 0 for none.
        repetition_penalty: above 1 makes tokens that the text contains already less likely.
        max_new_tokens: limit of the reply; fewer where the window ends.
        seed: of the random generator; None for another result each time.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_new_tokens: int = 256
    seed: int | None = None


class Sampler:
    """Chooses the next token by transformers' logits processors, in its order, with a random generator of its own."""

    def __init__(self, sampling: Sampling, device: torch.device) -> None:
        import torch
        from transformers import (
            LogitsProcessorList,
            MinPLogitsWarper,
            RepetitionPenaltyLogitsProcessor,
            TemperatureLogitsWarper,
            TopKLogitsWarper,
            TopPLogitsWarper,
        )

        self._processors: Any = LogitsProcessorList()
        self._greedy = sampling.temperature < GREEDY_BELOW
        if sampling.repetition_penalty != 1.0:
            self._processors.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
        if not self._greedy:
            self._processors.append(TemperatureLogitsWarper(float(sampling.temperature)))
            if sampling.top_k > 0:
                self._processors.append(TopKLogitsWarper(sampling.top_k))
            if sampling.top_p < 1.0:
                self._processors.append(TopPLogitsWarper(sampling.top_p))
            if sampling.min_p > 0.0:
                self._processors.append(MinPLogitsWarper(sampling.min_p))
            self._generator = torch.Generator(device=device)
            self._generator.manual_seed(sampling.seed) if sampling.seed is not None else self._generator.seed()

    def __call__(self, ids: Sequence[int], logits: torch.Tensor) -> int:
        """The next token.

        Args:
            ids: the ids before it, prompt and reply.
            logits: of shape (1, vocabulary).
        """
        import torch

        with torch.inference_mode():
            scores = logits.float()
            if self._processors:
                scores = self._processors(torch.tensor([ids], device=logits.device), scores)
            if self._greedy:
                return int(scores.argmax(dim=-1).item())
            # An extreme penalty makes logits infinite: the greatest number has the same rank, and a softmax.
            scores = scores.nan_to_num(nan=float("-inf"), posinf=torch.finfo(scores.dtype).max, neginf=float("-inf"))
            return int(torch.multinomial(scores.softmax(dim=-1), 1, generator=self._generator).item())
