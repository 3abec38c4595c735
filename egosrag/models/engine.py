"""A loaded checkpoint and its decoding loop: ids in, ids out, one forward pass at a time.

Any number of threads may generate at once: a forward pass holds the lock, a generation does not, so a stream that
is read slowly, or left, blocks nobody. What a call computed is kept as the next call's beginning: see ``_Prefix``.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from egosrag.errors import WindowError

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. The checkpoint's generation_config has no say: the same call, the same rule.

    Attributes:
        temperature: 0 takes the likeliest token.
        top_p: sample only from the likeliest tokens that hold this probability together; 1 for all.
        top_k: sample only from this many likeliest tokens; 0 for all.
        repetition_penalty: above 1 makes tokens that stand in the text already less likely.
        max_new_tokens: at most this many tokens are generated, fewer where the window ends.
        seed: of the sampling; None for another result each time.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    max_new_tokens: int = 256
    seed: int | None = None


@dataclass
class _Prefix:
    """Keys and values of a finished call, with the ids and the adapter that they were computed from."""

    adapter: str | None
    ids: list[int]
    cache: DynamicCache


@dataclass
class Run:
    """One generation while it goes on: iterate ``Engine.tokens(run)``, then read the counts."""

    prompt: list[int]
    sampling: Sampling
    adapter: str | None
    budget: int
    cached: int = 0
    generated: int = 0


@dataclass
class Engine:
    """One base model in memory, its tokenizer, and the adapters that were put on it.

    Attributes:
        name: the hub id or folder, as error messages show it.
        model: the transformers model, in evaluation mode; a ``PeftModel`` around it once an adapter was put on it.
        tokenizer: its tokenizer.
        window: tokens that prompt and reply may take together.
        ends: ids that end a sequence, from generation_config, the tokenizer and the config.
    """

    name: str
    model: Any
    tokenizer: PreTrainedTokenizerBase
    window: int
    ends: frozenset[int]
    lock: threading.RLock = field(default_factory=threading.RLock)
    adapters: dict[str, str] = field(default_factory=dict)
    _active: str | None = None
    _kept: _Prefix | None = None
    _skips_logits: bool = False

    def __post_init__(self) -> None:
        self._skips_logits = "logits_to_keep" in inspect.signature(self.model.forward).parameters

    @property
    def base(self) -> PreTrainedModel:
        """The base model, without the wrapper that adapters put around it."""
        model: PreTrainedModel = self.model.get_base_model() if self.adapters else self.model
        return model

    def adopt(self, model: PeftModel, key: str, adapter: str) -> None:
        """Take over ``model``, the base with one adapter more, under the name ``adapter``; hold the lock."""
        self.model = model.eval()
        self.adapters[key] = adapter
        self._active = adapter
        # PEFT leaves active what it likes: the next forward pass must choose anew.
        self._switch(None)

    def start(self, prompt: Sequence[int], sampling: Sampling, *, adapter: str | None, window: int) -> Run:
        """Check that the prompt fits and open a run.

        Args:
            prompt: token ids.
            sampling: how to choose tokens; ``max_new_tokens`` is cut to what the window leaves.
            adapter: a name from ``adapters``, or None for the base model.
            window: tokens for prompt and reply, at most ``self.window``.

        Raises:
            WindowError: the window leaves no room for a single token.
        """
        room = window - len(prompt)
        if room < 1:
            raise WindowError(
                f"the prompt has {len(prompt)} tokens and the window of {self.name} holds {window}:"
                " shorten it, or use a model with a longer window"
            )
        return Run(list(prompt), sampling, adapter, min(room, sampling.max_new_tokens))

    def tokens(self, run: Run) -> Generator[int, None, None]:
        """Generate ``run``, token by token; an end-of-sequence id comes out too. Close the iterator to stop."""
        import torch

        prefix = self._take(run)
        run.cached = len(prefix.ids)
        pending = run.prompt[run.cached :]
        choose = _Chooser(run.sampling, self.model.device)
        try:
            while run.generated < run.budget:
                with self.lock, torch.inference_mode():
                    logits = self._forward(pending, prefix)
                    token = choose(run.prompt, logits)
                run.prompt.append(token)
                run.generated += 1
                pending = [token]
                yield token
        finally:
            with self.lock:
                self._kept = prefix

    def _take(self, run: Run) -> _Prefix:
        """The kept keys and values, cropped to what this prompt begins with; empty ones if there are none.

        Whoever takes them owns them until the run ends; a second run at the same time starts anew.
        """
        from transformers import DynamicCache

        with self.lock:
            kept, self._kept = self._kept, None
        # The last id is always computed: its logits choose the first token.
        same = _common(kept.ids, run.prompt[:-1]) if kept and kept.adapter == run.adapter else 0
        if kept is None or same == 0 or not _croppable(kept.cache):
            return _Prefix(run.adapter, [], DynamicCache(config=self.model.config))
        kept.cache.crop(same - len(kept.ids))
        del kept.ids[same:]
        return kept

    def _forward(self, ids: list[int], prefix: _Prefix) -> torch.Tensor:
        """Logits after ``ids``, of shape (1, vocabulary); their keys and values are added to ``prefix``."""
        import torch

        self._switch(prefix.adapter)
        inputs: dict[str, Any] = {"input_ids": torch.tensor([ids], device=self.model.device)}
        if self._skips_logits:
            # The logits of a long prompt would take more memory than the model.
            inputs["logits_to_keep"] = 1
        output = self.model(**inputs, past_key_values=prefix.cache, use_cache=True)
        prefix.ids += ids
        logits: torch.Tensor = output.logits[:, -1, :]
        return logits

    def _switch(self, adapter: str | None) -> None:
        if adapter == self._active:
            return
        if adapter is None:
            self.model.base_model.disable_adapter_layers()
        else:
            self.model.base_model.enable_adapter_layers()
            self.model.set_adapter(adapter)
        self._active = adapter


class _Chooser:
    """Chooses the next token by transformers' own logits processors; its randomness is its own, not torch's."""

    def __init__(self, sampling: Sampling, device: torch.device) -> None:
        import torch
        from transformers import (
            LogitsProcessorList,
            RepetitionPenaltyLogitsProcessor,
            TemperatureLogitsWarper,
            TopKLogitsWarper,
            TopPLogitsWarper,
        )

        self._steps: Any = LogitsProcessorList()
        self._greedy = sampling.temperature == 0
        if sampling.repetition_penalty != 1.0:
            self._steps.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
        if not self._greedy:
            self._steps.append(TemperatureLogitsWarper(float(sampling.temperature)))
            if sampling.top_k > 0:
                self._steps.append(TopKLogitsWarper(sampling.top_k))
            if sampling.top_p < 1.0:
                self._steps.append(TopPLogitsWarper(sampling.top_p))
            self._random = torch.Generator(device=device)
            self._random.manual_seed(sampling.seed) if sampling.seed is not None else self._random.seed()

    def __call__(self, ids: Sequence[int], logits: torch.Tensor) -> int:
        import torch

        scores = logits.float()
        if self._steps:
            scores = self._steps(torch.tensor([ids], device=logits.device), scores)
        if self._greedy:
            return int(scores.argmax(dim=-1).item())
        return int(torch.multinomial(scores.softmax(dim=-1), 1, generator=self._random).item())


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _croppable(cache: DynamicCache) -> bool:
    from transformers.cache_utils import DynamicLayer

    # Sliding-window and recurrent layers have forgotten what a crop would bring back.
    return all(type(layer) is DynamicLayer for layer in cache.layers)
