"""One call: its work in a thread, with progress to the client; a client that cancels it or leaves stops the model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
from mcp.server.session import ServerSession

from egosrag.caller import Caller, Cancelled, calling
from egosrag.errors import EgosRagError
from egosrag.limits import ANSWER_TIMEOUT_S
from egosrag.mcp.tools import Report

KEEP_ALIVE_S = 10.0
"""Seconds after which the last step is reported again: clients give up on calls that report nothing."""

_log = logging.getLogger(__name__)
T = TypeVar("T")


class CallFailed(Exception):
    """A call failed: what is wrong and what to do, in one line, for the client."""


async def run(session: ServerSession, what: str, work: Callable[[Report], T]) -> T:
    """The result of ``work``, which runs in a thread with a caller of its own.

    Args:
        session: of the client; it receives the progress if the request has a progress token.
        what: the name of the call, for the log.
        work: the work; its argument reports a step.

    Raises:
        CallFailed: it failed, or took too long.
    """
    caller = Caller(ANSWER_TIMEOUT_S)
    steps, last = 0, "working"

    async def report(step: str) -> None:
        nonlocal steps, last
        steps, last = steps + 1, step
        await session.report_progress(steps, message=step)

    def report_from_thread(step: str) -> None:
        caller.check()
        anyio.from_thread.run(report, step)

    def in_thread() -> T | CallFailed:
        try:
            with calling(caller):
                return work(report_from_thread)
        except Cancelled:
            return CallFailed(f"no result within {ANSWER_TIMEOUT_S:.0f} seconds: try again, or ask for less")
        except EgosRagError as error:
            _log.warning("%s: %s", what, error)
            failed = CallFailed(" ".join(str(error).split()))
            failed.__cause__ = error
            return failed
        except Exception as error:
            if caller.cancelled:  # nobody is there to receive a report
                return CallFailed("cancelled")
            _log.exception("%s: a fault", what)
            return CallFailed(f"unexpected {type(error).__name__}: this is a bug, the server's log has the details")

    async def keep_alive() -> None:
        while True:
            await anyio.sleep(KEEP_ALIVE_S)
            await report(last)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep_alive)
        try:
            result = await anyio.to_thread.run_sync(in_thread, abandon_on_cancel=True)
        finally:
            caller.cancel()
            tasks.cancel_scope.cancel()
    if isinstance(result, CallFailed):
        raise result
    return result
