"""The list of sessions: one query and no session read, and right whatever wrote to the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.sqlite import SqliteSaver

from egosrag.postgres import is_postgres_url
from egosrag.sessions.catalog import SessionInfo, delete_session, list_sessions, session_config, session_graph
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.durable_store import DurableStore
from egosrag.sessions.manage import pin_session, rename_session
from egosrag.sessions.store import open_store, serializer
from tests.roles.cards import TIM
from tests.sessions.child_process import EchoModel


def say(url: str, session: str, line: str = "line 0") -> None:
    with open_store(url) as store:
        Conversation(EchoModel(), TIM, checkpointer=store, session=session).say(line)


@contextmanager
def former_program(url: str) -> Iterator[BaseCheckpointSaver[Any]]:
    """The store as a program opens it that knows LangGraph's tables alone."""
    if is_postgres_url(url):
        from langgraph.checkpoint.postgres import PostgresSaver

        with PostgresSaver.from_conn_string(url) as saver:
            saver.serde = serializer()
            yield saver
    else:
        connection = sqlite3.connect(url, check_same_thread=False)
        yield SqliteSaver(connection, serde=serializer())
        connection.close()


def by_reading(store: BaseCheckpointSaver[Any], prefix: str = "") -> list[SessionInfo]:
    """The list without the table."""
    summaries = store.summaries  # type: ignore[attr-defined]
    try:
        names = [(name, None) for name, _ in summaries(prefix)]
        store.summaries = lambda prefix: names  # type: ignore[attr-defined]
        return list_sessions(store, prefix)
    finally:
        store.summaries = summaries  # type: ignore[attr-defined]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sessions that are read."""
    seen: list[str] = []
    original = DurableStore.get_tuple

    def counted(self: Any, config: Any) -> Any:
        seen.append(config["configurable"]["thread_id"])
        return original(self, config)

    monkeypatch.setattr(DurableStore, "get_tuple", counted)
    return seen


def test_a_list_reads_no_session(any_store: str, reads: list[str]) -> None:
    for n in range(5):
        say(any_store, f"s{n}")
    say(any_store, "s3", "line 1")
    reads.clear()
    with open_store(any_store) as store:
        infos = list_sessions(store)
        assert reads == []
        assert {info.session: info.turns for info in infos} == {"s0": 2, "s1": 2, "s2": 2, "s3": 4, "s4": 2}
        assert infos == by_reading(store)


def test_a_session_that_a_former_program_continued_is_read_once(any_store: str, reads: list[str]) -> None:
    for n in range(3):
        say(any_store, f"s{n}")
    with former_program(any_store) as saver:
        update: Any = {"turns": [{"speaker": "Me", "text": "old", "id": "x", "at": "2031-01-01"}], "pinned": True}
        session_graph(saver).update_state(session_config("s1"), update, as_node="Summarize")
    reads.clear()
    with open_store(any_store) as store:
        first = list_sessions(store)[0]
        assert (first.session, first.turns, first.at, first.pinned) == ("s1", 3, "2031-01-01", True)
        assert set(reads) == {"s1"}
        reads.clear()
        assert list_sessions(store)[0] == first and reads == []


def test_what_a_killed_process_had_half_written_is_listed_as_it_is_read(any_store: str) -> None:
    say(any_store, "s")
    with open_store(any_store) as store:
        head = {"configurable": {"thread_id": "s", "checkpoint_ns": "", "checkpoint_id": store.head("s")}}  # type: ignore[attr-defined]
        store.put_writes(head, [("turns", [{"speaker": "Me", "text": "half", "id": "y"}])], "task")  # type: ignore[arg-type]
        assert list_sessions(store) == by_reading(store)


def test_an_unfinished_reply_is_listed_with_its_line(any_store: str) -> None:
    say(any_store, "s")
    with open_store(any_store) as store, open_store(any_store) as other:
        pieces = Conversation(EchoModel(), TIM, checkpointer=store, session="s").stream("line 1")
        next(pieces)
        assert list_sessions(other)[0].turns == 3
        list(pieces)
        assert list_sessions(other)[0].turns == 4


def test_the_list_follows_pins_names_and_deletions(any_store: str) -> None:
    for name in ("a", "b", "c"):
        say(any_store, name)
    with open_store(any_store) as store:
        list_sessions(store)
        pin_session(store, "a")
        rename_session(store, "b", "B")
        delete_session(store, "c")
        assert [(info.session, info.pinned) for info in list_sessions(store)] == [("a", True), ("B", False)]
        assert list_sessions(store) == by_reading(store)
        pin_session(store, "a", pinned=False)
        assert not any(info.pinned for info in list_sessions(store))
    if not is_postgres_url(any_store):
        with sqlite3.connect(any_store) as connection:
            assert {row[0] for row in connection.execute("SELECT thread_id FROM egosrag_list")} == {"a", "B"}


def test_only_the_sessions_of_a_prefix_are_listed(any_store: str) -> None:
    names = ["v/%", "v/_x", "v/小明", "v/é", "V/x", "v", "w/x", "v0", "v/"]
    for name in names:
        say(any_store, name)
    with open_store(any_store) as store:
        for prefix in ("v/", "v/%", "v/小", "%", "w", "", "z"):
            listed = {info.session for info in list_sessions(store, prefix)}
            assert listed == {name for name in names if name.startswith(prefix)}, prefix


def test_a_list_is_given_where_the_table_cannot_be_written(any_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from egosrag.errors import StoreUnavailable

    say(any_store, "s")
    with open_store(any_store) as store:
        pin_session(store, "s")

        def refuse(summaries: Any) -> None:
            raise StoreUnavailable("the disk is full")

        monkeypatch.setattr(store, "store_summaries", refuse)
        assert list_sessions(store)[0].pinned
