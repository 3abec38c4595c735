"""The order of checkpoints and the locks of a store: neither depends on a clock, or on the name of a file."""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import id as checkpoint_id

from egosrag.errors import SessionBusy, SessionError, StoreUnavailable
from egosrag.sessions import durable_store
from egosrag.sessions import sqlite as sqlite_store
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.durable_store import id_after
from egosrag.sessions.store import open_store
from tests.roles.cards import TIM
from tests.sessions.child_process import EchoModel

HOUR = 3600 * 10**9  # nanoseconds
Clock = Callable[[int], None]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """``clock(nanoseconds)``: what follows is done by a process whose clock is that much ahead, or behind."""
    true = time.time_ns

    def shift(nanoseconds: int) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: true() + nanoseconds)
        monkeypatch.setattr(checkpoint_id, "_last_v6_timestamp", None)  # as in a process that has just begun

    return shift


def say(url: str | Path, line: str) -> str:
    with open_store(url) as store:
        return Conversation(EchoModel(), TIM, checkpointer=store, session="s").say(line).text


def texts(url: str | Path) -> list[str]:
    with open_store(url) as store:
        return [turn.text for turn in Conversation(EchoModel(), TIM, checkpointer=store, session="s").turns()]


def expected(count: int) -> list[str]:
    return [text for n in range(count) for text in (f"line {n}", f"This is the reply to line {n}.")]


def test_no_turn_is_lost_when_the_clock_steps_back(any_store: str, clock: Clock) -> None:
    for n, ahead in enumerate((HOUR, 0, 0, -24 * HOUR, 10 * HOUR, 0)):
        clock(ahead)
        assert say(any_store, f"line {n}") == f"This is the reply to line {n}."
        clock(0)
        assert texts(any_store) == expected(n + 1)


def test_the_clock_steps_back_in_the_middle_of_a_reply(any_store: str, clock: Clock) -> None:
    with open_store(any_store) as store:
        talk = Conversation(EchoModel(), TIM, checkpointer=store, session="s")
        clock(HOUR)
        pieces = talk.stream("line 0")
        next(pieces)
        clock(-HOUR)
        list(pieces)
        talk.say("line 1")
    clock(0)
    assert texts(any_store) == expected(2)


@pytest.mark.parametrize("slow", ["put", "put_writes"])
def test_a_line_is_kept_whichever_is_stored_first_its_checkpoint_or_what_a_step_wrote(
    slow: str, any_store: str, clock: Clock
) -> None:
    for n, ahead in enumerate((HOUR, 0, 0)):
        clock(ahead)
        with open_store(any_store) as store:
            at_once = getattr(store, slow)

            def late(*values: Any, at_once: Callable[..., Any] = at_once) -> Any:
                time.sleep(0.03)
                return at_once(*values)

            setattr(store, slow, late)
            Conversation(EchoModel(), TIM, checkpointer=store, session="s").say(f"line {n}")
        clock(0)
        assert texts(any_store) == expected(n + 1)


def test_swipes_edits_and_trimming_follow_a_wrong_clock(
    any_store: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable_store, "TRIM_AT", 40)
    monkeypatch.setattr(durable_store, "KEPT_CHECKPOINTS", 20)
    rng = random.Random(3)
    for n in range(14):
        clock(rng.randint(-HOUR, HOUR))
        with open_store(any_store) as store:
            talk = Conversation(EchoModel(), TIM, checkpointer=store, session="s")
            talk.say(f"line {n}")
            clock(rng.randint(-HOUR, HOUR))
            talk.regenerate()
            clock(rng.randint(-HOUR, HOUR))
            talk.choose(0)
            talk.edit(talk.turns()[-1].id, f"This is the reply to line {n}.")
    clock(0)
    assert texts(any_store) == expected(14)
    with open_store(any_store) as store:
        talk = Conversation(EchoModel(), TIM, checkpointer=store, session="s")
        assert len(talk.swipes()) == 2
        assert len(store._parents("s")) <= 60  # type: ignore[attr-defined]


