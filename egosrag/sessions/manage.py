"""Branch, rename, pin and search the sessions of a store, without a model."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

from langgraph.checkpoint.base import BaseCheckpointSaver

from egosrag.errors import SessionError
from egosrag.schema import Turn
from egosrag.sessions.archive import Archive
from egosrag.sessions.catalog import archive_of, memories_of, restore, session_config, session_graph, session_names
from egosrag.sessions.memories import changed, pin_of
from egosrag.sessions.records import Record, settled
from egosrag.sessions.store import exclusive, saved_partial

_AROUND = 60  # characters that are shown on each side of a word that was searched


class Found(NamedTuple):
    """A turn that a search found.

    Attributes:
        session: the name of its session.
        number: its number in the session, from 1.
        turn: the turn.
        excerpt: its text around the first word.
    """

    session: str
    number: int
    turn: Turn
    excerpt: str


def branch_of(archive: Archive, turn_id: str | None = None) -> Archive:
    """A conversation up to a turn, with the siblings and scenes of what is left.

    Raises:
        SessionError: there is no such turn.
    """
    record = archive.record
    turns = record.turns if turn_id is None else record.turns[: record.index(turn_id) + 1]
    ids = {turn.id for turn in turns}
    scenes = tuple(scene for scene in record.scenes if ids.issuperset(scene.turn_ids))
    swipes = tuple(swipes for swipes in record.swipes if swipes.id in ids)
    return archive.model_copy(update={"turns": turns, "scenes": scenes, "swipes": swipes})


def free_name(store: BaseCheckpointSaver[Any], session: str) -> str:
    """A name for a branch of a session that no other session has: ``monday 2`` of ``monday``."""
    base = re.sub(r" \d+$", "", session)
    number = 2
    while store.get_tuple(session_config(f"{base} {number}")) is not None:
        number += 1
    return f"{base} {number}"


def rename_session(store: BaseCheckpointSaver[Any], session: str, name: str, *, locked: bool = False) -> None:
    """Gives a session another name.

    Args:
        store: the store of the sessions.
        session: its name.
        name: its new name.
        locked: whether the caller has exclusive use of the session.

    Raises:
        SessionError: there is no such session, it is empty, or there is already one of the new name.
    """
    with nullcontext() if locked else exclusive(store, session):
        pinned = is_pinned(store, session)
        restore(store, archive_of(store, session), name)
        if pinned:
            pin_session(store, name)
        store.delete_thread(session)


def pin_session(store: BaseCheckpointSaver[Any], session: str, pinned: bool = True) -> None:
    """Puts a session in front of the others in lists, or no longer.

    Raises:
        SessionError: there is no such session.
    """
    if store.get_tuple(session_config(session)) is None:
        raise SessionError(f"there is no session {session!r}: see egosrag sessions list")
    with exclusive(store, session):
        update: Any = {"pinned": pinned}
        session_graph(store).update_state(session_config(session), update, as_node="Summarize")


def is_pinned(store: BaseCheckpointSaver[Any], session: str) -> bool:
    """Whether a session is pinned."""
    return bool(session_graph(store).get_state(session_config(session)).values.get("pinned"))


def change_memory(
    store: BaseCheckpointSaver[Any], session: str, memory_id: str, *, text: str = "", pin: bool = False
) -> None:
    """Corrects, forgets or pins one line of what a session remembers.

    Args:
        store: the store of the sessions.
        session: the session's name.
        memory_id: of the line.
        text: its new text; empty: it is forgotten.
        pin: pins the line as it is instead.

    Raises:
        SessionError: there is no such session or line.
    """
    memory = next((memory for memory in memories_of(store, session) if memory.id == memory_id), None)
    if memory is None:
        raise SessionError(f"there is no memory {memory_id!r} in this conversation: take an id of its memories")
    with exclusive(store, session):
        values = session_graph(store).get_state(session_config(session)).values
        if pin:
            new = pin_of(memory.text, [turn.id for turn in memory.turns])
            rows = [row for row in values.get("pins") or () if row["id"] != new.id]
            update: Any = {"pins": [*rows, new.model_dump()]}
        else:
            update = changed(values, memory_id, pin_of(text).text if text else "")
        session_graph(store).update_state(session_config(session), update, as_node="Summarize")


def search_sessions(store: BaseCheckpointSaver[Any], words: str, prefix: str = "") -> Iterator[Found]:
    """The turns that contain all of the words, in any case, session by session.

    Args:
        store: the store of the sessions.
        words: separated by spaces; parts of words are found too.
        prefix: searches only the sessions whose names begin with it.

    Raises:
        SessionError: there are no words.
    """
    for session in sorted(name for name in session_names(store) if name.startswith(prefix)):
        config = session_config(session)
        values = session_graph(store).get_state(config).values
        if values.get("turns"):
            record = Record.of(settled(values, saved_partial(store, config)))
            yield from found_in(record, session, words)


def found_in(record: Record, session: str, words: str) -> Iterator[Found]:
    """The turns of one session that contain all of the words; see :func:`search_sessions`."""
    wanted = _folded(words).split()
    if not wanted:
        raise SessionError("there is nothing to search for: give a word")
    for number, turn in enumerate(record.turns, 1):
        text = " ".join(turn.text.split())
        folded = _folded(text)
        if all(word in folded for word in wanted):
            yield Found(session, number, turn, _excerpt(text, folded.find(wanted[0])))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _excerpt(text: str, at: int) -> str:
    start, end = max(0, at - _AROUND), at + _AROUND
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")
