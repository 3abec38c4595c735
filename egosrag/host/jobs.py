"""Long work in the background: indexing, extraction, a download. It goes on when its page is reloaded or left.

A page looks at its progress, cancels it, and takes its result. Work ends at its next look at the caller, or at its next
report of progress.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

from egosrag.caller import Caller, Cancelled, calling, check_cancelled
from egosrag.console import Reporter
from egosrag.errors import EgosRagError
from egosrag.host.queue import FairQueue, Slot

Work = Callable[[Reporter], Any]
MAX_JOBS = 3  # of one visitor at a time


class Job(Reporter):
    """Some work of a visitor, and how far it is.

    Attributes:
        name: what it is for its page, such as "extract".
        label: what it works on, in the visitor's words.
        what: the step that it is in.
        done: parts of the step that are done.
        total: parts of the step.
        notes: messages to the visitor.
        result: its result, once it is done.
    """

    def __init__(self, name: str, label: str) -> None:
        self.name, self.label = name, label
        self.what, self.done, self.total = "", 0, 0
        self.notes: list[str] = []
        self.result: Future[Any] = Future()
        self._caller = Caller()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Note the progress; ends the work where it was cancelled."""
        self.what, self.done, self.total = what, done, total
        self._caller.check()

    def note(self, text: str) -> None:
        """Note a message."""
        self.notes.append(text)

    @property
    def share(self) -> float:
        """The share of the current step that is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    @property
    def running(self) -> bool:
        """Whether it is not done yet; a cancelled job may still be running for a moment."""
        return not self.result.done()

    @property
    def cancelled(self) -> bool:
        """Whether the visitor cancelled it."""
        return self._caller.cancelled

    def wait(self, seconds: float) -> None:
        """Wait until it is done, at most so long."""
        wait([self.result], timeout=seconds)

    def cancel(self) -> None:
        """End the work at its next look at the caller."""
        self._caller.cancel()

    def run(self, work: Work) -> None:
        """Do the work in this thread."""
        try:
            with calling(self._caller):
                self.result.set_result(work(self))
        except Cancelled:
            self.result.set_exception(EgosRagError("it was cancelled"))
        except Exception as error:
            self.result.set_exception(error)


class _Yielding(Reporter):
    """Passes progress on, and lets other visitors use the model between two steps."""

    def __init__(self, to: Reporter, slot: Slot) -> None:
        self._to, self._slot = to, slot

    def __call__(self, what: str, done: int, total: int) -> None:
        self._to(what, done, total)
        self._slot.give_way()

    def note(self, text: str) -> None:
        self._to.note(text)


def in_turns(queue: FairQueue, visitor: str, work: Work) -> Work:
    """Work that uses the model: it waits for the visitor's slot, and gives way between two steps."""

    def run(progress: Reporter) -> Any:
        with queue.slot(visitor, lambda _: check_cancelled()) as slot:
            return work(_Yielding(progress, slot))

    return run


class Jobs:
    """The jobs of all visitors, each in a thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[tuple[str, str], Job] = {}

    def start(self, visitor: str, name: str, label: str, work: Work) -> Job:
        """Start some work, unless work of this name is running.

        Args:
            visitor: key of the visitor.
            name: what it is for its page.
            label: what it works on, in the visitor's words.
            work: gets the reporter of its progress.

        Raises:
            EgosRagError: the visitor has too many running jobs.
        """
        with self._lock:
            job = self._jobs.get((visitor, name))
            if job and job.running:
                return job
            if sum(j.running for (owner, _), j in self._jobs.items() if owner == visitor) >= MAX_JOBS:
                raise EgosRagError(f"{MAX_JOBS} tasks of yours are running: wait for one of them, or cancel it")
            job = self._jobs[visitor, name] = Job(name, label)
        threading.Thread(target=job.run, args=(work,), name=f"job {name}", daemon=True).start()
        return job

    def running(self, visitor: str) -> bool:
        """Whether any work of a visitor is running."""
        return any(job.running for (owner, _), job in list(self._jobs.items()) if owner == visitor)

    def find(self, visitor: str, name: str) -> Job | None:
        """The job of this name that runs, or that ended and whose result was not taken yet."""
        return self._jobs.get((visitor, name))

    def take(self, visitor: str, name: str) -> Any:
        """The result of a job that ended, which is then forgotten; None where there is no such job.

        Raises:
            EgosRagError: the work failed.
        """
        with self._lock:
            job = self._jobs.get((visitor, name))
            if job is None or job.running:
                return None
            del self._jobs[visitor, name]
        return None if job.cancelled else job.result.result()
