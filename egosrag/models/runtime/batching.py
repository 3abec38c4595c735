"""Continuous batching: one forward pass for all generations that wait for their next token.

The weights are read once for all of them, which is what decoding spends its time on. The tokens of a batch are packed
into one sequence without padding, in which each generation attends to its own KV cache alone. So a generation may join
or leave at any token, and its reply is the one that it would get alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from egosrag.caller import POLL_S, current_caller
from egosrag.models.runtime.kv_cache import KVCache

if TYPE_CHECKING:
    import torch

_ATTENTION = "egosrag_batching"  # the name under which transformers knows the attention below
_MAX_BATCH = 32  # generations in one forward pass
# A pass waits for generations that are about to join it, as long as this share of the last pass took, or
# ``Scheduler.min_wait_s`` where that is longer.
_WAIT_SHARE = 0.1


@dataclass(eq=False)
class ForwardRequest:
    """The next token ids of one generation, to be computed after what its KV cache holds.

    Attributes:
        cache: keys and values so far; those of ``ids`` are added.
        ids: the token ids to compute.
        logits_to_keep: logits are needed of this many of the last ids.
        logits: will hold them, of shape (logits_to_keep, vocabulary).
    """

    cache: KVCache
    ids: list[int]
    logits_to_keep: int = 1
    logits: Future[torch.Tensor] = field(default_factory=Future)


Forward = Callable[[list[ForwardRequest]], list["torch.Tensor"]]


class Scheduler:
    """Collects the requests of generations that run in threads of their own, and computes them in one worker thread.

    A generation that is read slowly, or abandoned, blocks no other.

    Args:
        batching: whether requests may share a forward pass; otherwise each has one of its own.

    Attributes:
        min_wait_s: seconds that a pass waits at least for generations that are about to join it.
    """

    def __init__(self, *, batching: bool) -> None:
        self.min_wait_s = 0.002
        self._batching = batching
        self._queue: list[ForwardRequest] = []
        self._running = 0  # generations under way, whether they wait for logits or not
        self._last_pass_s = 0.0
        self._changed = threading.Condition()  # guards the three above
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="forward")

    @contextmanager
    def generation(self) -> Iterator[None]:
        """Count a generation as running: passes wait a moment for its next request."""
        with self._changed:
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify()

    def logits(self, request: ForwardRequest, forward: Forward) -> torch.Tensor:
        """The request's logits, of shape (logits_to_keep, vocabulary), from a pass that it may share with others.

        Args:
            request: what to compute.
            forward: computes a batch, all of one adapter, and gives each request's logits.

        Raises:
            Cancelled: the caller left, or its time is over; a pass that has begun still writes to the cache.
        """
        with self._changed:
            self._queue.append(request)
            self._changed.notify()
        # One pass for each request, though an earlier pass may find this one in the queue and compute it.
        self._worker.submit(self._pass, forward)
        try:
            return _result(request)
        except BaseException:
            with self._changed:
                if request in self._queue:  # nobody waits for it any more
                    self._queue.remove(request)
            raise

    def _pass(self, forward: Forward) -> None:
        with self._changed:
            if self._queue and self._batching:
                wait_s = max(_WAIT_SHARE * self._last_pass_s, self.min_wait_s)
                self._changed.wait_for(lambda: len(self._queue) >= self._running, timeout=wait_s)
            batch = self._next_batch()
        if not batch:
            return
        started = time.perf_counter()
        try:
            logits = forward(batch)
        except BaseException as error:  # raised in the threads that wait for it
            for request in batch:
                request.logits.set_exception(error)
            return
        self._last_pass_s = time.perf_counter() - started
        for request, result in zip(batch, logits, strict=True):
            request.cache.ids += request.ids
            request.logits.set_result(result)

    def _next_batch(self) -> list[ForwardRequest]:
        """Take the oldest request from the queue, and those that can be computed in the same pass."""
        if not self._queue:
            return []
        first = self._queue[0]
        batch = [first]
        if self._batching and first.cache.truncatable:
            batch = [r for r in self._queue if r.cache.adapter == first.cache.adapter][:_MAX_BATCH]
        self._queue = [request for request in self._queue if request not in batch]
        return batch


def _result(request: ForwardRequest) -> torch.Tensor:
    """The logits of a request, as soon as they are there; waits no longer than its caller does."""
    caller = current_caller()
    if caller is None:
        return request.logits.result()
    while not request.logits.done():
        caller.check()
        wait([request.logits], timeout=POLL_S)
    return request.logits.result()


def batched_forward(model: Any, batch: Sequence[ForwardRequest]) -> list[torch.Tensor]:
    """The logits of every request, each of shape (logits_to_keep, vocabulary); their KV caches grow by their ids.

    Args:
        model: a transformers causal model whose attention is full in every layer.
        batch: requests of the adapter that is active.
    """
    import torch

    # 1. Pack: ids and positions of shape (1, T), where T is the number of ids of all requests.
    ids = [token for request in batch for token in request.ids]
    positions = [len(request.cache.ids) + n for request in batch for n in range(len(request.ids))]
    # 2. Of each request's span only the last logits_to_keep places need logits.
    kept: list[int] = []
    end = 0
    for request in batch:
        end += len(request.ids)
        kept += range(end - request.logits_to_keep, end)
    # 3. One pass; ``_attention`` gives each span the keys and values of its own cache.
    with _registered_attention(model.config):
        output = model(
            input_ids=torch.tensor([ids], device=model.device),
            position_ids=torch.tensor([positions], device=model.device),
            logits_to_keep=torch.tensor(kept, device=model.device),
            use_cache=False,
            batch=batch,
        )
    # 4. Unpack: (1, len(kept), vocabulary) into one tensor a request.
    logits: list[torch.Tensor] = list(output.logits[0].split([request.logits_to_keep for request in batch]))
    return logits


@contextmanager
def _registered_attention(config: Any) -> Iterator[None]:
    from transformers import AttentionInterface

    AttentionInterface.register(_ATTENTION, _attention)
    before = config._attn_implementation
    config._attn_implementation = _ATTENTION
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
    batch: Sequence[ForwardRequest],
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention over packed requests.

    Args:
        module: the attention layer.
        query: of shape (1, heads, T, head size), the requests' ids one after another.
        key: of shape (1, key heads, T, head size).
        value: as ``key``.
        attention_mask: not used, each request has a mask of its own.
        batch: the requests, in the order in which they are packed.
        scaling: of the scores; by the head size when None.

    Returns:
        The outputs, of shape (1, T, heads, head size), and no attention weights.
    """
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    outputs, start = [], 0
    for request in batch:
        span = slice(start, start + len(request.ids))
        start = span.stop
        keys, values = request.cache.past_key_values.update(
            key[:, :, span],
            value[:, :, span],
            module.layer_idx,  # type: ignore[arg-type]
        )
        if len(request.ids) == 1:
            outputs.append(_attend_alone(query[:, :, span], keys, values, scaling))
            continue
        mask = _causal_mask(request, key.device)
        outputs.append(sdpa_attention_forward(module, query[:, :, span], keys, values, mask, scaling=scaling)[0])
    return torch.cat(outputs, dim=1), None


def _attend_alone(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scaling: float | None) -> torch.Tensor:
    """Attention of one position to all before it.

    The query of shape (1, heads, 1, size) over keys and values of shape (1, key heads, T, size) gives (1, 1, heads,
    size). The heads that share a key head are the rows of one product: the keys are not copied for each of them, and
    PyTorch's kernel for the CPU is slow for a single row of bfloat16 (Qwen2.5-Coder-0.5B after 1,000 tokens: 199 ms of
    one core for the next token, 145 this way; in float32 the same as without).
    """
    import torch

    _, heads, _, size = query.shape
    grouped = query.view(1, keys.shape[1], -1, size)
    return torch.nn.functional.scaled_dot_product_attention(grouped, keys, values, scale=scaling).view(
        1, 1, heads, size
    )


def _causal_mask(request: ForwardRequest, device: torch.device) -> torch.Tensor | None:
    """The mask of shape (1, 1, new, past + new) for several ids; None where the kernel's own is right."""
    import torch

    new, past = len(request.ids), len(request.cache.ids)
    if past == 0:
        return None  # without a past the kernel's causal mask fits
    return torch.ones(new, past + new, dtype=torch.bool, device=device).tril(past)[None, None]
