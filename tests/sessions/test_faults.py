"""Sessions under faults: killed processes, several writers, unavailable databases, full disks, old and new stores."""

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
from egosrag.sessions import durable_store
from egosrag.sessions import thread as session_thread
from egosrag.sessions.catalog import list_sessions
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.store import open_store
from tests.postgres import Server
from tests.roles.cards import TIM
from tests.sessions.child_process import EchoModel, answer_lines, run_and_kill

FULL = os.environ.get("EGOSRAG_TEST_PROFILE") == "full"
KILLS = 200 if FULL else 20
HOUR_NS = 3600 * 10**9


def stored_turns(url: str, session: str = "s") -> list[tuple[str, str, str]]:
    with open_store(url) as store:
        talk = Conversation(EchoModel(), TIM, checkpointer=store, session=session)
        return [(turn.speaker, turn.text, turn.status) for turn in talk.turns()]


def expected_turns(lines: int) -> list[tuple[str, str, str]]:
    """The turns of a session with so many lines, each answered once."""
    return [
        turn
        for n in range(lines)
        for turn in (("Me", f"line {n}", "complete"), ("Tim", f"This is the reply to line {n}.", "complete"))
    ]


@pytest.mark.timeout(1800 if FULL else 300)
@pytest.mark.parametrize("clock", ["steady", "stepping"])
def test_killing_the_process_loses_and_duplicates_no_reply(
    any_store: str, clock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a steady clock, and with one that steps back and forth by up to an hour between the processes."""
    monkeypatch.setattr(durable_store, "TRIM_AT", 40)  # so that some kills happen while old checkpoints are dropped
    monkeypatch.setattr(durable_store, "KEPT_CHECKPOINTS", 20)
    monkeypatch.setattr(session_thread, "SAVE_EVERY_S", 0.0)
    rng, answered = random.Random(7), list[int]()
    for _ in range(KILLS):
        lines = rng.randint(0, 2)
        ahead = rng.randint(-HOUR_NS, HOUR_NS) if clock == "stepping" else 0
        answered += run_and_kill(
            answer_lines(any_store, ahead), lambda numbers, lines=lines: len(numbers) >= lines, rng
        )
    assert answered == sorted(set(answered)), "a line was answered twice"
    stored = stored_turns(any_store)
    user_lines = [text for speaker, text, _ in stored if speaker == "Me"]
    assert user_lines == [f"line {n}" for n in range(len(user_lines))]
    assert [speaker for speaker, _, _ in stored[: 2 * len(user_lines) - 1]] == (["Me", "Tim"] * len(user_lines))[:-1]
    replies = {text.rsplit(" ", 1)[1] for speaker, text, status in stored if speaker == "Tim" and status == "complete"}
    assert {f"{n}." for n in answered} <= replies
    with open_store(any_store) as store:
        talk = Conversation(EchoModel(), TIM, checkpointer=store, session="s")
        assert talk.say("line 9999").text == "This is the reply to line 9999."


def test_concurrent_sessions_keep_the_order_of_their_turns(any_store: str) -> None:
    count, lines = 32, 20 if FULL else 2
    failed: list[BaseException] = []

    def speak(n: int) -> None:
        try:
            with open_store(any_store) as store:
                talk = Conversation(EchoModel(), TIM, checkpointer=store, session=f"s{n}")
                for line in range(lines):
                    talk.say(f"line {n} {line}")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=speak, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in failed:
        raise error
    for n in range(count):
        said = [text for _, text, _ in stored_turns(any_store, f"s{n}")]
        assert said == [t for m in range(lines) for t in (f"line {n} {m}", f"This is the reply to line {n} {m}.")]
    with open_store(any_store) as store:
        assert {info.session for info in list_sessions(store)} == {f"s{n}" for n in range(count)}


def test_a_new_file_that_another_process_is_writing_is_opened(tmp_path: Path) -> None:
    """SQLite refuses to switch to a write-ahead log while another one writes, without waiting for its timeout."""
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
            assert Conversation(EchoModel(), TIM, checkpointer=store, session="s").say("line 0").text
    finally:
        gone.join()


def test_two_processes_take_turns_in_one_session(any_store: str) -> None:
    """Each waits for the other's reply; in the end every line is followed by its own reply."""
    reading, writing = os.pipe()
    children = []
    for name in "ab":
        child = os.fork()
        if not child:
            code = 1
            try:
                with open_store(any_store) as store:
                    talk = Conversation(EchoModel(), TIM, checkpointer=store, session="s")
                    for n in range(6):
                        _say_when_free(talk, f"line {name}{n}")
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    os.close(reading)
    os.close(writing)
    stored = stored_turns(any_store)
    assert len(stored) == 24
    for line, reply in zip(stored[::2], stored[1::2], strict=True):
        assert reply[1] == f"This is the reply to {line[1]}."
    for name in "ab":
        assert [text for _, text, _ in stored[::2] if f" {name}" in text] == [f"line {name}{n}" for n in range(6)]


def _say_when_free(talk: Conversation, line: str) -> None:
    for _ in range(100):
        try:
            talk.say(line)
            return
        except SessionBusy:
            time.sleep(0.01)


def test_a_session_that_is_being_answered_is_reported_as_busy(any_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("egosrag.sessions.sqlite.SESSION_TIMEOUT_S", 0.1)
    monkeypatch.setattr("egosrag.sessions.postgres.SESSION_TIMEOUT_S", 0.1)
    with open_store(any_store) as store, open_store(any_store) as other:
        pieces = Conversation(EchoModel(), TIM, checkpointer=store, session="s").stream("line 0")
        next(pieces)
        for shared in (store, other):
            second = Conversation(EchoModel(), TIM, checkpointer=shared, session="s")
            with pytest.raises(SessionBusy, match="session 's' is still answering in another process"):
                second.say("line 1")
        assert Conversation(EchoModel(), TIM, checkpointer=other, session="t").say("line 0").text
        pieces.close()  # type: ignore[attr-defined]
        assert second.say("line 1").text == "This is the reply to line 1."


def test_a_full_disk_is_reported_and_loses_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "talk.sqlite")

    def fill(out: int) -> None:
        with open_store(path) as store:
            talk = Conversation(EchoModel(), TIM, checkpointer=store, session="s")
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

    answered = run_and_kill(fill, lambda numbers: numbers[-1:] == [-1], random.Random(1))
    assert len(answered) > 3, "the disk was full at once"
    stored = stored_turns(path)
    assert stored[: 2 * (len(answered) - 1)] == expected_turns(len(answered) - 1)
    run_and_kill(answer_lines(path), lambda numbers: len(numbers) > 0, random.Random(1))
    assert len(stored_turns(path)) > len(stored)


def test_a_reply_waits_for_a_database_that_comes_back(postgres_server: Server, postgres: str) -> None:
    with open_store(postgres) as store:
        talk = Conversation(EchoModel(), TIM, checkpointer=store, session="s")
        talk.say("line 0")
        pieces = talk.stream("line 1")
        next(pieces)  # the server stops in the middle of a reply
        postgres_server.stop()
        back = threading.Timer(10.0 if FULL else 1.0, postgres_server.start)
        back.start()
        try:
            rest = list(pieces)
        finally:
            back.join()
        assert rest[-1].text == "This is the reply to line 1."  # type: ignore[union-attr]
        talk.say("line 2")
    assert stored_turns(postgres) == expected_turns(3)


def test_a_database_that_stays_unavailable_is_a_one_line_error(
    postgres_server: Server, postgres: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("egosrag.postgres.DATABASE_TIMEOUT_S", 0.3)
    with open_store(postgres) as store:
        talk = Conversation(EchoModel(), TIM, checkpointer=store, session="s")
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
    assert stored_turns(postgres) == expected_turns(2)


class PausedModel(EchoModel):
    """Streams its first chunk, and the others after ``_resume`` is set."""

    _resume: threading.Event = PrivateAttr(default_factory=threading.Event)

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for n, chunk in enumerate(super()._stream(*args, **kwargs)):
            if n:
                assert self._resume.wait(60)
            yield chunk


def test_a_session_that_was_continued_elsewhere_is_not_overwritten(postgres: str) -> None:
    with open_store(postgres) as store, open_store(postgres) as other:
        model = PausedModel()
        talk = Conversation(model, TIM, checkpointer=store, session="s")
        model._resume.set()
        talk.say("line 0")
        model._resume.clear()
        pieces = talk.stream("line 1")
        next(pieces)
        store.conn.close()  # type: ignore[attr-defined]  # the connection breaks, and the server releases the lock of the session
        Conversation(EchoModel(), TIM, checkpointer=other, session="s").say("line 2")
        model._resume.set()
        with pytest.raises(SessionBusy, match="was continued elsewhere"):
            list(pieces)
    assert stored_turns(postgres)[-2:] == [
        ("Me", "line 2", "complete"),
        ("Tim", "This is the reply to line 2.", "complete"),
    ]


def test_a_read_only_database_is_reported(postgres: str) -> None:
    with open_store(postgres) as store:
        talk = Conversation(EchoModel(), TIM, checkpointer=store, session="s")
        talk.say("line 0")
        store.conn.execute("SET default_transaction_read_only = on")  # type: ignore[attr-defined]
        with pytest.raises(StoreUnavailable, match="refuses .*read-only"):
            talk.say("line 1")
        store.conn.execute("SET default_transaction_read_only = off")  # type: ignore[attr-defined]
        talk.say("line 1")
    assert stored_turns(postgres) == expected_turns(2)


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
    output = str(error.value) + repr(error.value.__cause__) + caplog.text
    assert "p@ss" not in output and "p%40ss" not in output and "p%zz" not in output and "\n" not in str(error.value)
    assert error.value.__suppress_context__


def test_a_missing_database_is_reported_without_waiting(postgres_server: Server) -> None:
    started = time.monotonic()
    with pytest.raises(SessionError, match='database "none" does not exist'), open_store(postgres_server.url("none")):
        pass
    assert time.monotonic() - started < 20  # it waits 30 for an unavailable server


# --- the content of a store ----------------------------------------------------------------------------------------


def count_checkpoints(url: str) -> int:
    with open_store(url) as store:
        return len(store._parents("s"))  # type: ignore[attr-defined]


def test_a_store_grows_with_the_conversation_and_not_with_its_square(
    any_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable_store, "TRIM_AT", 50)
    monkeypatch.setattr(durable_store, "KEPT_CHECKPOINTS", 25)
    with open_store(any_store) as store:
        model = ScriptedChatModel(responses=[f'Reply {n}."' for n in range(20)])
        talk = Conversation(model, TIM, checkpointer=store, session="s", window=600, memory="none")
        for n in range(15):
            talk.say(f"line {n}")
        turns = talk.turns()
        assert [turn.text for turn in turns[::2]] == [f"line {n}" for n in range(15)]
    assert count_checkpoints(any_store) <= durable_store.TRIM_AT
    with open_store(any_store) as store:
        talk = Conversation(model, TIM, checkpointer=store, session="s", window=600, memory="none")
        assert talk.turns() == turns
        talk.regenerate()
        assert talk.swipes() == ["Reply 14.", "Reply 15."]
        talk.choose(0)
        assert talk.turns() == turns
        talk.regenerate(turns[5].id)
        talk.choose(0, talk.turns()[5].id)
        assert talk.turns() == turns, "the turns that followed the old reply are there again"


def test_a_store_of_a_newer_program_is_not_changed(any_store: str) -> None:
    with open_store(any_store) as store:
        Conversation(EchoModel(), TIM, checkpointer=store, session="s").say("line 0")
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


def test_a_store_without_a_format_version_is_read(tmp_path: Path) -> None:
    """The first stores had whole lists of turns in each checkpoint, and no format version."""
    from langgraph.checkpoint.sqlite import SqliteSaver

    path = tmp_path / "talk.sqlite"
    with _old_graph(path) as graph:
        config: Any = {"configurable": {"thread_id": "s"}}
        for n in range(2):
            said = [("Me", f"line {n}"), ("Tim", f"This is the reply to line {n}.")]
            turns = [{"speaker": speaker, "text": text, "id": f"{speaker}{n}"} for speaker, text in said]
            graph.invoke({"name": "Tim", "turns": turns}, config)
    assert isinstance(SqliteSaver(sqlite3.connect(path)).get_tuple(config).checkpoint["channel_values"]["turns"], list)  # type: ignore[union-attr]
    shutil.copy(path, tmp_path / "copy.sqlite")
    assert stored_turns(str(tmp_path / "copy.sqlite")) == expected_turns(2)
    run_and_kill(answer_lines(str(path)), lambda numbers: len(numbers) > 0, random.Random(1))
    stored = stored_turns(str(path))
    assert len(stored) > 4 and [text for _, text, _ in stored[:5]] == [text for _, text, _ in expected_turns(3)[:5]]


def _old_graph(path: Path) -> Any:
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


class _Crash(BaseException):
    """Simulates a kill: nothing catches it, and ``settle`` does not run after it."""


@pytest.mark.parametrize("at", range(12))
def test_turns_read_after_a_crash_stay_in_the_record(any_store: str, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process dies before it writes checkpoint ``at``; turns that the next one reads stay after its own line."""
    with open_store(any_store) as store:
        Conversation(EchoModel(), TIM, checkpointer=store, session="s").say("line 0")
    with open_store(any_store) as store:
        put, puts = store.put, iter(range(100))

        def crash(*args: Any) -> Any:
            if next(puts) == at:
                raise _Crash
            return put(*args)

        talk = Conversation(EchoModel(), TIM, checkpointer=store, session="s")
        monkeypatch.setattr(store, "put", crash)
        monkeypatch.setattr(talk.thread, "settle", lambda text="": None)
        try:
            for n in range(1, 4):
                talk.say(f"line {n}")
        except _Crash:
            pass
    texts = [text for _, text, _ in stored_turns(any_store)]
    with open_store(any_store) as store:
        Conversation(EchoModel(), TIM, checkpointer=store, session="s").say("line 9")
    assert [text for _, text, _ in stored_turns(any_store)] == [*texts, "line 9", "This is the reply to line 9."]


def test_a_database_that_another_process_is_setting_up_is_opened(postgres: str) -> None:
    """Its table is there before the row with its version: of 32 that opened at once, one met that moment."""
    import psycopg

    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE TABLE egosrag_sessions (version integer NOT NULL)")
    with open_store(postgres) as store:
        assert Conversation(EchoModel(), TIM, checkpointer=store, session="s").say("line 0").text
    with psycopg.connect(postgres) as connection:
        assert len(connection.execute("SELECT version FROM egosrag_sessions").fetchall()) == 1


def test_a_reply_that_was_closed_is_stored_for_others_at_once(any_store: str) -> None:
    """What waits to be written with the reply is written when there is none."""
    with open_store(any_store) as store, open_store(any_store) as other:
        talk = Conversation(EchoModel(), TIM, checkpointer=store, session="s")
        pieces = talk.stream("line 0")
        said = next(pieces)
        assert [turn.text for turn in Conversation(EchoModel(), TIM, checkpointer=other, session="s").turns()][:1] == [
            "line 0"
        ]
        pieces.close()  # type: ignore[attr-defined]
        turns = Conversation(EchoModel(), TIM, checkpointer=other, session="s").turns()
        assert [turn.status for turn in turns] == ["complete", "interrupted"] and turns[1].text.startswith(str(said))


@pytest.mark.parametrize("at", range(4))
def test_of_what_is_written_together_all_is_written_or_nothing(any_store: str, at: int) -> None:
    def statements_of(store: Any) -> list[Any]:
        return [store._size("s"), store.head("s"), [info.turns for info in list_sessions(store)]]

    with open_store(any_store) as store:
        Conversation(EchoModel(), TIM, checkpointer=store, session="s").say("line 0")
        before = statements_of(store)
        execute, calls = store._execute, []  # type: ignore[attr-defined]

        def failing(session: str, statements: Any, **options: Any) -> None:
            calls.append(len(statements))
            bad = [*statements[:at], ("INSERT INTO nowhere VALUES (1)", [()]), *statements[at:]]
            execute(session, bad, **options)

        store._execute = failing  # type: ignore[attr-defined]
        with pytest.raises(StoreUnavailable):
            Conversation(EchoModel(), TIM, checkpointer=store, session="s").say("line 1")
        store._execute = execute  # type: ignore[attr-defined]
        assert calls[0] >= 3, "the line's steps are written together"
        assert statements_of(store) == before
        Conversation(EchoModel(), TIM, checkpointer=store, session="s").say("line 1")
        assert statements_of(store)[2] == [4]
