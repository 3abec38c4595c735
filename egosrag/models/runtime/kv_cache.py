"""KV caches, and a pool that keeps those of finished calls for calls whose prompts begin alike (prefix caching).

A conversation's next prompt continues where its last one ended; another conversation with the same role has the system
prompt in common. So the pool keeps several caches: a call takes the one with the longest common prefix, and the least
recently used are evicted first.

A cache is only taken for a caller with the key of the one who left it (``egosrag.caller``): how much of a prompt was
cached, and how fast it was read, would otherwise show what others have sent.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import DynamicCache

# A prompt that has all of an earlier prompt but for this many tokens at its end (the end-of-turn token and the next
# speaker's name, which differ) continues that conversation: it takes the cache over instead of copying it.
_CONTINUATION_TOLERANCE = 32


@dataclass
class KVCache:
    """The keys and values of one sequence, with the ids and the adapter that they were computed from.

    Attributes:
        adapter: the adapter that was active, None for the base model; another adapter has other keys and values.
        ids: token ids, one for each position of the cache.
        past_key_values: keys and values, each of shape (1, heads, len(ids), head size) a layer.
        prompt_tokens: how many of ``ids`` are a prompt; the rest was generated.
        owner: the cache key of the caller that it was computed for.
    """

    adapter: str | None
    ids: list[int]
    past_key_values: DynamicCache
    prompt_tokens: int = 0
    owner: str = ""

    @property
    def _layers(self) -> list[Any]:
        return self.past_key_values.layers

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values."""
        return sum(t.untyped_storage().nbytes() for layer in self._layers for t in (layer.keys, layer.values))

    @property
    def truncatable(self) -> bool:
        """Whether positions can be removed: sliding-window and recurrent layers have lost what came before."""
        from transformers.cache_utils import DynamicLayer

        return all(type(layer) is DynamicLayer for layer in self._layers)

    def truncate(self, length: int) -> None:
        """Keep only the first ``length`` positions."""
        if length < len(self.ids):
            self.past_key_values.crop(length - len(self.ids))
            del self.ids[length:]

    def copy(self, length: int) -> KVCache:
        """A copy of the first ``length`` positions, in memory of its own."""
        from transformers import DynamicCache

        layers = [(layer.keys[..., :length, :], layer.values[..., :length, :]) for layer in self._layers]
        return KVCache(self.adapter, self.ids[:length], DynamicCache(layers), owner=self.owner)


class KVCachePool:
    """The KV caches of one base model's finished calls, limited in bytes; thread-safe."""

    def __init__(self) -> None:
        self._caches: list[KVCache] = []  # the least recently used first
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._caches)

    @property
    def nbytes(self) -> int:
        """Bytes of all caches."""
        with self._lock:
            return sum(cache.nbytes for cache in self._caches)

    def take(self, prompt: Sequence[int], adapter: str | None, owner: str = "") -> KVCache | None:
        """The owner's cache with the longest common prefix with ``prompt``, truncated to it; None where none has any.

        A cache that the prompt continues leaves the pool, since no other call needs it; of one that only begins like
        the prompt the caller gets a copy. The last id of the prompt is never cached: its logits choose the first token.
        """
        with self._lock:
            by_length = [
                (common_prefix_length(cache.ids, prompt[:-1]), cache)
                for cache in self._caches
                if (cache.adapter, cache.owner) == (adapter, owner)
            ]
            length, best = max(by_length, key=lambda pair: pair[0], default=(0, None))
            if best is None or length == 0:
                return None
            self._caches.remove(best)
            if best.prompt_tokens - length > _CONTINUATION_TOLERANCE:
                self._caches.append(best)
                return best.copy(length)
        best.truncate(length)
        return best

    def put(self, cache: KVCache, limit: int) -> None:
        """Add a finished call's cache, then evict the least recently used until all take at most ``limit`` bytes.

        Caches whose whole sequence the new one begins with are replaced by it. One that is empty or cannot be truncated
        is of no use to another call and is not added.
        """
        if not cache.ids or not cache.truncatable:
            return
        with self._lock:
            self._caches = [old for old in self._caches if not _begins_with(cache, old)]
            self._caches.append(cache)
            total = sum(kept.nbytes for kept in self._caches)
            while total > limit:
                total -= self._caches.pop(0).nbytes


def common_prefix_length(a: Sequence[int], b: Sequence[int]) -> int:
    """The number of ids with which both sequences begin."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _begins_with(longer: KVCache, shorter: KVCache) -> bool:
    same = (shorter.adapter, shorter.owner) == (longer.adapter, longer.owner)
    return same and longer.ids[: len(shorter.ids)] == shorter.ids
