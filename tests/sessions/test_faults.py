"""What goes wrong around a session: processes that are killed, databases that go away, disks that are full."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.outputs import ChatGenerationChunk
from pydantic import PrivateAttr

from egosrag.errors import SessionBusy, SessionError, StoreUnavailable
from egosrag.models.scripted import ScriptedChatModel
from egosrag.sessions import maintenance as keeper
from egosrag.sessions import thread as sessions
from egosrag.sessions.catalog import list_sessions
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.store import open_store
from tests.egos.talker import Counter, killed, talker
from tests.postgres import Server
from tests.roles.cards import TIM

FULL = os.environ.get("EGOSRAG_TEST_PROFILE") == "full"
KILLS = 200 if FULL else 20


def record(url: str, session: str = "s") -> list[tuple[str, str, str]]:
    with open_store(url) as store:
        talk = Conversation(Counter(), TIM, checkpointer=store, session=session)
        return [(turn.speaker, turn.text, turn.status) for turn in talk.turns()]


def whole(lines: int) -> list[tuple[str, str, str]]:
    """The record of so many lines, each answered once."""
    return [
        turn
        for n in range(lines)
        for turn in (("Me", f"line {n}", "complete"), ("Tim", f"This is the reply to line {n}.", "complete"))
    ]


@pytest.mark.timeout(1800 if FULL else 300)
def test_kills_lose_no_answer_and_double_none(any_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "TRIM_AT", 40)  # so that some of them meet the store while it drops the old
    monkeypatch.setattr(keeper, "KEPT_CHECKPOINTS", 20)
    monkeypatch.setattr(sessions, "SAVE_EVERY_S", 0.0)
    chance, answered = random.Random(7), list[int]()
    for _ in range(KILLS):
        lines = chance.randint(0, 2)
        answered += killed(talker(any_store), lambda numbers, lines=lines: len(numbers) >= lines, chance)
    assert answered == sorted(set(answered)), "an answer was given twice"
    found = record(any_store)
    heard = [text for speaker, text, _ in found if speaker == "Me"]
    assert heard == [f"line {n}" for n in range(len(heard))]
    assert [speaker for speaker, _, _ in found[: 2 * len(heard) - 1]] == (["Me", "Tim"] * len(heard))[:-1]
    replies = {text.rsplit(" ", 1)[1] for speaker, text, status in found if speaker == "Tim" and status == "complete"}
    assert {f"{n}." for n in answered} <= replies
    with open_store(any_store) as store:
        talk = Conversation(Counter(), TIM, checkpointer=store, session="s")
        assert talk.say("line 9999").text == "This is the reply to line 9999."


def test_sessions_at_once_keep_their_order(any_store: str) -> None:
    count, lines = 32, 20 if FULL else 2
    failed: list[BaseException] = []

    def speak(n: int) -> None:
        try:
            with open_store(any_store) as store:
                talk = Conversation(Counter(), TIM, checkpointer=store, session=f"s{n}")
                for line in range(lines):
                    talk.say(f"line {n} {line}")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=speak, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    for n in range(count):
        said = [text for _, text, _ in record(any_store, f"s{n}")]
        assert said == [t for m in range(lines) for t in (f"line {n} {m}", f"This is the reply to line {n} {m}.")]
    with open_store(any_store) as store:
        assert {info.session for info in list_sessions(store)} == {f"s{n}" for n in range(count)}


def test_a_new_file_that_another_is_writing_is_opened(tmp_path: Path) -> None:
    """SQLite refuses the change to a write-ahead log at once beside a writer, whatever the time-out says."""
    path = tmp_path / "talk.sqlite"
    writer = sqlite3.connect(path, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    other = sqlite3.connect(path, timeout=60)
    with pytest.raises(sqlite3.OperationalError, match="database is locked"):
        other.execute("PRAGMA journal_mode=WAL")
    other.close()
    gone = threading.Timer(0.2, writer.close)
    gone.start()
    try:
        with open_store(path) as store:
            assert Conversation(Counter(), TIM, checkpointer=store, session="s").say("line 0").text
    finally:
        gone.join()


def test_two_processes_take_turns_in_one_session(any_store: str) -> None:
    """Each waits for the other's reply; in the end every line stands with its own answer behind it."""
    reading, writing = os.pipe()
    children = []
    for name in "ab":
        child = os.fork()
        if not child:
            code = 1
            try:
                with open_store(any_store) as store:
                    talk = Conversation(Counter(), TIM, checkpointer=store, session="s")
                    for n in range(6):
                        _say_when_free(talk, f"line {name}{n}")
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    os.close(reading)
    os.close(writing)
    found = record(any_store)
    assert len(found) == 24
    for line, reply in zip(found[::2], found[1::2], strict=True):
        assert reply[1] == f"This is the reply to {line[1]}."
    for name in "ab":
        assert [text for _, text, _ in found[::2] if f" {name}" in text] == [f"line {name}{n}" for n in range(6)]


