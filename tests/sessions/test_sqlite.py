"""The SQLite store: writers of one file are served in order, and replies are synced to disk."""

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
from tests.roles.cards import TIM
from tests.sessions.child_process import EchoModel, run_and_kill


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if condition():
            return
        time.sleep(0.001)
    raise AssertionError("the condition was still false after 10 seconds")


def test_writers_are_served_in_the_order_of_their_arrival() -> None:
    queue, served = WriterQueue(), list[int]()

    def write(n: int) -> None:
        with queue.turn(60):
            served.append(n)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(20)]
    with queue.turn(60):
        for n, thread in enumerate(threads):
            thread.start()
            wait_until(lambda n=n: len(queue) == n + 2)  # type: ignore[misc]
        assert not served
    for thread in threads:
        thread.join()
    assert served == [*range(20)]


def test_a_writer_that_timed_out_is_skipped() -> None:
    queue, served = WriterQueue(), list[str]()

    def times_out() -> None:
        with pytest.raises(TimeoutError), queue.turn(0.01):
            served.append("late")

    def waits() -> None:
        with queue.turn(60):
            served.append("in time")

    first, other = threading.Thread(target=times_out), threading.Thread(target=waits)
    with queue.turn(60):
        first.start()
        wait_until(lambda: len(queue) == 2)
        other.start()
        first.join()
        wait_until(lambda: len(queue) == 2)
    other.join()
    assert served == ["in time"] and not len(queue)


def test_a_writer_that_is_interrupted_releases_the_queue() -> None:
    queue = WriterQueue()
    with pytest.raises(KeyboardInterrupt), queue.turn(1):
        raise KeyboardInterrupt
    with queue.turn(0):
        assert len(queue) == 1


def test_a_writer_that_waits_too_long_is_a_one_line_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "talk.sqlite"
    with open_store(path) as store, open_store(path) as other:
        Conversation(EchoModel(), TIM, checkpointer=store, session="s").say("line 0")
        second = Conversation(EchoModel(), TIM, checkpointer=other, session="t")
        monkeypatch.setattr(sqlite, "WRITE_TIMEOUT_S", 0.05)
        assert isinstance(store, SqliteStore)
        for held in (store._writing(), store._locked("write", 1)):  # a thread of this process, another process
            with held, pytest.raises(StoreUnavailable, match="were being written by others .*: see who uses them"):
                second.say("line 0")
        assert second.say("line 1").text == "This is the reply to line 1."


def test_a_writer_that_is_killed_releases_the_file(tmp_path: Path) -> None:
    path = tmp_path / "talk.sqlite"
    with open_store(path) as store:
        Conversation(EchoModel(), TIM, checkpointer=store, session="s").say("line 0")

    def hold(out: int) -> None:
        store = SqliteStore(path, serializer())
        with store._writing():
            store.conn.execute("BEGIN IMMEDIATE")
            os.write(out, b"1\n")
            time.sleep(60)

    assert run_and_kill(hold, lambda numbers: numbers == [1], random.Random(1)) == [1]
    with open_store(path) as store:
        assert Conversation(EchoModel(), TIM, checkpointer=store, session="s").say("line 1").text


def test_a_forked_process_does_not_wait_for_threads_of_its_parent(tmp_path: Path) -> None:
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
                        Conversation(EchoModel(), TIM, checkpointer=own, session="s").say("line 0")
                    code = 0
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_reply_is_returned_after_it_was_synced_to_disk(tmp_path: Path) -> None:
    """The last write before the reply, and after any other change, is a synchronous one."""
    with open_store(tmp_path / "talk.sqlite") as store:
        assert isinstance(store, SqliteStore)
        talk = Conversation(EchoModel(), TIM, checkpointer=store, session="s")
        seen: list[str] = []
        store.conn.set_trace_callback(lambda statement: seen.append(statement.split(" (")[0].strip()))

        def flushed() -> bool:
            writes = [s for s in seen if s.startswith(("INSERT", "DELETE", "PRAGMA"))]
            seen.clear()
            rest = [f"PRAGMA application_id={sqlite.APPLICATION_ID}", "PRAGMA synchronous=NORMAL"]
            return len(writes) > 3 and writes[-3:] == ["PRAGMA synchronous=FULL", *rest]

        for piece in talk.stream("line 0"):
            if isinstance(piece, Reply):
                assert flushed()
        pieces = talk.stream("line 1")
        next(pieces)
        assert not flushed(), "a line is not synced before its reply"
        pieces.close()  # type: ignore[attr-defined]
        assert flushed()
        store.delete_thread("s")
        assert flushed()
