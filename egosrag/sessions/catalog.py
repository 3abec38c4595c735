"""List, export, import and delete the sessions of a store, without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Overwrite

from egosrag.egos.cache_use import CacheUse
from egosrag.egos.state import State
from egosrag.errors import SessionError, StoreUnavailable
from egosrag.prompts.render import USER
from egosrag.schema import Persona, Pin, Role
from egosrag.sessions.archive import Archive
from egosrag.sessions.durable_store import DurableStore, check_session_name
from egosrag.sessions.memories import Memory, memories_stored
from egosrag.sessions.records import Record, session_name, settled
from egosrag.sessions.store import exclusive, flush, saved_partial
from egosrag.sessions.summaries import Summary


class SessionInfo(NamedTuple):
    """A row of the list of sessions.

    Attributes:
        session: its name.
        name: the role's name, or the names of all roles.
        turns: number of turns.
        at: time of the last turn, ISO 8601.
        pinned: whether it is in front of the others.
    """

    session: str
    name: str
    turns: int
    at: str
    pinned: bool = False


def list_sessions(store: BaseCheckpointSaver[Any], prefix: str = "") -> list[SessionInfo]:
    """The sessions of a store, pinned ones first, then the most recent.

    Args:
        store: see ``egosrag.sessions.store.open_store``.
        prefix: lists only the sessions whose names begin with it; no others are read.
    """
    rows: Sequence[tuple[str, Summary | None]]
    if isinstance(store, DurableStore):
        rows = store.summaries(prefix)
    else:
        rows = [(name, None) for name in session_names(store) if name.startswith(prefix)]
    read: dict[str, tuple[str, Summary]] = {}
    if unread := [session for session, summary in rows if summary is None]:
        thread = session_graph(store)
        for session in unread:
            state = thread.get_state(session_config(session))
            read[session] = str(state.config["configurable"].get("checkpoint_id")), Summary.of(state.values)
        if isinstance(store, DurableStore):
            with suppress(StoreUnavailable):  # they are read again the next time
                store.store_summaries(read)
    infos = [SessionInfo(session, *(summary or read[session][1])) for session, summary in rows]
    return sorted(infos, key=lambda info: (info.pinned, info.at, info.session), reverse=True)


def delete_session(store: BaseCheckpointSaver[Any], session: str) -> None:
    """Deletes a session with its whole history; this cannot be undone.

    Raises:
        SessionError: there is no such session.
    """
    if store.get_tuple(session_config(session)) is None:
        raise SessionError(f"there is no session {session!r}: see egosrag sessions list")
    with exclusive(store, session):
        store.delete_thread(session)


def session_names(store: BaseCheckpointSaver[Any]) -> list[str]:
    """Names of all sessions; of a durable store by a query, since ``list`` would read every checkpoint."""
    if isinstance(store, DurableStore):
        return list(store.session_names())
    return list(dict.fromkeys(checkpoint.config["configurable"]["thread_id"] for checkpoint in store.list(None)))


def archive_of(store: BaseCheckpointSaver[Any], session: str, roles: Sequence[Role] = ()) -> Archive:
    """Exports a whole session.

    Args:
        store: the store of the sessions.
        session: the session's name.
        roles: the cards to include; by default the one that the session stores, else cards with only the names.

    Raises:
        SessionError: there is no such session, or it is empty.
    """
    config = session_config(session)
    stored = session_graph(store).get_state(config).values
    if not stored.get("turns"):
        raise SessionError(f"there is no conversation in session {session!r}: see egosrag sessions list")
    record = Record.of(settled(stored, saved_partial(store, config)))
    if not roles:
        card = stored.get("role")
        roles = [Role.model_validate(card)] if card else [Role(name=name) for name in _role_names(stored, record)]
    names = [role.name for role in roles]
    user = next((turn.speaker for turn in record.turns if turn.speaker not in names), "")
    return Archive(
        session=session,
        user=user,
        roles=tuple(roles),
        turns=record.turns,
        scenes=record.scenes,
        swipes=record.swipes,
        note=str(stored.get("note") or ""),
        persona=Persona.model_validate(stored["persona"]) if stored.get("persona") else None,
        until=str(stored.get("until") or ""),
        seed=str(stored.get("seed") or ""),
        pins=tuple(Pin.model_validate(row) for row in stored.get("pins") or ()),
    )


def cache_uses_of(store: BaseCheckpointSaver[Any], session: str) -> tuple[CacheUse, ...]:
    """The use of the prompt cache by each reply of a session that is still in its record, oldest first.

    Raises:
        SessionError: there is no such session, or it is empty.
    """
    stored = session_graph(store).get_state(session_config(session)).values
    if not stored.get("turns"):
        raise SessionError(f"there is no conversation in session {session!r}: see egosrag sessions list")
    record = Record.of(stored)
    known = {turn.id for turn in record.turns}
    return tuple(CacheUse.model_validate(row) for row in stored.get("uses") or () if row["turn"] in known)


def memories_of(store: BaseCheckpointSaver[Any], session: str) -> list[Memory]:
    """What a session remembers.

    Raises:
        SessionError: there is no such session.
    """
    stored = session_graph(store).get_state(session_config(session)).values
    if not stored.get("name"):
        raise SessionError(f"there is no session {session!r}: see egosrag sessions list")
    return memories_stored(stored)


def _role_names(stored: Mapping[str, Any], record: Record) -> list[str]:
    """The names of a session's roles."""
    if stored.get("names"):
        return list(stored["names"])
    name = str(stored["name"])  # of a session that was stored before there were lists of names
    return [name] if any(turn.speaker == name for turn in record.turns) else name.split(", ")


