"""Whose turn it is: one model serves many visitors, and nobody waits for all of another's work."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

_LOOK_EVERY_S = 0.3  # how often somebody who waits is told of his place


class _Ticket(NamedTuple):
    number: int
    visitor: str


class FairQueue:
    """Turns at a model: of those who wait, whoever had his last turn longest ago comes next.

    Args:
        at_once: turns that may go on at the same time.
    """

    def __init__(self, at_once: int = 1) -> None:
        self._at_once = at_once
        self._changed = threading.Condition()
        self._numbers = itertools.count(1)
        self._waiting: list[_Ticket] = []
        self._working: list[_Ticket] = []
        self._served: dict[str, int] = {}

    @contextmanager
    def turn(self, visitor: str, waiting: Callable[[int], None] | None = None) -> Iterator[Turn]:
        """A turn, once it has come; whatever ends the block gives it back.

        Args:
            visitor: whose it is.
            waiting: is told, again and again, how many come before; what it raises leaves the queue.
        """
        turn = Turn(self, visitor, waiting)
        turn.take()
        try:
            yield turn
        finally:
            turn.give_back()

    def _enter(self, visitor: str, waiting: Callable[[int], None] | None) -> _Ticket:
        ticket = _Ticket(next(self._numbers), visitor)
        with self._changed:
            self._waiting.append(ticket)
        try:
            while True:
                with self._changed:
                    before = self._order().index(ticket)
                    free = self._at_once - len(self._working)
                    if before < free:
                        self._begin(ticket)
                        return ticket
                if waiting:
                    waiting(before - free + 1)  # not under the lock: a page that shows it may take its time
                with self._changed:
                    if self._order().index(ticket) >= self._at_once - len(self._working):
                        self._changed.wait(_LOOK_EVERY_S)
        finally:
            with self._changed:
                if ticket in self._waiting:
                    self._waiting.remove(ticket)
                    self._changed.notify_all()

    def _order(self) -> list[_Ticket]:
        """Those who wait, the next one first."""
        rank: dict[str, int] = {}
        keyed = []
        for ticket in self._waiting:  # a visitor's second line counts as if his first had been served
            own = rank[ticket.visitor] = rank.get(ticket.visitor, -1) + 1
            busy = sum(other.visitor == ticket.visitor for other in self._working)
            keyed.append((own + busy, self._served.get(ticket.visitor, 0), ticket.number, ticket))
        return [key[-1] for key in sorted(keyed)]

    def _begin(self, ticket: _Ticket) -> None:
        self._waiting.remove(ticket)
        self._working.append(ticket)
        self._served.pop(ticket.visitor, None)
        self._served[ticket.visitor] = next(self._numbers)
        if len(self._served) > 1000:  # who was here long ago is as good as new
            del self._served[next(iter(self._served))]

    def _leave(self, ticket: _Ticket) -> None:
        with self._changed:
            self._working.remove(ticket)
            self._changed.notify_all()

    @property
    def _others_wait(self) -> bool:
        with self._changed:
            return bool(self._waiting)


class Turn:
    """One visitor's turn; long work gives others theirs in between."""

    def __init__(self, queue: FairQueue, visitor: str, waiting: Callable[[int], None] | None) -> None:
        self._queue, self._visitor, self._waiting = queue, visitor, waiting
        self._ticket: _Ticket | None = None

    def take(self) -> None:
        """Waits for the turn."""
        self._ticket = self._queue._enter(self._visitor, self._waiting)

    def give_back(self) -> None:
        """Ends the turn; a second time it does nothing."""
        ticket, self._ticket = self._ticket, None
        if ticket:
            self._queue._leave(ticket)

    def rest(self) -> None:
        """Between two pieces of long work: lets those who wait go first."""
        if self._queue._others_wait:
            self.give_back()
            self.take()
