"""Models that load beside the pages: once for all visitors, and nobody's page stands still meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from egosrag import assemble
from egosrag.settings import Settings

_WHICH = ("model", "adapter", "template", "dtype", "device", "context_window")  # what decides the weights in memory
_HOW = ("temperature", "top_p", "max_new_tokens", "seed")
_MOST_VARIANTS = 16


class Loader:
    """Loads chat models in a thread of its own, one after another, and keeps those that were used last.

    Args:
        most: how many different models stay; the one that was used longest ago is let go.
        load: settings to a model.
    """

    def __init__(self, most: int = 2, load: Callable[[Settings], Any] = assemble.chat_model) -> None:
        self._most, self._load = most, load
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._known: dict[tuple[Any, ...], Future[Any]] = {}

    def get(self, settings: Settings) -> Future[Any]:
        """The model of these settings, or what it is loaded as; asks for it where nobody did.

        A load that failed is told once; the next call tries again.
        """
        key = (*(getattr(settings, name) for name in (*_WHICH, *_HOW)),)
        with self._lock:
            found = self._known.pop(key, None)
            if found is None:
                found = self._worker.submit(self._load, settings)
            elif found.done() and found.exception():
                return found
            self._known[key] = found
            self._let_go()
            return found

    def _let_go(self) -> None:
        kept: list[tuple[Any, ...]] = []
        for number, key in enumerate(reversed(list(self._known))):
            which = key[: len(_WHICH)]
            if which not in kept and len(kept) < self._most:
                kept.append(which)
            if which not in kept or number >= _MOST_VARIANTS:
                del self._known[key]
