"""Writers of one SQLite file: each gets its turn, and what was answered is on the disk."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from egosrag.errors import StoreUnavailable
from egosrag.schema import Reply
from egosrag.sessions import sqlite
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.sqlite import SqliteStore, WriterQueue
from egosrag.sessions.store import open_store, serializer
from tests.egos.talker import Counter, killed
from tests.roles.cards import TIM


def until(true: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if true():
            return
        time.sleep(0.001)
    raise AssertionError("it did not come to that")


def test_turns_come_in_the_order_of_asking() -> None:
    queue, came = WriterQueue(), list[int]()

    def write(n: int) -> None:
        with queue.turn(60):
            came.append(n)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(20)]
    with queue.turn(60):
        for n, thread in enumerate(threads):
            thread.start()
            until(lambda n=n: len(queue) == n + 2)  # type: ignore[misc]
        assert not came
    for thread in threads:
        thread.join()
    assert came == [*range(20)]


def test_who_gives_up_is_passed_over() -> None:
    queue, came = WriterQueue(), list[str]()

    def gives_up() -> None:
        with pytest.raises(TimeoutError), queue.turn(0.01):
            came.append("late")

    def waits() -> None:
        with queue.turn(60):
            came.append("in time")

    one, other = threading.Thread(target=gives_up), threading.Thread(target=waits)
    with queue.turn(60):
        one.start()
        until(lambda: len(queue) == 2)
        other.start()
        one.join()
        until(lambda: len(queue) == 2)
    other.join()
    assert came == ["in time"] and not len(queue)


def test_one_that_is_interrupted_in_its_turn_frees_it() -> None:
    queue = WriterQueue()
    with pytest.raises(KeyboardInterrupt), queue.turn(1):
        raise KeyboardInterrupt
    with queue.turn(0):
        assert len(queue) == 1


def test_who_waits_too_long_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "talk.sqlite"
    with open_store(path) as store, open_store(path) as other:
        Conversation(Counter(), TIM, checkpointer=store, session="s").say("line 0")
        second = Conversation(Counter(), TIM, checkpointer=other, session="t")
        monkeypatch.setattr(sqlite, "WRITE_TIMEOUT_S", 0.05)
        assert isinstance(store, SqliteStore)
        for held in (store._writing(), store._locked("write", 1)):  # a thread of this process, another process
            with held, pytest.raises(StoreUnavailable, match="were being written by others .*: see who uses them"):
                second.say("line 0")
        assert second.say("line 1").text == "This is the reply to line 1."


def test_a_writer_that_is_killed_in_its_turn_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "talk.sqlite"
    with open_store(path) as store:
        Conversation(Counter(), TIM, checkpointer=store, session="s").say("line 0")

    def holds(out: int) -> None:
        store = SqliteStore(path, serializer())
        with store._writing():
            store.conn.execute("BEGIN IMMEDIATE")
            os.write(out, b"1\n")
            time.sleep(60)

    assert killed(holds, lambda numbers: numbers == [1], random.Random(1)) == [1]
    with open_store(path) as store:
        assert Conversation(Counter(), TIM, checkpointer=store, session="s").say("line 1").text


def test_a_child_does_not_wait_for_the_threads_of_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "talk.sqlite"
    with open_store(path) as store:
        assert isinstance(store, SqliteStore)
        queue = sqlite.writer_queues.setdefault(path.absolute(), WriterQueue())
        with queue.turn(1):
            child = os.fork()
            if not child:
                code = 1
                try:
                    with open_store(path) as own:
                        Conversation(Counter(), TIM, checkpointer=own, session="s").say("line 0")
                    code = 0
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_reply_is_handed_out_when_the_disk_has_it(tmp_path: Path) -> None:
    """The last that is done before the reply is a write that waits for the disk; so it is after any other change."""
    with open_store(tmp_path / "talk.sqlite") as store:
        assert isinstance(store, SqliteStore)
        talk = Conversation(Counter(), TIM, checkpointer=store, session="s")
        seen: list[str] = []
        store.conn.set_trace_callback(lambda statement: seen.append(statement.split(" (")[0].strip()))

        def flushed() -> bool:
            writes = [s for s in seen if s.startswith(("INSERT", "DELETE", "PRAGMA"))]
            seen.clear()
            asked = [f"PRAGMA application_id={sqlite.APPLICATION_ID}", "PRAGMA synchronous=NORMAL"]
            return len(writes) > 3 and writes[-3:] == ["PRAGMA synchronous=FULL", *asked]

        for piece in talk.stream("line 0"):
            if isinstance(piece, Reply):
                assert flushed()
        pieces = talk.stream("line 1")
        next(pieces)
        assert not flushed(), "a line of which nothing was answered waits for no disk"
        pieces.close()  # type: ignore[attr-defined]
        assert flushed()
        store.delete_thread("s")
        assert flushed()
