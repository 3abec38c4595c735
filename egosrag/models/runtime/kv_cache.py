"""Keys and values of finished calls, kept for the calls that begin alike.

A conversation's next turn goes on where its last one ended; another conversation with the same card shares the
card. So several are kept, whichever begins a prompt longest is used, and the least recently used go first.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import DynamicCache

# A prompt that goes on after another lacks only that one's end: the mark of the turn and the name before the reply.
_TAIL = 32


@dataclass
class Prefix:
    """Keys and values, with the ids and the adapter that they were computed from.

    Attributes:
        adapter: the adapter that was active; keys of another adapter are other keys.
        ids: token ids, one for each position of the cache.
        cache: keys and values, of shape (1, heads, len(ids), size) a layer.
        asked: how many of ``ids`` were a prompt; the rest was generated.
    """

    adapter: str | None
    ids: list[int]
    cache: DynamicCache
    asked: int = 0

    @property
    def _layers(self) -> list[Any]:
        return self.cache.layers

    @property
    def nbytes(self) -> int:
        """Bytes that the keys and values take."""
        return sum(t.untyped_storage().nbytes() for layer in self._layers for t in (layer.keys, layer.values))

    @property
    def croppable(self) -> bool:
        """Whether positions can be taken off: sliding windows and recurrent layers forgot what came before."""
        from transformers.cache_utils import DynamicLayer

        return all(type(layer) is DynamicLayer for layer in self.cache.layers)

    def crop(self, length: int) -> None:
        """Keep the first ``length`` positions alone."""
        if length < len(self.ids):
            self.cache.crop(length - len(self.ids))
            del self.ids[length:]

    def copy(self, length: int) -> Prefix:
        """The first ``length`` positions, in memory of their own."""
        from transformers import DynamicCache

        layers = [(layer.keys[..., :length, :], layer.values[..., :length, :]) for layer in self._layers]
        return Prefix(self.adapter, self.ids[:length], DynamicCache(layers))


class PrefixCache:
    """The prefixes of one base model, bounded by bytes; any number of threads may take and keep."""

    def __init__(self) -> None:
        self._kept: list[Prefix] = []  # the least recently used first
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept."""
        with self._lock:
            return sum(prefix.nbytes for prefix in self._kept)

    def take(self, ids: Sequence[int], adapter: str | None) -> Prefix | None:
        """The keys and values of the longest known beginning of a prompt; None where nothing is known.

        What the prompt goes on from is handed over, since nobody else needs it; of what it only shares the
        beginning with it gets a copy. The last id is never given: its logits choose the first token.
        """
        with self._lock:
            alike = [(common(kept.ids, ids[:-1]), kept) for kept in self._kept if kept.adapter == adapter]
            same, best = max(alike, key=lambda pair: pair[0], default=(0, None))
            if best is None or same == 0:
                return None
            self._kept.remove(best)
            if best.asked - same > _TAIL:
                self._kept.append(best)
                return best.copy(same)
        best.crop(same)
        return best

    def keep(self, prefix: Prefix, limit: int) -> None:
        """Keep what a call computed, and drop the least recently used until all take at most ``limit`` bytes."""
        if not prefix.ids or not prefix.croppable:
            return
        with self._lock:
            self._kept = [old for old in self._kept if not _begins(prefix, old)]
            self._kept.append(prefix)
            total = sum(kept.nbytes for kept in self._kept)
            while total > limit:
                total -= self._kept.pop(0).nbytes


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many ids two sequences begin with alike."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _begins(whole: Prefix, part: Prefix) -> bool:
    return part.adapter == whole.adapter and whole.ids[: len(part.ids)] == part.ids