def test_an_id_after_another_is_greater_and_of_the_same_form() -> None:
    newest, other = (str(checkpoint_id.uuid6(clock_seq=n)) for n in (5, -2))
    for _ in range(5000):  # past the 12 bits after which the version stands
        after = id_after(newest, other)
        assert after > newest and after[14] == "6" and len(after) == 36 and after[19:] == other[19:]
        newest = after
    for wrong in ("x", "ffffffff-ffff-6fff-bfff-ffffffffffff"):
        with pytest.raises(SessionError, match="is damaged in its store"):
            id_after(wrong, other)


def test_a_restored_snapshot_is_continued(tmp_path: Path) -> None:
    path, copy = tmp_path / "talk.sqlite", tmp_path / "copy.sqlite"
    say(path, "line 0")
    shutil.copy(path, copy)  # it was closed, so that its log is in it
    with open_store(path) as store:
        talk = Conversation(EchoModel(), TIM, checkpointer=store, session="s")
        talk.say("line 1")
        os.replace(copy, path)
        with pytest.raises(StoreUnavailable, match="removed or replaced by another file .*: open them again"):
            talk.say("line 2")
    for extra in ("-wal", "-shm"):
        Path(f"{path}{extra}").unlink(missing_ok=True)
    say(path, "line 1")
    assert texts(path) == expected(2)


