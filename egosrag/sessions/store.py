"""Opening the store of the sessions: a LangGraph checkpointer, SQLite by default, PostgreSQL by its URL.

Sessions are stored as plain JSON-like data, and the serializer reads nothing else: no pickle, no classes by name.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from egosrag.errors import SessionError, StoreUnavailable
from egosrag.postgres import is_postgres_url, require_psycopg
from egosrag.sessions.durable_store import DurableStore, damaged
from egosrag.sessions.known_values import KnownValues
from egosrag.sessions.summaries import Summary

if TYPE_CHECKING:
    from egosrag.sessions.postgres import PostgresStore
    from egosrag.sessions.sqlite import SqliteStore

_PARTIAL = "said"  # the channel of partial replies, as stores of version 1 name it
_log = logging.getLogger(__name__)


@contextmanager
def open_store(where: str | Path) -> Iterator[BaseCheckpointSaver[str]]:
    """Opens a store: the path of an SQLite file (created when it is missing) or ``postgresql://...``.

    Raises:
        SessionError: it cannot be opened, or was written by a newer version of this program.
        SettingsError: the packages for Postgres are not installed.
    """
    store: SqliteStore | PostgresStore
    if address := re.match(r"(?:sqlite|file):", str(where)):
        what = f"{where} is an address, which would be a folder {address.group()} here"
        raise SessionError(f"{what}: give the path of the file alone, or postgresql://...")
    if is_postgres_url(where):
        require_psycopg()
        from egosrag.sessions.postgres import PostgresStore

        store = PostgresStore(str(where), serializer())
    else:
        from egosrag.sessions.sqlite import SqliteStore

        store = SqliteStore(Path(where).expanduser(), serializer())
    try:
        yield store
    finally:
        store.close()


@contextmanager
def exclusive(store: BaseCheckpointSaver[Any], session: str) -> Iterator[None]:
    """Context manager in which no other process answers in the session; at its end, old checkpoints are trimmed.

    Raises:
        SessionBusy: another process is answering there.
        StoreUnavailable: the store does not answer.
    """
    if not isinstance(store, DurableStore):
        yield
        return
    with store.exclusive(session):
        yield
        try:
            store.trim(session)
        except StoreUnavailable as error:  # the reply is stored: old checkpoints can be dropped another time
            _log.warning("%s", error)


class MemoryStore(KnownValues, InMemorySaver):
    """LangGraph's checkpointer in memory: the sessions end with the process."""

    def __init__(self) -> None:
        self._known = {}
        InMemorySaver.__init__(self, serde=serializer())

    def head(self, session: str) -> str | None:
        """The id of the session's newest checkpoint; None if there is no such session."""
        return max(self.storage[session][""], default=None) if session in self.storage else None


def remember(store: BaseCheckpointSaver[Any], session: str, checkpoint: str, values: Mapping[str, Any]) -> None:
    """Spares a store of ours reading the changes before a session's newest checkpoint, whose values are known."""
    if isinstance(store, KnownValues):
        store.remember(session, checkpoint, values)


def deferring(store: BaseCheckpointSaver[Any], session: str) -> AbstractContextManager[None]:
    """Context manager in which writes to a session held exclusively wait for ``write_deferred`` or ``flush``."""
    return store.deferring(session) if isinstance(store, DurableStore) else nullcontext()


def write_deferred(store: BaseCheckpointSaver[Any], session: str) -> None:
    """Writes what waits, in one transaction.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    if isinstance(store, DurableStore):
        store.write_deferred(session)


def flush(store: BaseCheckpointSaver[Any], session: str, values: Mapping[str, Any]) -> None:
    """Writes what waits, and waits until it would survive a power cut.

    Args:
        store: where the session is.
        session: its name.
        values: its values as they are then, of which lists show a part.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    if isinstance(store, DurableStore):
        store.flush(session, Summary.of(values))


def head_of(store: BaseCheckpointSaver[Any], session: str) -> str | None:
    """The id of the session's newest checkpoint, without reading it; None if there is no such session."""
    if isinstance(store, DurableStore | MemoryStore):
        return store.head(session)
    newest = next(iter(store.list({"configurable": {"thread_id": session, "checkpoint_ns": ""}}, limit=1)), None)
    return newest.config["configurable"]["checkpoint_id"] if newest else None


def session_count(store: BaseCheckpointSaver[Any], prefix: str) -> int:
    """The number of sessions of a durable store whose names begin with ``prefix``; 0 of any other store."""
    return store.session_count(prefix) if isinstance(store, DurableStore) else 0


class _PlainSerializer(JsonPlusSerializer):
    """Deserializes only plain data; anything else is reported as a damaged store, in one line."""

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        try:
            return super().loads_typed(data)
        except (ValueError, TypeError, LookupError, NotImplementedError, RecursionError) as error:
            raise damaged(error) from error


def serializer() -> JsonPlusSerializer:
    """A serializer that deserializes only plain data: no pickle, no classes by name."""
    return _PlainSerializer(pickle_fallback=False, allowed_msgpack_modules=None)


def save_partial(store: BaseCheckpointSaver[Any], head: RunnableConfig, text: str, number: int) -> None:
    """Saves a reply while it is generated, so that its text survives if the process is killed.

    It is a small write beside the head checkpoint; no step reads it, and the next checkpoint replaces it.

    Args:
        store: where the session is.
        head: the config of the session's head checkpoint.
        text: the whole reply so far.
        number: 1-based number of this save of the reply.
    """
    store.put_writes(head, [(_PARTIAL, text)], f"{_PARTIAL}-{number:06}")
    write_deferred(store, head["configurable"]["thread_id"])


def saved_partial(store: BaseCheckpointSaver[Any], config: RunnableConfig) -> str:
    """The text that ``save_partial`` saved of an unfinished reply; empty if there is none."""
    checkpoint = store.get_tuple(config)
    writes = (checkpoint.pending_writes or ()) if checkpoint else ()
    texts = [str(value) for _, channel, value in writes if channel == _PARTIAL]
    return max(texts, key=len, default="")
