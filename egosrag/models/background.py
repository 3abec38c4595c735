"""Reads an asynchronous stream from synchronous code, in an event loop of its own thread, so that waiting can end.

A thread that waits for a server cannot be woken, a task can be cancelled: its connection is closed at once, and the
server stops generating.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, suppress
from functools import cache
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from egosrag.caller import POLL_S, check_cancelled

T = TypeVar("T")


@cache
def background_loop() -> asyncio.AbstractEventLoop:
    """The event loop of a thread of this process, which is started with the first call."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="background", daemon=True).start()
    return loop


def iterate_cancellable(start: Callable[[], AsyncIterator[T]]) -> Iterator[T]:
    """The items of a stream; closing the iterator, or the caller's leaving, closes the stream.

    Args:
        start: starts the stream, in the event loop; an asynchronous generator.

    Raises:
        Cancelled: the caller left, or its time is over.
        Exception: what the stream raises.
    """
    items: SimpleQueue[tuple[str, Any]] = SimpleQueue()

    async def pump() -> None:
        try:
            async with aclosing(start()) as stream:  # type: ignore[type-var]
                async for item in stream:
                    items.put(("item", item))
        except Exception as error:
            items.put(("error", error))
        finally:
            items.put(("end", None))

    task = asyncio.run_coroutine_threadsafe(pump(), background_loop())
    try:
        while True:
            check_cancelled()
            with suppress(Empty):
                kind, item = items.get(timeout=POLL_S)
                if kind == "error":
                    raise item
                if kind == "end":
                    return
                yield item
    finally:
        task.cancel()
