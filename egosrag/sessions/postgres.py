"""Session store in PostgreSQL, for any number of processes on any number of machines.

There is one connection, which is reopened when it breaks. A process that answers in a session holds an advisory lock of
its connection, which the server releases when the process ends, however it ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from psycopg.rows import dict_row

from egosrag.errors import SessionBusy, SessionError, StoreUnavailable
from egosrag.limits import SESSION_TIMEOUT_S
from egosrag.postgres import CONNECT_OPTIONS, connect, error_reason, is_unavailable, redact_url, with_retries
from egosrag.sessions import summaries
from egosrag.sessions.deferred_writes import Statement, recorder
from egosrag.sessions.durable_store import VERSION, DurableStore, busy, too_new
from egosrag.sessions.summaries import Summary

_LOCK_NAMESPACE = 0x45474F53  # "EGOS": first key of our advisory locks; the second is the hash of the session
_SETUP_LOCK = -1  # second key of the lock under which tables are created
_OPTIONS: Any = {**CONNECT_OPTIONS, "row_factory": dict_row, "prepare_threshold": 0}
T = TypeVar("T")


class PostgresStore(DurableStore, PostgresSaver):
    """LangGraph's PostgreSQL checkpointer; calls are retried while the server is unavailable for some seconds.

    Args:
        url: ``postgresql://...``.
        serde: serializer of the stored values.

    Raises:
        SessionError: the database cannot be reached or written, or was written by a newer version of this program.
    """

    conn: Any  # never a pool

    def __init__(self, url: str, serde: JsonPlusSerializer) -> None:
        self._url = url
        self._held = {}
        self._known = {}
        self._locked = set[str]()  # sessions whose lock is held or being acquired
        self._reconnecting = threading.RLock()
        self._lost: set[str] = set()  # held sessions whose lock was lost: another process may have continued them
        PostgresSaver.__init__(self, self._connection(), serde=serde)
        try:
            self._guarded(self._prepare)
        except BaseException:
            self.close()
            raise

    def _connection(self) -> Any:
        return connect(self._url, StoreUnavailable, **_OPTIONS)

    def close(self) -> None:
        """Closes the connection."""
        self.conn.close()

    def _prepare(self) -> None:
        """Creates the tables of a new database, after checking that no newer program wrote them."""
        tables = self._rows(
            "SELECT to_regclass('egosrag_sessions') AS ours, to_regclass('checkpoint_migrations') AS langgraph,"
            " to_regclass('egosrag_list') AS list"
        )[0]
        stated = self._rows("SELECT version FROM egosrag_sessions") if tables["ours"] else []
        version = stated[0]["version"] if stated else 0  # none yet: another process is setting it up
        if version > VERSION:
            raise too_new(f"the conversations at {redact_url(self._url)}", version)
        rows = self._rows("SELECT max(v) AS v FROM checkpoint_migrations") if tables["langgraph"] else [{"v": None}]
        migration = rows[0]["v"]
        if migration is not None and migration >= len(self.MIGRATIONS):
            what = f"the conversations at {redact_url(self._url)} were written by a newer LangGraph"
            raise SessionError(f"{what}: install that one; nothing was changed")
        if version == VERSION and migration == len(self.MIGRATIONS) - 1 and tables["list"]:
            return
        with self._setting_up():
            self.setup()
            self.conn.execute("CREATE TABLE IF NOT EXISTS egosrag_sessions (version integer NOT NULL)")
            self.conn.execute(summaries.POSTGRES_TABLE)
            self.conn.execute(
                "INSERT INTO egosrag_sessions SELECT %s WHERE NOT EXISTS (SELECT FROM egosrag_sessions)", (VERSION,)
            )

    @contextmanager
    def _setting_up(self) -> Iterator[None]:
        # Polled: a statement that waits would block CREATE INDEX CONCURRENTLY, which waits for all older statements.
        while not self._rows("SELECT pg_try_advisory_lock(%s, %s) AS got", _LOCK_NAMESPACE, _SETUP_LOCK)[0]["got"]:
            time.sleep(0.05)
        try:
            yield
        finally:
            self._rows("SELECT pg_advisory_unlock(%s, %s)", _LOCK_NAMESPACE, _SETUP_LOCK)

    @contextmanager
    def _session_lock(self, session: str) -> Iterator[str]:
        if session in self._locked:
            raise busy(session)
        self._locked.add(session)  # before locking: the server grants the same lock to one connection twice
        try:
            yield self._guarded(lambda: self._acquire(session))
        finally:
            self._locked.discard(session)
            self._lost.discard(session)
            self._release(session)

    def _acquire(self, session: str) -> str:
        deadline = time.monotonic() + SESSION_TIMEOUT_S
        query = "SELECT pg_try_advisory_lock(%s, hashtext(%s)) AS got"
        while not self._rows(query, _LOCK_NAMESPACE, session)[0]["got"]:
            if time.monotonic() > deadline:
                raise busy(session)
            time.sleep(0.02)
        return self._newest(session)

    def _newest(self, session: str) -> str:
        query = "SELECT max(checkpoint_id) AS id FROM checkpoints WHERE thread_id = %s AND checkpoint_ns = ''"
        return str(self._rows(query, session)[0]["id"] or "")

    def _release(self, session: str) -> None:
        try:
            self._rows("SELECT pg_advisory_unlock(%s, hashtext(%s))", _LOCK_NAMESPACE, session)
        except psycopg.Error:
            self.conn.close()  # releases every lock; the next call connects again

    def _reconnect(self) -> None:
        """Connects again, and locks our sessions again unless another process has continued them."""
        with self._reconnecting:
            self._reconnect_once()

    def _reconnect_once(self) -> None:
        if not self.conn.closed:
            return
        self.conn = psycopg.connect(self._url, **_OPTIONS)
        for session, held in list(self._held.items()):  # not those whose lock was just being acquired
            self._lost.add(session)  # until its lock is ours again
            if self._acquire(session) in (held.confirmed, held.newest):
                self._lost.discard(session)
            self._check_not_lost(session)

    def _check_not_lost(self, session: str) -> None:
        if session in self._lost:
            raise SessionBusy(
                f"session {session!r} was continued elsewhere, or an older copy of it was restored, during this"
                " reply: say the line again"
            )

    def put(self, config: RunnableConfig, checkpoint: Any, metadata: Any, new_versions: Any) -> RunnableConfig:
        """As LangGraph's, but refused in a session that others may have continued, or whose snapshot was restored."""
        session = config["configurable"]["thread_id"]
        held = self._held.get(session)
        if held and held.deferred is not None:  # checked when it is written
            return super().put(config, checkpoint, metadata, new_versions)
        with self._reconnecting:  # else another thread could reconnect between the check and the write
            self._check_newest(session)
            return super().put(config, checkpoint, metadata, new_versions)

    def _check_newest(self, session: str) -> None:
        held = self._held.get(session)
        # A restored dump does not cut our connection, and takes no lock of ours.
        if held and self._guarded(lambda: self._newest(session)) not in (held.confirmed, held.newest):
            self._lost.add(session)
        self._check_not_lost(session)

    @contextmanager
    def _cursor(self, *, pipeline: bool = False) -> Iterator[Any]:
        """As LangGraph's; what is written in a reply waits for ``write_deferred``."""
        if pipeline and (collecting := recorder()):
            yield collecting
            return
        with super()._cursor(pipeline=pipeline) as cursor:
            yield cursor

    def _execute(self, session: str, statements: Sequence[Statement]) -> None:
        def execute() -> None:
            with self.lock, self.conn.transaction(), self.conn.cursor(binary=True) as cursor:
                for query, rows in statements:
                    cursor.executemany(query, rows)

        with self._reconnecting:
            if session:
                self._check_newest(session)
            self._guarded(execute)

    def flush(self, session: str = "", summary: Summary | None = None) -> None:
        """See :class:`DurableStore`; the server syncs each transaction."""
        held = self._held.get(session)
        row = [(session, held.waiting or held.confirmed, *summary)] if held and summary else []
        self.write_deferred(session, [(summaries.POSTGRES_STORE, row)] if row else ())

    def summaries(self, prefix: str) -> Sequence[tuple[str, Summary | None]]:
        """See :class:`DurableStore`."""
        rows = self._guarded(lambda: self._rows(summaries.POSTGRES_LIST, prefix))
        columns = ("name", "turns", "at", "pinned")
        return [(r["session"], Summary(*(r[c] for c in columns)) if r["name"] is not None else None) for r in rows]

    def store_summaries(self, found: Mapping[str, tuple[str, Summary]]) -> None:
        """See :class:`DurableStore`."""
        rows = [(session, head, *summary) for session, (head, summary) in found.items()]
        self._execute("", [(summaries.POSTGRES_STORE, rows), (summaries.POSTGRES_DROP, [()])])

    def delete_thread(self, thread_id: str) -> None:
        """As LangGraph's."""
        super().delete_thread(thread_id)
        self._execute("", [("DELETE FROM egosrag_list WHERE thread_id = %s", [(thread_id,)])])

    def session_names(self) -> Sequence[str]:
        """See :class:`DurableStore`."""
        query = "SELECT DISTINCT thread_id FROM checkpoints"
        return [row["thread_id"] for row in self._guarded(lambda: self._rows(query))]

    def session_count(self, prefix: str) -> int:
        """See :class:`DurableStore`."""
        query = "SELECT count(DISTINCT thread_id) AS number FROM checkpoints WHERE starts_with(thread_id, %s)"
        return int(self._guarded(lambda: self._rows(query, prefix))[0]["number"])

    def head(self, session: str) -> str | None:
        """See :class:`DurableStore`."""
        return self._guarded(lambda: self._newest(session)) or None

    def _size(self, session: str) -> int:
        query = "SELECT count(*) AS n FROM checkpoints WHERE thread_id = %s AND checkpoint_ns = ''"
        return int(self._guarded(lambda: self._rows(query, session))[0]["n"])

    def _parents(self, session: str) -> dict[str, str | None]:
        query = (
            "SELECT checkpoint_id, parent_checkpoint_id FROM checkpoints WHERE thread_id = %s AND checkpoint_ns = ''"
        )
        rows = self._guarded(lambda: self._rows(query, session))
        return {row["checkpoint_id"]: row["parent_checkpoint_id"] for row in rows}

    def _drop(self, session: str, ids: Sequence[str]) -> None:
        def delete() -> None:
            with self.lock, self.conn.transaction():
                for table in ("checkpoint_writes", "checkpoints"):
                    self.conn.execute(
                        f"DELETE FROM {table} WHERE thread_id = %s AND checkpoint_ns = '' AND checkpoint_id = ANY(%s)",
                        (session, list(ids)),
                    )
                self.conn.execute(_UNUSED_BLOBS, (session, session))

        self._guarded(delete)

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self.lock:
            return list(self.conn.execute(query, values).fetchall())

    def _guarded(self, call: Callable[[], T]) -> T:
        try:
            return with_retries(call, self._reconnect)
        except psycopg.Error as error:
            unavailable = isinstance(error, psycopg.OperationalError) and is_unavailable(error)
            what = "does not answer" if unavailable else "refuses"
            raise StoreUnavailable(
                f"the conversations' Postgres at {redact_url(self._url)} {what} ({error_reason(error, self._url)}): "
                "check the server; replies that were given are kept"
            ) from None  # libpq's own message may contain the password


_UNUSED_BLOBS = """
    DELETE FROM checkpoint_blobs b WHERE thread_id = %s AND checkpoint_ns = '' AND NOT EXISTS (
        SELECT FROM checkpoints c WHERE c.thread_id = %s AND c.checkpoint_ns = ''
        AND c.checkpoint -> 'channel_versions' ->> b.channel = b.version)
"""