def test_what_steps_store_while_another_thread_writes_is_neither_lost_nor_written_twice(
    any_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LangGraph stores a step in the background while a reply that is being generated is saved."""
    with open_store(any_store) as opened:
        store: Any = opened
        say(any_store, "line 0")
        with store.exclusive("s"), store.deferring("s"):
            head = {"configurable": {"thread_id": "s", "checkpoint_ns": "", "checkpoint_id": store.head("s")}}
            done, dumps = threading.Event(), store.serde.dumps_typed

            def slowly(value: Any) -> Any:
                time.sleep(0.001)
                return dumps(value)

            monkeypatch.setattr(store.serde, "dumps_typed", slowly)

            def save() -> None:
                while not done.is_set():
                    store.write_deferred("s")

            writer = threading.Thread(target=save)
            writer.start()
            try:
                with ThreadPoolExecutor(4) as pool:
                    list(pool.map(lambda n: store.put_writes(head, [("text", n)], f"task {n}"), range(200)))
            finally:
                done.set()
                writer.join()
        written = [value for _, channel, value in store.get_tuple(head).pending_writes if channel == "text"]
    assert sorted(written) == list(range(200))


@pytest.mark.parametrize("connected", [True, False])
def test_a_snapshot_that_is_restored_in_the_middle_of_a_reply_is_not_mixed_with_it(
    connected: bool, postgres: str
) -> None:
    say(postgres, "line 0")
    with open_store(postgres) as store:
        talk = Conversation(EchoModel(), TIM, checkpointer=store, session="s")
        before = store.head("s")  # type: ignore[attr-defined]
        pieces = talk.stream("line 1")
        next(pieces)
        with open_store(postgres) as other:  # what a restored dump leaves of the session
            newer = [checkpoint for checkpoint in other._parents("s") if checkpoint > before]  # type: ignore[attr-defined]
            other._drop("s", newer)  # type: ignore[attr-defined]
        if not connected:
            store.conn.close()  # type: ignore[attr-defined]
        with pytest.raises(SessionBusy, match="an older copy of it was restored"):
            list(pieces)
    assert texts(postgres) == expected(1)
    say(postgres, "line 1")
    assert texts(postgres) == expected(2)


@pytest.mark.parametrize("name", ["link", "link to the folder", "relative", "dots"])
def test_a_store_is_locked_under_all_its_names(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    path = folder / "talk.sqlite"
    say(path, "line 0")
    (tmp_path / "link.sqlite").symlink_to(path)
    (tmp_path / "folder").symlink_to(folder)
    monkeypatch.chdir(folder)
    names = {
        "link": tmp_path / "link.sqlite",
        "link to the folder": tmp_path / "folder" / "talk.sqlite",
        "relative": Path("talk.sqlite"),
        "dots": folder / ".." / "real" / "talk.sqlite",
    }
    monkeypatch.setattr(sqlite_store, "SESSION_TIMEOUT_S", 0.1)
    with open_store(path) as store, open_store(names[name]) as other:
        pieces = Conversation(EchoModel(), TIM, checkpointer=store, session="s").stream("line 1")
        next(pieces)
        with pytest.raises(SessionBusy):
            Conversation(EchoModel(), TIM, checkpointer=other, session="s").say("line 2")
        list(pieces)
    assert texts(names[name]) == expected(2)
    assert [file.name for file in tmp_path.rglob("*-locks")] == ["talk.sqlite-locks"]


def test_two_processes_with_two_names_keep_every_turn(tmp_path: Path) -> None:
    path = tmp_path / "real.sqlite"
    say(path, "line 0")
    (tmp_path / "link.sqlite").symlink_to("real.sqlite")
    children = []
    for name in ("real", "link"):
        child = os.fork()
        if not child:
            code = 1
            try:
                for n in range(6):
                    _say_when_free(tmp_path / f"{name}.sqlite", f"line {name}{n}")
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    found = texts(path)
    assert len(found) == 26
    for name in ("real", "link"):
        assert [text for text in found[::2] if f" {name}" in text] == [f"line {name}{n}" for n in range(6)]


def _say_when_free(path: Path, line: str) -> None:
    for _ in range(100):
        try:
            say(path, line)
            return
        except SessionBusy:
            time.sleep(0.01)


def test_a_hard_link_is_refused(tmp_path: Path) -> None:
    say(tmp_path / "talk.sqlite", "line 0")
    os.link(tmp_path / "talk.sqlite", tmp_path / "other.sqlite")
    with pytest.raises(SessionError, match="have another name, by a hard link"), open_store(tmp_path / "other.sqlite"):
        pass
    (tmp_path / "other.sqlite").unlink()
    assert texts(tmp_path / "talk.sqlite") == expected(1)


def test_a_file_that_is_mounted_by_itself_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As containers do: with the log in another folder, 16 of 32 turns of two processes were lost."""
    mounts, path = tmp_path / "mountinfo", tmp_path / "a b" / "talk.sqlite"
    say(path, "line 0")
    monkeypatch.setattr(sqlite_store, "_MOUNTS", mounts)
    line = "36 35 98:0 /mnt1 {} rw,noatime master:1 - ext3 /dev/root rw\n"
    mounts.write_text(line.format("/proc") + line.format(str(path.parent).replace(" ", r"\040")))
    assert say(path, "line 1")
    mounts.write_text(line.format("/proc") + line.format(str(path).replace(" ", r"\040")))
    with pytest.raises(SessionError, match="mounted by itself"), open_store(path):
        pass
    mounts.unlink()
    assert texts(path) == expected(2)


@pytest.mark.parametrize("path", ["sqlite:///talk.sqlite", "file:talk.sqlite"])
def test_an_address_of_a_file_is_no_other_store(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SessionError, match="give the path of the file alone"), open_store(path):
        pass
    assert not list(tmp_path.glob("*:*"))


def test_a_zero_byte_in_a_path_is_a_one_line_error() -> None:
    with pytest.raises(SessionError, match="cannot be opened"), open_store("talk\0.sqlite"):
        pass


def test_a_link_to_itself_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "talk.sqlite").symlink_to("talk.sqlite")
    with pytest.raises(SessionError, match="cannot be opened"), open_store(tmp_path / "talk.sqlite"):
        pass


def test_the_lock_file_of_a_session_is_removed_with_its_last_user(tmp_path: Path) -> None:
    path = tmp_path / "talk.sqlite"
    locks = tmp_path / "talk.sqlite-locks"
    for n in range(3):
        with open_store(path) as store:
            talk = Conversation(EchoModel(), TIM, checkpointer=store, session=f"s{n}")
            pieces = talk.stream("line 0")
            next(pieces)
            assert len(list(locks.iterdir())) == 3
            list(pieces)
    (locks / f"{'0' * 32}.lock").touch()  # of a process that was killed
    assert texts(path) == []
    assert sorted(file.name for file in locks.iterdir()) == ["open.lock", "write.lock"]
