"""The store as a shelf of sessions: which there are, one taken out or put in whole, one thrown away; with no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Overwrite

from egosrag.errors import SessionError
from egosrag.schema import Role
from egosrag.sessions.archive import Archive
from egosrag.sessions.maintenance import Keeper
from egosrag.sessions.state import State, record_of, session_name, settled
from egosrag.sessions.store import alone, said_of


class SessionInfo(NamedTuple):
    """One line of the list of sessions: its name, whom it is with, how many turns, and when the last was said."""

    session: str
    name: str
    turns: int
    at: str


def list_sessions(store: BaseCheckpointSaver[Any], prefix: str = "") -> list[SessionInfo]:
    """The sessions of a store, the one that was spoken in last first.

    Args:
        store: as ``open_store`` gives it.
        prefix: how the names of those that are wanted begin; no other is read.
    """
    thread = _thread(store)
    found: list[SessionInfo] = []
    for session in (name for name in _names(store) if name.startswith(prefix)):
        values = thread.get_state(_config(session)).values
        turns = values.get("turns") or []
        found.append(SessionInfo(session, values.get("name", ""), len(turns), turns[-1].get("at", "") if turns else ""))
    return sorted(found, key=lambda info: (info.at, info.session), reverse=True)


def delete_session(store: BaseCheckpointSaver[Any], session: str) -> None:
    """Deletes a session with its whole history; this cannot be taken back.

    Raises:
        SessionError: there is no such session.
    """
    if store.get_tuple(_config(session)) is None:
        raise SessionError(f"there is no session {session!r}: see egosrag sessions list")
    with alone(store, session):
        store.delete_thread(session)


def _names(store: BaseCheckpointSaver[Any]) -> list[str]:
    """The names alone, from the table where there is one: ``list`` would read every checkpoint of every session."""
    if isinstance(store, Keeper):
        return list(store.names())
    return list(dict.fromkeys(found.config["configurable"]["thread_id"] for found in store.list(None)))


def archive_of(store: BaseCheckpointSaver[Any], session: str, roles: Sequence[Role] = ()) -> Archive:
    """A session of the store as a conversation that stands by itself.

    Args:
        store: where sessions are kept.
        session: its name.
        roles: the cards to put in; those that the session keeps, or no more than the names, when there are none.

    Raises:
        SessionError: there is no such session, or nothing was said in it.
    """
    config = _config(session)
    stored = _thread(store).get_state(config).values
    if not stored.get("turns"):
        raise SessionError(f"there is no conversation in session {session!r}: see egosrag sessions list")
    record = record_of(settled(stored, said_of(store, config)))
    if not roles:
        kept = stored.get("role")
        names = str(stored["name"]).split(", ")
        roles = [Role.model_validate(kept)] if kept else [Role(name=name) for name in names]
    names = [role.name for role in roles]
    user = next((turn.speaker for turn in record.turns if turn.speaker not in names), "")
    return Archive(
        session=session, user=user, roles=tuple(roles), turns=record.turns, scenes=record.scenes, swipes=record.swipes
    )


def restore(store: BaseCheckpointSaver[Any], archive: Archive, session: str) -> None:
    """Puts a conversation into the store as a new session, with its card.

    Args:
        store: where sessions are kept.
        archive: the conversation.
        session: the new session's name.

    Raises:
        SessionError: the name is empty, or there is a session of that name.
    """
    if not session.strip():
        raise SessionError("the session's name is empty: give the conversation one")
    names = [role.name for role in archive.roles]
    plain = archive.record.plain()
    values: Any = {
        "name": session_name(names),
        "turns": Overwrite(plain["turns"]),
        "scenes": Overwrite(plain["scenes"]),
        "swipes": plain["swipes"],
        "pending": bool(archive.turns) and archive.turns[-1].speaker not in names,
    }
    if len(names) == 1:
        values["role"] = archive.roles[0].model_dump(mode="json")
    with alone(store, session):
        if store.get_tuple(_config(session)):
            raise SessionError(f"there is a session {session!r} already: give another name, or delete that one first")
        _thread(store).update_state(_config(session), values, as_node="Summarize")


def _thread(store: BaseCheckpointSaver[Any]) -> CompiledStateGraph[State]:
    """A graph that does nothing, over the same state: it reads a session and writes one."""
    graph = StateGraph(State)
    graph.add_node("Summarize", _as_it_is)
    graph.add_edge(START, "Summarize")
    graph.add_edge("Summarize", END)
    return graph.compile(checkpointer=store)


def _as_it_is(state: State) -> State:
    return {}


def _config(session: str) -> RunnableConfig:
    return {"configurable": {"thread_id": session}}