def _say_when_free(talk: Conversation, line: str) -> None:
    for _ in range(100):
        try:
            talk.say(line)
            return
        except SessionBusy:
            time.sleep(0.01)


def test_who_does_not_get_the_session_is_told_so(any_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("egosrag.sessions.sqlite.SESSION_TIMEOUT_S", 0.1)
    monkeypatch.setattr("egosrag.sessions.postgres.SESSION_TIMEOUT_S", 0.1)
    with open_store(any_store) as store, open_store(any_store) as other:
        pieces = Conversation(Counter(), TIM, checkpointer=store, session="s").stream("line 0")
        next(pieces)
        for shared in (store, other):
            second = Conversation(Counter(), TIM, checkpointer=shared, session="s")
            with pytest.raises(SessionBusy, match="session 's' is still answering in another process"):
                second.say("line 1")
        assert Conversation(Counter(), TIM, checkpointer=other, session="t").say("line 0").text
        pieces.close()  # type: ignore[attr-defined]
        assert second.say("line 1").text == "This is the reply to line 1."


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    path = str(tmp_path / "talk.sqlite")

    def fill(out: int) -> None:
        with open_store(path) as store:
            talk = Conversation(Counter(), TIM, checkpointer=store, session="s")
            talk.say("line 0")
            os.write(out, b"0\n")
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
            try:
                for n in range(1, 1000):
                    talk.say(f"line {n}")
                    os.write(out, f"{n}\n".encode())
            except StoreUnavailable as error:
                assert "check the disk" in str(error) and "\n" not in str(error)
                os.write(out, b"-1\n")
            time.sleep(60)

    answered = killed(fill, lambda numbers: numbers[-1:] == [-1], random.Random(1))
    assert len(answered) > 3, "the disk was full at once"
    found = record(path)
    assert found[: 2 * (len(answered) - 1)] == whole(len(answered) - 1)
    killed(talker(path), lambda numbers: len(numbers) > 0, random.Random(1))
    assert len(record(path)) > len(found)


def test_a_database_that_comes_back_is_waited_for(postgres_server: Server, postgres: str) -> None:
    with open_store(postgres) as store:
        talk = Conversation(Counter(), TIM, checkpointer=store, session="s")
        talk.say("line 0")
        pieces = talk.stream("line 1")
        next(pieces)  # it is answering when the server goes
        postgres_server.stop()
        back = threading.Timer(10.0 if FULL else 1.0, postgres_server.start)
        back.start()
        try:
            rest = list(pieces)
        finally:
            back.join()
        assert rest[-1].text == "This is the reply to line 1."  # type: ignore[union-attr]
        talk.say("line 2")
    assert record(postgres) == whole(3)


def test_a_database_that_stays_away_is_one_line(
    postgres_server: Server, postgres: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("egosrag.postgres.DATABASE_TIMEOUT_S", 0.3)
    with open_store(postgres) as store:
        talk = Conversation(Counter(), TIM, checkpointer=store, session="s")
        talk.say("line 0")
        postgres_server.stop()
        try:
            for _ in range(2):
                with pytest.raises(StoreUnavailable, match="does not answer") as error:
                    talk.say("line 1")
                assert "p@ss" not in str(error.value) + caplog.text and "\n" not in str(error.value)
            with pytest.raises(StoreUnavailable, match="cannot be reached"), open_store(postgres):
                pass
        finally:
            postgres_server.start()
        assert talk.say("line 1").text
    assert record(postgres) == whole(2)


class Held(Counter):
    """Says its first words, and the others when it may."""

    _may: threading.Event = PrivateAttr(default_factory=threading.Event)

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for n, chunk in enumerate(super()._stream(*args, **kwargs)):
            if n:
                assert self._may.wait(60)
            yield chunk


def test_a_session_that_went_on_elsewhere_meanwhile_is_not_written_over(postgres: str) -> None:
    with open_store(postgres) as store, open_store(postgres) as other:
        model = Held()
        talk = Conversation(model, TIM, checkpointer=store, session="s")
        model._may.set()
        talk.say("line 0")
        model._may.clear()
        pieces = talk.stream("line 1")
        next(pieces)
        store.conn.close()  # type: ignore[attr-defined]  # the network is cut, and the server frees the session
        Conversation(Counter(), TIM, checkpointer=other, session="s").say("line 2")
        model._may.set()
        with pytest.raises(SessionBusy, match="was continued elsewhere"):
            list(pieces)
    assert record(postgres)[-2:] == [("Me", "line 2", "complete"), ("Tim", "This is the reply to line 2.", "complete")]


def test_a_database_that_takes_no_writes_is_told(postgres: str) -> None:
    with open_store(postgres) as store:
        talk = Conversation(Counter(), TIM, checkpointer=store, session="s")
        talk.say("line 0")
        store.conn.execute("SET default_transaction_read_only = on")  # type: ignore[attr-defined]
        with pytest.raises(StoreUnavailable, match="refuses .*read-only"):
            talk.say("line 1")
        store.conn.execute("SET default_transaction_read_only = off")  # type: ignore[attr-defined]
        talk.say("line 1")
    assert record(postgres) == whole(2)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:p%40ss@127.0.0.1:1/none",
        "postgresql://me:p%40ss@127.0.0.1:p@ss/none",
        "postgresql://me:p%zzp@ss@127.0.0.1/none",
        "postgresql://127.0.0.1:1/none?user=me&password=p%40ss",
        "postgresql://me:p@ss@no.such.host.invalid/none",
    ],
)
def test_a_password_shows_up_nowhere(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("egosrag.postgres.DATABASE_TIMEOUT_S", 0.2)
    with pytest.raises(SessionError, match="cannot be re") as error, open_store(url):
        pass
    told = str(error.value) + repr(error.value.__cause__) + caplog.text
    assert "p@ss" not in told and "p%40ss" not in told and "p%zz" not in told and "\n" not in str(error.value)
    assert error.value.__suppress_context__


def test_a_wrong_database_is_not_waited_for(postgres_server: Server) -> None:
    started = time.monotonic()
    with pytest.raises(SessionError, match='database "none" does not exist'), open_store(postgres_server.url("none")):
        pass
    assert time.monotonic() - started < 20  # of the 30 that a server may be away


# --- what a store holds --------------------------------------------------------------------------------------------


def size(url: str) -> int:
    with open_store(url) as store:
        return len(store._parents("s"))  # type: ignore[attr-defined]


def test_a_store_grows_with_the_conversation_and_not_with_its_square(
    any_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "TRIM_AT", 50)
    monkeypatch.setattr(keeper, "KEPT_CHECKPOINTS", 25)
    with open_store(any_store) as store:
        model = ScriptedChatModel(responses=[f'Reply {n}."' for n in range(20)])
        talk = Conversation(model, TIM, checkpointer=store, session="s", window=600, memory="none")
        for n in range(15):
            talk.say(f"line {n}")
        told = talk.turns()
        assert [turn.text for turn in told[::2]] == [f"line {n}" for n in range(15)]
    assert size(any_store) <= keeper.TRIM_AT
    with open_store(any_store) as store:
        talk = Conversation(model, TIM, checkpointer=store, session="s", window=600, memory="none")
        assert talk.turns() == told
        talk.regenerate()
        assert talk.swipes() == ["Reply 14.", "Reply 15."]
        talk.choose(0)
        assert talk.turns() == told
        talk.regenerate(told[5].id)
        talk.choose(0, talk.turns()[5].id)
        assert talk.turns() == told, "all that followed an old reply is there again"


def test_a_store_of_a_newer_program_is_not_written(any_store: str) -> None:
    with open_store(any_store) as store:
        Conversation(Counter(), TIM, checkpointer=store, session="s").say("line 0")
    if any_store.startswith("postgres"):
        import psycopg

        with psycopg.connect(any_store) as connection:
            connection.execute("UPDATE egosrag_sessions SET version = 99")
        with pytest.raises(SessionError, match="have version 99"), open_store(any_store):
            pass
        with psycopg.connect(any_store) as connection:
            connection.execute("UPDATE egosrag_sessions SET version = 1")
            connection.execute("INSERT INTO checkpoint_migrations VALUES (99)")
        with pytest.raises(SessionError, match="newer LangGraph"), open_store(any_store):
            pass
        return
    with sqlite3.connect(any_store) as file:
        file.execute("PRAGMA user_version = 99")
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file.close()
    before = Path(any_store).read_bytes()
    with pytest.raises(SessionError, match="have version 99, this program knows 1"), open_store(any_store):
        pass
    assert Path(any_store).read_bytes() == before


def test_a_store_from_before_versions_is_read(tmp_path: Path) -> None:
    """The first stores held whole lists in each checkpoint, and no version."""
    from langgraph.checkpoint.sqlite import SqliteSaver

    path = tmp_path / "talk.sqlite"
    with _whole_lists(path) as graph:
        config: Any = {"configurable": {"thread_id": "s"}}
        for n in range(2):
            said = [("Me", f"line {n}"), ("Tim", f"This is the reply to line {n}.")]
            turns = [{"speaker": speaker, "text": text, "id": f"{speaker}{n}"} for speaker, text in said]
            graph.invoke({"name": "Tim", "turns": turns}, config)
    assert isinstance(SqliteSaver(sqlite3.connect(path)).get_tuple(config).checkpoint["channel_values"]["turns"], list)  # type: ignore[union-attr]
    shutil.copy(path, tmp_path / "copy.sqlite")
    assert record(str(tmp_path / "copy.sqlite")) == whole(2)
    killed(talker(str(path)), lambda numbers: len(numbers) > 0, random.Random(1))
    found = record(str(path))
    assert len(found) > 4 and [text for _, text, _ in found[:5]] == [text for _, text, _ in whole(3)[:5]]


def _whole_lists(path: Path) -> Any:
    import operator
    from contextlib import contextmanager
    from typing import Annotated, TypedDict

    from langgraph.checkpoint.sqlite import SqliteSaver
    from langgraph.graph import END, START, StateGraph

    state = TypedDict("state", {"name": str, "turns": Annotated[list[dict[str, Any]], operator.add]})  # noqa: UP013

    @contextmanager
    def opened() -> Iterator[Any]:
        with SqliteSaver.from_conn_string(str(path)) as store:
            graph = StateGraph(state)  # type: ignore[arg-type]
            graph.add_node("Append", lambda _: {})
            graph.add_edge(START, "Append")
            graph.add_edge("Append", END)
            yield graph.compile(checkpointer=store)

    return opened()


class _Died(BaseException):
    """As a kill: nothing catches it, and nothing is put in order after it."""


@pytest.mark.parametrize("at", range(12))
def test_what_a_record_showed_after_a_death_stays(any_store: str, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process dies before its checkpoint number ``at``: what the next one reads is there after its own line too."""
    with open_store(any_store) as store:
        Conversation(Counter(), TIM, checkpointer=store, session="s").say("line 0")
    with open_store(any_store) as store:
        put, puts = store.put, iter(range(100))

        def dies(*given: Any) -> Any:
            if next(puts) == at:
                raise _Died
            return put(*given)

        talk = Conversation(Counter(), TIM, checkpointer=store, session="s")
        monkeypatch.setattr(store, "put", dies)
        monkeypatch.setattr(talk.thread, "settle", lambda text="": None)
        try:
            for n in range(1, 4):
                talk.say(f"line {n}")
        except _Died:
            pass
    shown = [text for _, text, _ in record(any_store)]
    with open_store(any_store) as store:
        Conversation(Counter(), TIM, checkpointer=store, session="s").say("line 9")
    assert [text for _, text, _ in record(any_store)] == [*shown, "line 9", "This is the reply to line 9."]
