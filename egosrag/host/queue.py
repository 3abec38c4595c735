"""A fair queue in front of the model: visitors take turns, and nobody waits for all requests of another visitor."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

_POLL_S = 0.3  # how often a waiting visitor's position is reported
_MAX_REMEMBERED = 1000  # visitors whose last turn is remembered; older ones count as new


class _Ticket(NamedTuple):
    number: int
    visitor: str


class FairQueue:
    """A queue of slots at the model: of the waiting visitors, the one served least recently is next.

    Args:
        slots: requests that may run at the same time.
    """

    def __init__(self, slots: int = 1) -> None:
        self._slots = slots
        self._changed = threading.Condition()
        self._numbers = itertools.count(1)
        self._waiting: list[_Ticket] = []
        self._running: list[_Ticket] = []
        self._last_served: dict[str, int] = {}

    @contextmanager
    def slot(self, visitor: str, on_wait: Callable[[int], None] | None = None) -> Iterator[Slot]:
        """Wait for a slot and hold it while the block runs.

        Args:
            visitor: the visitor's key.
            on_wait: called repeatedly while waiting, with the number of requests ahead; an exception that it raises
                leaves the queue.
        """
        slot = Slot(self, visitor, on_wait)
        slot.acquire()
        try:
            yield slot
        finally:
            slot.release()

    def _enter(self, visitor: str, on_wait: Callable[[int], None] | None) -> _Ticket:
        ticket = _Ticket(next(self._numbers), visitor)
        with self._changed:
            self._waiting.append(ticket)
        try:
            while True:
                with self._changed:
                    ahead = self._order().index(ticket)
                    free = self._slots - len(self._running)
                    if ahead < free:
                        self._start(ticket)
                        return ticket
                if on_wait:
                    on_wait(ahead - free + 1)  # outside the lock: showing it on a page may take a while
                with self._changed:
                    if self._order().index(ticket) >= self._slots - len(self._running):
                        self._changed.wait(_POLL_S)
        finally:
            with self._changed:
                if ticket in self._waiting:
                    self._waiting.remove(ticket)
                    self._changed.notify_all()

    def _order(self) -> list[_Ticket]:
        """The waiting tickets, the next one first."""
        rank: dict[str, int] = {}
        keyed = []
        for ticket in self._waiting:  # a visitor's second request ranks as if the first one had been served
            own = rank[ticket.visitor] = rank.get(ticket.visitor, -1) + 1
            running = sum(other.visitor == ticket.visitor for other in self._running)
            keyed.append((own + running, self._last_served.get(ticket.visitor, 0), ticket.number, ticket))
        return [key[-1] for key in sorted(keyed)]

    def _start(self, ticket: _Ticket) -> None:
        self._waiting.remove(ticket)
        self._running.append(ticket)
        self._last_served.pop(ticket.visitor, None)
        self._last_served[ticket.visitor] = next(self._numbers)
        if len(self._last_served) > _MAX_REMEMBERED:
            del self._last_served[next(iter(self._last_served))]

    def _finish(self, ticket: _Ticket) -> None:
        with self._changed:
            self._running.remove(ticket)
            self._changed.notify_all()

    @property
    def _others_wait(self) -> bool:
        with self._changed:
            return bool(self._waiting)


class Slot:
    """A slot that one visitor holds; long work gives way to others in between."""

    def __init__(self, queue: FairQueue, visitor: str, on_wait: Callable[[int], None] | None) -> None:
        self._queue, self._visitor, self._on_wait = queue, visitor, on_wait
        self._ticket: _Ticket | None = None

    def acquire(self) -> None:
        """Wait for the slot."""
        self._ticket = self._queue._enter(self._visitor, self._on_wait)

    def release(self) -> None:
        """Free the slot; does nothing when it is free already."""
        ticket, self._ticket = self._ticket, None
        if ticket:
            self._queue._finish(ticket)

    def give_way(self) -> None:
        """Between two steps of long work: let waiting visitors go first."""
        if self._queue._others_wait:
            self.release()
            self.acquire()