def restore(store: BaseCheckpointSaver[Any], archive: Archive, session: str) -> None:
    """Imports a conversation as a new session, with its card.

    Args:
        store: the store of the sessions.
        archive: the conversation.
        session: the new session's name.

    Raises:
        SessionError: the name is empty, or there is already a session of that name.
    """
    if not session.strip():
        raise SessionError("the session's name is empty: give the conversation a name")
    check_session_name(session)
    names = [role.name for role in archive.roles]
    plain = archive.record.plain()
    values: Any = {
        "name": session_name(names),
        "names": names,
        "turns": Overwrite(plain["turns"]),
        "scenes": Overwrite(plain["scenes"]),
        "swipes": plain["swipes"],
        "pending": bool(archive.turns) and archive.turns[-1].speaker not in names,
    }
    persona = archive.persona or (Persona(name=archive.user) if 0 < len(archive.user) <= 80 else None)
    if persona and persona.name not in USER.values():
        values["persona"] = persona.model_dump()
    if archive.note:
        values["note"] = archive.note
    if archive.pins:
        values["pins"] = [pin.model_dump() for pin in archive.pins]
    if archive.until:
        values["until"] = archive.until
    if archive.seed:
        values["seed"] = archive.seed
    if len(names) == 1:
        values["role"] = archive.roles[0].model_dump(mode="json")
    with exclusive(store, session):
        if store.get_tuple(session_config(session)):
            raise SessionError(f"there is already a session {session!r}: give another name, or delete that one first")
        session_graph(store).update_state(session_config(session), values, as_node="Summarize")
        flush(store, session, {**values, **plain})


def session_graph(store: BaseCheckpointSaver[Any]) -> CompiledStateGraph[State]:
    """A graph that does nothing, over the same state, through which sessions are read and written."""
    graph = StateGraph(State)
    graph.add_node("Summarize", _unchanged)
    graph.add_edge(START, "Summarize")
    graph.add_edge("Summarize", END)
    return graph.compile(checkpointer=store)


def _unchanged(state: State) -> State:
    return {}


def session_config(session: str) -> RunnableConfig:
    """The config of a session's thread."""
    return {"configurable": {"thread_id": session}}
