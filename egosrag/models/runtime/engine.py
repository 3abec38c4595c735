"""The inference engine: a loaded checkpoint and its decoding loop, token ids in, token ids out.

Any number of threads may generate at once; their forward passes are batched (``batching``). KV caches are kept for
prompts that begin alike (``kv_cache``), and tokens that repeat the prompt are drafted from it (``prompt_lookup``).
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from egosrag.caller import cache_key, current_caller
from egosrag.errors import WindowError
from egosrag.models.runtime.batching import ForwardRequest, Scheduler, batched_forward
from egosrag.models.runtime.kv_cache import KVCache, KVCachePool
from egosrag.models.runtime.prompt_lookup import PromptLookup
from egosrag.models.runtime.sampling import Sampler, Sampling
from egosrag.models.sampling import TalkSampling
from egosrag.traits import Traits

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_FIRST_PREFILL = 32  # tokens of a prompt in the first pass of a call that may be cancelled
_MAX_PREFILL = 512
_PREFILL_S = 0.25  # what a pass over more of them should take


@dataclass
class Generation:
    """One generation: pass it to ``Engine.generate``, and read its counts at any time.

    Attributes:
        ids: the prompt's token ids; those generated are appended.
        sampling: how tokens are chosen.
        adapter: the adapter's name, or None for the base model.
        budget: tokens that may be generated.
        cache_bytes: bytes of KV caches that the engine may keep for later calls once this one ends.
        prompt_lookup: whether tokens are drafted from the prompt; the reply is the same without.
        cached_tokens: ids of the prompt that were found in a KV cache.
        new_tokens: ids generated so far.
    """

    ids: list[int]
    sampling: Sampling
    adapter: str | None
    budget: int
    cache_bytes: int
    prompt_lookup: bool = True
    cached_tokens: int = 0
    new_tokens: int = 0

    @property
    def prompt_tokens(self) -> int:
        """Ids of the prompt."""
        return len(self.ids) - self.new_tokens


class Engine:
    """One base model in memory, its tokenizer, and the adapters that were loaded onto it.

    Args:
        name: the hub id or folder, as error messages show it.
        model: the transformers model, in evaluation mode.
        tokenizer: its tokenizer.
        window: tokens of prompt and reply together.
        eos_ids: ids that end a sequence, from generation_config, the tokenizer and the config.
        traits: what the checkpoint states of itself.
        talk_sampling: how it recommends to sample conversations.

    Attributes:
        model: the transformers model, wrapped in a ``PeftModel`` once there is an adapter.
        adapters: name of each adapter by its folder and time.
        lock: held by a forward pass, and while an adapter is loaded.
        kv_pool: the KV caches of finished calls.
        scheduler: batches the forward passes.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        *,
        window: int,
        eos_ids: frozenset[int],
        traits: Traits,
        talk_sampling: TalkSampling | None = None,
    ) -> None:
        self.name = name
        self.model = model
        self.tokenizer = tokenizer
        self.window = window
        self.eos_ids = eos_ids
        self.traits = traits
        self.talk_sampling = talk_sampling or TalkSampling()
        self.adapters: dict[str, str] = {}
        self.lock = threading.RLock()
        self.kv_pool = KVCachePool()
        self._active_adapter: str | None = None
        self._limits_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
        batching = self._limits_logits and getattr(model, "_supports_attention_backend", False)
        # A single token is computed as a batch of one, whose attention is faster than transformers' own.
        self._batches_one = batching and model.config._attn_implementation == "sdpa"
        self.scheduler = Scheduler(batching=batching)

    @property
    def base(self) -> PreTrainedModel:
        """The base model, without the ``PeftModel`` around it."""
        model: PreTrainedModel = self.model.get_base_model() if self.adapters else self.model
        return model

    def add_adapter(self, model: PeftModel, key: str, adapter: str) -> None:
        """Replace the model by ``model``, the same with one adapter more, named ``adapter``; hold the lock."""
        self.model = model.eval()
        self.adapters[key] = adapter
        self._active_adapter = adapter  # as PEFT leaves it: the next forward pass must choose anew
        self._activate(None)

    def start(
        self, prompt: Sequence[int], sampling: Sampling, *, adapter: str | None, window: int, cache_bytes: int = 1 << 29
    ) -> Generation:
        """Check that the prompt fits, and prepare its generation.

        Args:
            prompt: token ids.
            sampling: how to choose tokens; ``max_new_tokens`` is reduced to what the window leaves.
            adapter: a name from ``adapters``, or None for the base model.
            window: tokens of prompt and reply together, at most ``self.window``.
            cache_bytes: bytes of KV caches that may be kept for later calls.

        Raises:
            WindowError: the prompt leaves no token of the window for a reply.
        """
        remaining = window - len(prompt)
        if remaining < 1:
            raise WindowError(
                f"the prompt has {len(prompt)} tokens and the window of {self.name} holds {window}:"
                " shorten it, or use a model with a longer window"
            )
        return Generation(list(prompt), sampling, adapter, min(remaining, sampling.max_new_tokens), cache_bytes)

    def generate(self, generation: Generation) -> Generator[int, None, None]:
        """Yield the reply token by token, an end-of-sequence id included. Close the iterator to stop."""
        # 1. Reuse the KV cache of an earlier call for the beginning that both prompts have in common; compute most of a
        #    long prompt in passes of its own where a caller may leave.
        cache = self._take_cache(generation)
        lookup = PromptLookup(generation.ids) if generation.prompt_lookup and cache.truncatable else None
        sample = Sampler(generation.sampling, self.model.device)
        pending = generation.ids[generation.cached_tokens :]  # ids that no forward pass has computed
        complete = True
        try:
            with self.scheduler.generation():
                complete = False
                pending = self._prefill(cache, pending)
                complete = True
                while generation.new_tokens < generation.budget:
                    # 2. Draft tokens from the prompt: D ids, mostly none.
                    draft = lookup.draft(generation.budget - generation.new_tokens - 1) if lookup else []
                    # 3. One forward pass over the pending ids and the draft: logits of shape (D + 1, vocabulary),
                    #    whose row n chooses the token after n tokens of the draft.
                    request = ForwardRequest(cache, [*pending, *draft], len(draft) + 1)
                    complete = False
                    logits = self.scheduler.logits(request, self._locked_forward)
                    complete = True
                    # 4. Sample row by row while the draft is right; the first row that differs is the last.
                    for n, row in enumerate(logits):
                        token = sample(generation.ids, row[None])
                        generation.ids.append(token)
                        generation.new_tokens += 1
                        if n == len(draft) or token != draft[n]:
                            # 5. Remove the rejected rest of the draft from the cache, and continue from the new token.
                            cache.truncate(len(cache.ids) - len(draft) + n)
                            pending = [token]
                            if lookup:
                                lookup.update(generation.ids[-n - 1 :], len(draft))
                            yield token
                            break
                        yield token
        finally:
            # 6. Keep the cache for later calls, unless the pass was interrupted: the worker still writes to it then.
            if complete:
                cache.prompt_tokens = generation.prompt_tokens
                self.kv_pool.put(cache, generation.cache_bytes)

    def _prefill(self, cache: KVCache, ids: list[int]) -> list[int]:
        """Compute the beginning of ``ids``, and return the rest, which the first pass of the reply computes.

        Where a caller may leave, a long prompt is computed in passes of a quarter of a second: between them others get
        their next tokens, and the caller's leaving is noticed. Without a caller, nothing is computed here.
        """
        if current_caller() is None:
            return ids
        size = _FIRST_PREFILL
        while len(ids) > size:
            part, ids = ids[:size], ids[size:]
            started = time.perf_counter()
            self.scheduler.logits(ForwardRequest(cache, part), self._locked_forward)
            seconds = max(time.perf_counter() - started, 1e-6)
            size = max(_FIRST_PREFILL, min(int(size * min(_PREFILL_S / seconds, 4)), _MAX_PREFILL))
        return ids

    def log_likelihoods(self, generation: Generation, text: Sequence[int]) -> list[float]:
        """The log-likelihood in nats of each id of ``text`` after the prompt of ``generation``; nothing is sampled.

        The prompt's KV cache is reused and kept, as by ``generate``.
        """
        import torch

        cache = self._take_cache(generation)
        ids = [*self._prefill(cache, generation.ids[generation.cached_tokens :]), *text]
        # Logits of the last id of the prompt and of all of the text but its last: shape (len(text), vocabulary).
        logits = self.scheduler.logits(ForwardRequest(cache, ids[:-1], len(text)), self._locked_forward)
        chosen = torch.tensor(list(text), device=logits.device)[:, None]
        found = logits.float().log_softmax(-1).gather(1, chosen)[:, 0]
        cache.truncate(len(generation.ids))
        cache.prompt_tokens = len(generation.ids)
        self.kv_pool.put(cache, generation.cache_bytes)
        return [float(value) for value in found]

    def _take_cache(self, generation: Generation) -> KVCache:
        from transformers import DynamicCache

        owner = cache_key()
        cache = self.kv_pool.take(generation.ids, generation.adapter, owner)
        generation.cached_tokens = len(cache.ids) if cache else 0
        return cache or KVCache(generation.adapter, [], DynamicCache(config=self.model.config), owner=owner)

    def _locked_forward(self, batch: list[ForwardRequest]) -> list[torch.Tensor]:
        import torch

        with self.lock, torch.inference_mode():
            return self._forward(batch)

    def _forward(self, batch: list[ForwardRequest]) -> list[torch.Tensor]:
        """The logits of each request, of shape (logits_to_keep, vocabulary); their KV caches grow by their ids."""
        import torch

        self._activate(batch[0].cache.adapter)
        request = batch[0]
        if len(batch) > 1 or (self._batches_one and len(request.ids) == 1 and request.cache.truncatable):
            return batched_forward(self.model, batch)
        inputs: dict[str, Any] = {"input_ids": torch.tensor([request.ids], device=self.model.device)}
        if self._limits_logits:  # the logits of a long prompt would take more memory than the model
            inputs["logits_to_keep"] = request.logits_to_keep
        output = self.model(**inputs, past_key_values=request.cache.past_key_values, use_cache=True)
        return [output.logits[0, -request.logits_to_keep :]]

    def _activate(self, adapter: str | None) -> None:
        if adapter == self._active_adapter:
            return
        if adapter is None:
            self.model.base_model.disable_adapter_layers()
        else:
            self.model.base_model.enable_adapter_layers()
            self.model.set_adapter(adapter)
        self._active_adapter = adapter
