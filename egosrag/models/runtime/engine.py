"""A loaded checkpoint and its decoding loop: ids in, ids out, a forward pass for all who wait at a time.

Any number of threads may generate at once. Their forward passes run in one worker thread, which joins those that
wait into a single pass (see ``together``); a stream that is read slowly, or left, blocks nobody. What a call computed
is kept as the next call's beginning (see ``kvcache``).
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from egosrag.errors import WindowError
from egosrag.models.runtime.batching import Step, forward
from egosrag.models.runtime.kv_cache import Prefix, PrefixCache
from egosrag.models.runtime.prompt_lookup import Lookup
from egosrag.models.runtime.sampling import Chooser, Sampling

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_AT_ONCE = 32  # generations in one forward pass
# So long does a pass wait for generations that are about to join it: a part of the last pass's time, or seconds.
_PATIENCE, _PATIENCE_S = 0.1, 0.002


@dataclass
class Run:
    """One generation while it goes on: iterate ``Engine.tokens(run)``, then read the counts.

    Attributes:
        prompt: the ids that were given; those generated are appended.
        sampling: how tokens are chosen.
        adapter: the adapter's name, or None for the base model.
        budget: tokens that may be generated.
        keep: bytes that the engine may keep for later calls once this one ends.
        guessing: whether ids are guessed from the prompt (see ``lookup``); the reply is the same without.
        cached: ids of the prompt that were not computed again.
        generated: tokens so far.
    """

    prompt: list[int]
    sampling: Sampling
    adapter: str | None
    budget: int
    keep: int
    guessing: bool = True
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
    kept: PrefixCache = field(default_factory=PrefixCache)
    _active: str | None = None
    _skips_logits: bool = False
    _joins: bool = False
    _waiting: list[Step] = field(default_factory=list)
    _arrived: threading.Condition = field(default_factory=threading.Condition)
    _open: int = 0
    _last_s: float = 0.0

    def __post_init__(self) -> None:
        self._skips_logits = "logits_to_keep" in inspect.signature(self.model.forward).parameters
        self._joins = self._skips_logits and getattr(self.model, "_supports_attention_backend", False)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="forward")

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

    def start(
        self, prompt: Sequence[int], sampling: Sampling, *, adapter: str | None, window: int, keep: int = 1 << 29
    ) -> Run:
        """Check that the prompt fits and open a run.

        Args:
            prompt: token ids.
            sampling: how to choose tokens; ``max_new_tokens`` is cut to what the window leaves.
            adapter: a name from ``adapters``, or None for the base model.
            window: tokens for prompt and reply, at most ``self.window``.
            keep: bytes of keys and values that may be kept for later calls.

        Raises:
            WindowError: the window leaves no room for a single token.
        """
        room = window - len(prompt)
        if room < 1:
            raise WindowError(
                f"the prompt has {len(prompt)} tokens and the window of {self.name} holds {window}:"
                " shorten it, or use a model with a longer window"
            )
        return Run(list(prompt), sampling, adapter, min(room, sampling.max_new_tokens), keep)

    def tokens(self, run: Run) -> Generator[int, None, None]:
        """Generate ``run``, token by token; an end-of-sequence id comes out too. Close the iterator to stop."""
        prefix = self._begin(run)
        lookup = Lookup(run.prompt) if run.guessing and prefix.croppable else None
        choose = Chooser(run.sampling, self.model.device)
        pending, ended = run.prompt[run.cached :], True
        with self._arrived:
            self._open += 1
        try:
            while run.generated < run.budget:
                guesses = lookup.guess(run.budget - run.generated - 1) if lookup else []
                step = Step(prefix, [*pending, *guesses], len(guesses) + 1)
                ended = False
                logits = self._logits(step)
                ended = True
                for n, row in enumerate(logits):
                    token = choose(run.prompt, row[None])
                    run.prompt.append(token)
                    run.generated += 1
                    if n == len(guesses) or token != guesses[n]:
                        prefix.crop(len(prefix.ids) - len(guesses) + n)
                        pending = [token]
                        if lookup:
                            lookup.said(run.prompt[-n - 1 :], len(guesses))
                        yield token
                        break
                    yield token
        finally:
            with self._arrived:
                self._open -= 1
                self._arrived.notify()
            if ended:  # an interrupted call leaves its pass to the worker, which still writes to the prefix
                prefix.asked = len(run.prompt) - run.generated
                self.kept.keep(prefix, run.keep)

    def _begin(self, run: Run) -> Prefix:
        from transformers import DynamicCache

        prefix = self.kept.take(run.prompt, run.adapter)
        run.cached = len(prefix.ids) if prefix else 0
        return prefix or Prefix(run.adapter, [], DynamicCache(config=self.model.config))

    def _logits(self, step: Step) -> torch.Tensor:
        with self._arrived:
            self._waiting.append(step)
            self._arrived.notify()
        self._worker.submit(self._work)
        return step.logits.result()

    def _work(self) -> None:
        """One forward pass, for all that wait and fit together; those left over have their own turn to come."""
        import torch

        with self._arrived:
            if self._waiting and self._joins:
                patience = max(_PATIENCE * self._last_s, _PATIENCE_S)
                self._arrived.wait_for(lambda: len(self._waiting) >= self._open, timeout=patience)
            steps = self._together()
        if not steps:  # an earlier pass computed it
            return
        started = time.perf_counter()
        try:
            with self.lock, torch.inference_mode():
                found = self._forward(steps)
        except BaseException as error:  # it belongs to those who wait
            for step in steps:
                step.logits.set_exception(error)
            return
        self._last_s = time.perf_counter() - started
        for step, logits in zip(steps, found, strict=True):
            step.prefix.ids += step.ids
            step.logits.set_result(logits)

    def _together(self) -> list[Step]:
        """Take from those that wait the first, and whatever may be computed in the same pass."""
        first = self._waiting[0] if self._waiting else None
        if first is None or not (self._joins and first.prefix.croppable):
            steps = self._waiting[:1]
        else:
            steps = [step for step in self._waiting if step.prefix.adapter == first.prefix.adapter][:_AT_ONCE]
        self._waiting = [step for step in self._waiting if not any(step is taken for taken in steps)]
        return steps

    def _forward(self, steps: list[Step]) -> list[torch.Tensor]:
        """Logits of each step, of shape (wanted, vocabulary); keys and values are added to their prefixes."""
        import torch

        self._switch(steps[0].prefix.adapter)
        if len(steps) > 1:
            return forward(self.model, steps)
        (step,) = steps
        inputs: dict[str, Any] = {"input_ids": torch.tensor([step.ids], device=self.model.device)}
        if self._skips_logits:
            # The logits of a long prompt would take more memory than the model.
            inputs["logits_to_keep"] = step.wanted
        output = self.model(**inputs, past_key_values=step.prefix.cache, use_cache=True)
        return [output.logits[0, -step.wanted :]]

    def _switch(self, adapter: str | None) -> None:
        if adapter == self._active:
            return
        if adapter is None:
            self.model.base_model.disable_adapter_layers()
        else:
            self.model.base_model.enable_adapter_layers()
            self.model.set_adapter(adapter)
        self._active = adapter
