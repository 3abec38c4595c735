"""Opening the store of the sessions: a LangGraph checkpointer, SQLite by default, PostgreSQL by its URL.

What is stored is plain JSON-like data, and the serializer builds nothing else: no pickle, no classes by name.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from egosrag.errors import SessionError, StoreUnavailable
from egosrag.postgres import is_postgres_url, require_psycopg
from egosrag.sessions.maintenance import DurableStore

if TYPE_CHECKING:
    from egosrag.sessions.postgres import PostgresStore
    from egosrag.sessions.sqlite import SqliteStore

_PARTIAL = "said"  # the channel of partial replies, as stores of version 1 name it
_log = logging.getLogger(__name__)


@contextmanager
def open_store(where: str | Path) -> Iterator[BaseCheckpointSaver[str]]:
    """The store at ``where``: the path of an SQLite file (made when missing) or ``postgresql://...``.

    Raises:
        SessionError: it cannot be opened, or a newer program wrote it.
        SettingsError: the packages for Postgres are not require_psycopg.
    """
    store: SqliteStore | PostgresStore
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
    """While it is open, no other process answers in the session; at its end, checkpoints that are not needed go.

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
        except StoreUnavailable as error:  # the reply is there: old checkpoints can go another time
            _log.warning("%s", error)


def flush(store: BaseCheckpointSaver[Any]) -> None:
    """Waits until what was written to a durable store would survive a power cut.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    if isinstance(store, DurableStore):
        store.flush()


def head_of(store: BaseCheckpointSaver[Any], session: str) -> str | None:
    """The id of the session's newest checkpoint, without reading it; None for a session that is not there."""
    if isinstance(store, DurableStore):
        return store.head(session)
    newest = next(iter(store.list({"configurable": {"thread_id": session, "checkpoint_ns": ""}}, limit=1)), None)
    return newest.config["configurable"]["checkpoint_id"] if newest else None


class _PlainSerializer(JsonPlusSerializer):
    """Reads plain data alone; what cannot be read is a damaged store, as one line of error."""

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        try:
            return super().loads_typed(data)
        except (ValueError, TypeError, LookupError, NotImplementedError, RecursionError) as error:
            raise damaged(error) from error


def damaged(error: Exception) -> SessionError:
    """The error of a store whose content is not what we write."""
    kind = type(error).__name__
    return SessionError(f"the session is damaged in its store ({kind}): restore a backup, or begin another session")


def serializer() -> JsonPlusSerializer:
    """A serializer that builds plain data alone: no pickle, no classes by name."""
    return _PlainSerializer(pickle_fallback=False, allowed_msgpack_modules=None)


def save_partial(store: BaseCheckpointSaver[Any], head: RunnableConfig, text: str, number: int) -> None:
    """Saves what was generated of a reply so far, so that a process that is killed does not lose it.

    It is a small write beside the head checkpoint; no step reads it, and the next checkpoint replaces it.

    Args:
        store: where the session is.
        head: the config of the session's head checkpoint.
        text: all of the reply so far.
        number: counts the saves of this reply, from 1.
    """
    store.put_writes(head, [(_PARTIAL, text)], f"{_PARTIAL}-{number:06}")


def saved_partial(store: BaseCheckpointSaver[Any], config: RunnableConfig) -> str:
    """What ``save_partial`` saved of a reply that was not finished; empty if there is none."""
    found = store.get_tuple(config)
    texts = [str(value) for _, channel, value in (found.pending_writes or ()) if channel == _PARTIAL] if found else []
    return max(texts, key=len, default="")
