"""Turns at the model: fair between visitors, given back whatever happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from egosrag.host.queue import FairQueue

WAIT_S = 10


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


class Line:
    """Visitors that come one after another while the first one is served; ``order`` is how they were served."""

    def __init__(self, queue: FairQueue) -> None:
        self.queue, self.order, self.threads = queue, [], []  # type: ignore[var-annotated]
        self.told: dict[str, list[int]] = {}

    def come(self, visitor: str) -> None:
        name = f"{visitor}{len(self.threads)}"
        told = self.told[name] = []

        def work() -> None:
            with self.queue.turn(visitor, told.append):
                self.order.append(visitor)

        self.threads.append(threading.Thread(target=work, daemon=True))
        self.threads[-1].start()
        until(lambda: bool(told))

    def join(self) -> list[str]:
        for thread in self.threads:
            thread.join(WAIT_S)
        return self.order


def test_whoever_was_served_longest_ago_comes_next() -> None:
    queue = FairQueue()
    line = Line(queue)
    with queue.turn("ann"):
        for visitor in ("ann", "ann", "bob", "cyd", "bob"):
            line.come(visitor)
    assert line.join() == ["bob", "cyd", "ann", "bob", "ann"]


def test_who_waits_is_told_how_many_come_before() -> None:
    queue = FairQueue()
    line = Line(queue)
    with queue.turn("ann"):
        line.come("bob")
        line.come("cyd")
        assert line.told["bob0"][0] == 1  # the one who is served
        assert line.told["cyd1"][0] == 2
    line.join()


def test_a_turn_is_given_back_when_its_work_fails() -> None:
    queue = FairQueue()
    with pytest.raises(ZeroDivisionError), queue.turn("ann"):
        raise ZeroDivisionError
    with queue.turn("bob"):
        pass


def test_who_leaves_the_line_holds_nobody_up() -> None:
    queue = FairQueue()
    line = Line(queue)

    def leave(before: int) -> None:
        raise KeyboardInterrupt

    with queue.turn("ann"):
        with pytest.raises(KeyboardInterrupt), queue.turn("bob", leave):
            raise AssertionError("never served")
        line.come("cyd")
    assert line.join() == ["cyd"]


def test_long_work_lets_others_go_first() -> None:
    queue = FairQueue()
    line = Line(queue)
    with queue.turn("ann") as turn:
        turn.rest()  # nobody waits: it goes on
        line.come("bob")
        assert line.order == []
        turn.rest()
        assert line.order == ["bob"]
    line.join()


def test_as_many_work_at_once_as_were_said() -> None:
    queue = FairQueue(at_once=2)
    line = Line(queue)
    with queue.turn("ann"), queue.turn("bob"):
        line.come("cyd")
        assert line.order == []
    assert line.join() == ["cyd"]
