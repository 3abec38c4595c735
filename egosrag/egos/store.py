"""Where conversations are kept: a LangGraph checkpointer, SQLite by default, Postgres by its URL.

What is stored is plain JSON-like data, and the serializer builds nothing else: no pickle, no classes by name.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from egosrag.errors import SessionError

_SAID = "said"


@contextmanager
def open_store(where: str | Path) -> Iterator[BaseCheckpointSaver[str]]:
    """The store at ``where``: the path of an SQLite file (made when missing) or ``postgresql://...``.

    Raises:
        SessionError: it cannot be opened.
    """
    if str(where).startswith(("postgresql://", "postgres://")):
        with _postgres(str(where)) as store:
            yield store
        return
    path = Path(where).expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, check_same_thread=False, timeout=30)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA schema_version")
    except (OSError, sqlite3.Error) as error:
        raise SessionError(
            f"the conversations at {path} cannot be opened ({error}): give the path of a file that may be written"
        ) from error
    from langgraph.checkpoint.sqlite import SqliteSaver

    try:
        yield SqliteSaver(connection, serde=serializer())
    finally:
        connection.close()


def serializer() -> JsonPlusSerializer:
    """A serializer that gives back plain data alone."""
    return JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=None)


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


@contextmanager
def _postgres(url: str) -> Iterator[BaseCheckpointSaver[str]]:
    try:
        from langgraph.checkpoint.postgres import PostgresSaver  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise SessionError("conversations in Postgres need a package more: pip install 'egosrag[postgres]'") from error
    import psycopg  # type: ignore[import-not-found,unused-ignore]

    try:
        with PostgresSaver.from_conn_string(url) as store:
            store.serde = serializer()
            store.setup()
            yield store
    except psycopg.OperationalError as error:
        reason = str(error).splitlines()[0]
        raise SessionError(f"the conversations' Postgres cannot be reached ({reason}): check its URL") from error
