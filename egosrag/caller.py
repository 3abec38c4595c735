"""For whom work is done: who may cancel it, how long it may take, and with whom it may share caches.

A server sets the caller of the thread that answers a request (``calling``); the models look at it while they read a
prompt, wait for a token or for another server (``check_cancelled``). LangChain and LangGraph pass it on to the threads
in which they run steps. Outside of a server there is no caller, and work ends by itself or by closing its iterator.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

POLL_S = 0.05
"""Seconds between two looks at the caller, for code that waits for something else."""


class Cancelled(BaseException):
    """The caller left, or its time is over.

    Not an ``Exception``, for the reason that ``asyncio.CancelledError`` is none: it is not a failure that a step could
    handle and continue from.
    """


class Caller:
    """The caller of some work; thread-safe.

    Args:
        seconds: time for the work; None for any.
        cache_key: names those with whom this caller shares the caches of prompts: only equal keys share. A caller could
            otherwise find out by counts or times what others have sent.
    """

    def __init__(self, seconds: float | None = None, cache_key: str = "") -> None:
        self.cache_key = cache_key
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Ends the work at its next look at the caller."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether ``cancel`` was called."""
        return self._cancelled.is_set()

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        return self._deadline is not None and time.monotonic() > self._deadline

    def check(self) -> None:
        """Returns while the work may go on.

        Raises:
            Cancelled: it was cancelled, or its time is over.
        """
        if self.cancelled or self.late:
            raise Cancelled


_current: ContextVar[Caller | None] = ContextVar("egosrag_caller", default=None)


@contextmanager
def calling(caller: Caller) -> Iterator[None]:
    """Context manager in which ``caller`` is the one for whom this thread works."""
    token = _current.set(caller)
    try:
        yield
    finally:
        _current.reset(token)


def current_caller() -> Caller | None:
    """The caller of this thread's work; None outside of a server."""
    return _current.get()


def check_cancelled() -> None:
    """Returns while the work of this thread may go on.

    Raises:
        Cancelled: the caller left, or its time is over.
    """
    if (caller := _current.get()) is not None:
        caller.check()


def cache_key() -> str:
    """The key of the caches that this thread's work may use; empty outside of a server."""
    caller = _current.get()
    return caller.cache_key if caller else ""
