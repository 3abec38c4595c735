"""Chat models loaded in the background, once for all visitors, so that no page blocks while one loads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from egosrag.host.model_choices import load_chosen
from egosrag.settings import Settings

_WEIGHTS_FIELDS = ("model", "adapter", "template", "dtype", "device", "context_window")  # decide what is in memory
_SAMPLING_FIELDS = (
    "temperature", "top_p", "sampling_top_k", "min_p", "repetition_penalty", "max_new_tokens", "seed",
)  # fmt: skip
_MAX_ENTRIES = 16  # models in their sampling variants, which share weights


class ModelLoader:
    """Loads chat models in one background thread and caches those that were used last.

    Args:
        max_models: how many different models stay in memory; the least recently used one is evicted.
        load: loads the model of some settings.
    """

    def __init__(self, max_models: int = 2, load: Callable[[Settings], Any] = load_chosen) -> None:
        self._max_models, self._load = max_models, load
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._cache: dict[tuple[Any, ...], Future[Any]] = {}  # least recently used first

    def get(self, settings: Settings) -> Future[Any]:
        """The model of these settings, loaded or loading.

        A failed load is returned once more, so that the page can show its error; the next call tries again.
        """
        key = (*(getattr(settings, name) for name in (*_WEIGHTS_FIELDS, *_SAMPLING_FIELDS)),)
        with self._lock:
            future = self._cache.pop(key, None)
            if future is None:
                future = self._worker.submit(self._load, settings)
            elif future.done() and future.exception():
                return future
            self._cache[key] = future
            self._evict()
            return future

    def _evict(self) -> None:
        retained: list[tuple[Any, ...]] = []
        for number, key in enumerate(reversed(list(self._cache))):
            weights = key[: len(_WEIGHTS_FIELDS)]
            if weights not in retained and len(retained) < self._max_models:
                retained.append(weights)
            if weights not in retained or number >= _MAX_ENTRIES:
                del self._cache[key]
