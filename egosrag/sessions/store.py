"""Where conversations are kept: a LangGraph checkpointer, SQLite by default, Postgres by its URL.

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
from egosrag.sessions.maintenance import Keeper

if TYPE_CHECKING:
    from egosrag.sessions.postgres import PostgresStore
    from egosrag.sessions.sqlite import SqliteStore

_SAID = "said"
_log = logging.getLogger(__name__)


@contextmanager
def open_store(where: str | Path) -> Iterator[BaseCheckpointSaver[str]]:
    """The store at ``where``: the path of an SQLite file (made when missing) or ``postgresql://...``.

    Raises:
        SessionError: it cannot be opened, or a newer program wrote it.
        SettingsError: the packages for Postgres are not installed.
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
def alone(store: BaseCheckpointSaver[Any], session: str) -> Iterator[None]:
    """While it is open, no other process answers in the session; old checkpoints that nothing needs go at its end.

    Raises:
        SessionBusy: another process answers there.
        StoreUnavailable: the store does not answer.
    """
    if not isinstance(store, Keeper):
        yield
        return
    with store.alone(session):
        yield
        try:
            store.trim(session)
        except StoreUnavailable as error:  # the reply is there: what is old can go another time
            _log.warning("%s", error)


def flush(store: BaseCheckpointSaver[Any]) -> None:
    """After it a power cut takes nothing of what was written; of a store that lasts.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    if isinstance(store, Keeper):
        store.flush()


class _Plain(JsonPlusSerializer):
    """What cannot be read is a damaged store: one line for whoever looks after it."""

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        try:
            return super().loads_typed(data)
        except (ValueError, TypeError, LookupError, NotImplementedError, RecursionError) as error:
            raise damaged(error) from error


def damaged(error: Exception) -> SessionError:
    """The error of a store whose content is not what we write."""
    why = type(error).__name__
    return SessionError(f"the session is damaged in its store ({why}): put a backup in its place, or begin another")


def serializer() -> JsonPlusSerializer:
    """A serializer that gives back plain data alone."""
    return _Plain(pickle_fallback=False, allowed_msgpack_modules=None)


def keep_said(store: BaseCheckpointSaver[Any], config: RunnableConfig, said: str, number: int) -> None:
    """Keeps what was said of a reply so far, so that a process that is killed does not lose it.

    It is a small write beside the last checkpoint, which no step reads and the next checkpoint puts aside.

    Args:
        store: where the session is kept.
        config: the session's.
        said: all that was said of the reply.
        number: the how-manieth write of this reply it is.
    """
    found = store.get_tuple(config)
    if found:
        store.put_writes(found.config, [(_SAID, said)], f"{_SAID}-{number:06}")


def said_of(store: BaseCheckpointSaver[Any], config: RunnableConfig) -> str:
    """What ``keep_said`` kept of a reply that was not finished; empty when there is none."""
    found = store.get_tuple(config)
    kept = [str(value) for _, channel, value in (found.pending_writes or ()) if channel == _SAID] if found else []
    return max(kept, key=len, default="")
