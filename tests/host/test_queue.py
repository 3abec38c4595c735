"""The fair queue: slots go to visitors in turn, and are released in every case."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from egosrag.host.queue import FairQueue

WAIT_S = 10


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


class Visitors:
    """Visitors who join the queue one after another; ``order`` is the order in which they got a slot."""

    def __init__(self, queue: FairQueue) -> None:
        self.queue, self.order, self.threads = queue, [], []  # type: ignore[var-annotated]
        self.ahead: dict[str, list[int]] = {}

    def join_queue(self, visitor: str) -> None:
        name = f"{visitor}{len(self.threads)}"
        ahead = self.ahead[name] = []

        def work() -> None:
            with self.queue.slot(visitor, ahead.append):
                self.order.append(visitor)

        self.threads.append(threading.Thread(target=work, daemon=True))
        self.threads[-1].start()
        until(lambda: bool(ahead))

    def wait(self) -> list[str]:
        for thread in self.threads:
            thread.join(WAIT_S)
        return self.order


def test_the_visitor_served_least_recently_is_next() -> None:
    queue = FairQueue()
    visitors = Visitors(queue)
    with queue.slot("ann"):
        for visitor in ("ann", "ann", "bob", "cyd", "bob"):
            visitors.join_queue(visitor)
    assert visitors.wait() == ["bob", "cyd", "ann", "bob", "ann"]


def test_the_number_of_requests_ahead_is_reported() -> None:
    queue = FairQueue()
    visitors = Visitors(queue)
    with queue.slot("ann"):
        visitors.join_queue("bob")
        visitors.join_queue("cyd")
        assert visitors.ahead["bob0"][0] == 1  # the one that holds the slot
        assert visitors.ahead["cyd1"][0] == 2
    visitors.wait()


def test_a_slot_is_released_when_its_block_raises() -> None:
    queue = FairQueue()
    with pytest.raises(ZeroDivisionError), queue.slot("ann"):
        raise ZeroDivisionError
    with queue.slot("bob"):
        pass


def test_a_visitor_who_leaves_the_queue_blocks_nobody() -> None:
    queue = FairQueue()
    visitors = Visitors(queue)

    def leave(ahead: int) -> None:
        raise KeyboardInterrupt

    with queue.slot("ann"):
        with pytest.raises(KeyboardInterrupt), queue.slot("bob", leave):
            raise AssertionError("got a slot")
        visitors.join_queue("cyd")
    assert visitors.wait() == ["cyd"]


def test_long_work_gives_way_to_waiting_visitors() -> None:
    queue = FairQueue()
    visitors = Visitors(queue)
    with queue.slot("ann") as slot:
        slot.give_way()  # nobody waits: it continues
        visitors.join_queue("bob")
        assert visitors.order == []
        slot.give_way()
        assert visitors.order == ["bob"]
    visitors.wait()


def test_as_many_run_at_once_as_there_are_slots() -> None:
    queue = FairQueue(slots=2)
    visitors = Visitors(queue)
    with queue.slot("ann"), queue.slot("bob"):
        visitors.join_queue("cyd")
        assert visitors.order == []
    assert visitors.wait() == ["cyd"]
