"""Conversations in PostgreSQL, for any number of processes on any number of machines.

One connection, made again when it breaks. Whoever answers in a session holds an advisory lock of that connection: it is
freed by the server when the process ends, however it ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import psycopg
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from psycopg.rows import dict_row

from egosrag.errors import SessionBusy, SessionError, StoreAway
from egosrag.limits import SESSION_TIMEOUT_S
from egosrag.postgres import OPTIONS, connect, is_away, patiently, reason, shown
from egosrag.sessions.maintenance import VERSION, Keeper, busy, too_new

_LOCKS = 0x45474F53  # "EGOS": keeps our advisory locks apart from those of other programs in the database
_SETUP = -1  # the lock under which tables are made
_CLOCK = datetime(1582, 10, 15, tzinfo=UTC).timestamp()  # where the times of UUIDs begin
_AHEAD_S = 5.0
_OPTIONS: Any = {**OPTIONS, "row_factory": dict_row, "prepare_threshold": 0}
T = TypeVar("T")


class PostgresStore(Keeper, PostgresSaver):
    """LangGraph's checkpointer on Postgres, which waits for a server that is away for some seconds.

    Args:
        url: ``postgresql://...``.
        serde: builds what is read.

    Raises:
        SessionError: it cannot be reached, may not be written, or a newer program wrote it.
    """

    conn: Any  # never a pool

    def __init__(self, url: str, serde: JsonPlusSerializer) -> None:
        self._url = url
        #: the sessions that are answered in here, each with its newest checkpoints as far as they are known
        self._held: dict[str, set[str]] = {}
        self._mending = threading.RLock()
        self._lost: set[str] = set()  # those of them that another process may have gone on with
        PostgresSaver.__init__(self, self._connected(), serde=serde)
        try:
            self._kept(self._prepare)
        except BaseException:
            self.close()
            raise

    def _connected(self) -> Any:
        return connect(self._url, StoreAway, **_OPTIONS)

    def close(self) -> None:
        """Closes the connection."""
        self.conn.close()

    def _prepare(self) -> None:
        """Makes the tables of a new database; looks first, so that a newer store is not written."""
        found = self._rows(
            "SELECT to_regclass('egosrag_sessions') AS ours, to_regclass('checkpoint_migrations') AS its"
        )
        ours = self._rows("SELECT version FROM egosrag_sessions")[0]["version"] if found[0]["ours"] else 0
        if ours > VERSION:
            raise too_new(f"the conversations at {shown(self._url)}", ours)
        its = self._rows("SELECT max(v) AS v FROM checkpoint_migrations")[0]["v"] if found[0]["its"] else None
        if its is not None and its >= len(self.MIGRATIONS):
            what = f"the conversations at {shown(self._url)} were written by a newer LangGraph"
            raise SessionError(f"{what}: install that one; nothing was changed")
        if ours == VERSION and its == len(self.MIGRATIONS) - 1:
            return
        with self._setting_up():
            self.setup()
            self.conn.execute("CREATE TABLE IF NOT EXISTS egosrag_sessions (version integer NOT NULL)")
            self.conn.execute(
                "INSERT INTO egosrag_sessions SELECT %s WHERE NOT EXISTS (SELECT FROM egosrag_sessions)", (VERSION,)
            )

    @contextmanager
    def _setting_up(self) -> Iterator[None]:
        # Who waits inside of a statement would keep the indexes from being made, which wait for every older statement.
        while not self._rows("SELECT pg_try_advisory_lock(%s, %s) AS got", _LOCKS, _SETUP)[0]["got"]:
            time.sleep(0.05)
        try:
            yield
        finally:
            self._rows("SELECT pg_advisory_unlock(%s, %s)", _LOCKS, _SETUP)

    @contextmanager
    def alone(self, session: str) -> Iterator[None]:
        """See :class:`Keeper`."""
        if session in self._held:
            raise busy(session)
        self._held[session] = set()  # before asking: the server gives one connection the same lock twice
        try:
            self._kept(lambda: self._take(session))
            yield
        finally:
            del self._held[session]
            self._lost.discard(session)
            self._let_go(session)

    def _take(self, session: str) -> None:
        until = time.monotonic() + SESSION_TIMEOUT_S
        while not self._rows("SELECT pg_try_advisory_lock(%s, hashtext(%s)) AS got", _LOCKS, session)[0]["got"]:
            if time.monotonic() > until:
                raise busy(session)
            time.sleep(0.02)
        newest = self._newest(session)
        self._held[session] = {newest}
        # Checkpoints are ordered by the clock of whoever wrote them: ours must not be behind.
        behind = _moment(newest) - time.time() if newest else 0.0
        if behind > _AHEAD_S:
            raise SessionError(
                f"session {session!r} was written {behind:.0f} s in the future: set this machine's clock"
            )
        time.sleep(max(behind, 0.0))

    def _newest(self, session: str) -> str:
        query = "SELECT max(checkpoint_id) AS id FROM checkpoints WHERE thread_id = %s AND checkpoint_ns = ''"
        return str(self._rows(query, session)[0]["id"] or "")

    def _let_go(self, session: str) -> None:
        try:
            self._rows("SELECT pg_advisory_unlock(%s, hashtext(%s))", _LOCKS, session)
        except psycopg.Error:
            self.conn.close()  # which frees every lock; the next call connects anew

    def _mend(self) -> None:
        """Connects again, and takes the sessions again that are answered in here, if nobody went on with them."""
        with self._mending:
            self._connected_again()

    def _connected_again(self) -> None:
        if not self.conn.closed:
            return
        self.conn = psycopg.connect(self._url, **_OPTIONS)
        for session, known in list(self._held.items()):
            if not known:
                continue  # it is being asked for: this is what broke
            self._lost.add(session)  # until it is ours again
            self._take(session)
            if self._held[session] <= known:
                self._lost.discard(session)
                self._held[session] = known
            self._still_ours(session)

    def _still_ours(self, session: str) -> None:
        if session in self._lost:
            raise SessionBusy(
                f"session {session!r} was gone on with elsewhere while its database was away: say the line again"
            )

    def put(self, config: RunnableConfig, checkpoint: Any, metadata: Any, new_versions: Any) -> RunnableConfig:
        """As LangGraph's; what it writes is known to be ours when the connection breaks before the answer."""
        session = config["configurable"]["thread_id"]
        with self._mending:  # or another thread's new connection would take what was meant for the lost one
            self._still_ours(session)
            if session in self._held:
                self._held[session].add(checkpoint["id"])
            return super().put(config, checkpoint, metadata, new_versions)

    def names(self) -> Sequence[str]:
        """See :class:`Keeper`."""
        query = "SELECT DISTINCT thread_id FROM checkpoints"
        return [row["thread_id"] for row in self._kept(lambda: self._rows(query))]

    def _parents(self, session: str) -> dict[str, str | None]:
        query = (
            "SELECT checkpoint_id, parent_checkpoint_id FROM checkpoints WHERE thread_id = %s AND checkpoint_ns = ''"
        )
        rows = self._kept(lambda: self._rows(query, session))
        return {row["checkpoint_id"]: row["parent_checkpoint_id"] for row in rows}

    def _drop(self, session: str, ids: Sequence[str]) -> None:
        def work() -> None:
            with self.lock, self.conn.transaction():
                for table in ("checkpoint_writes", "checkpoints"):
                    self.conn.execute(
                        f"DELETE FROM {table} WHERE thread_id = %s AND checkpoint_ns = '' AND checkpoint_id = ANY(%s)",
                        (session, list(ids)),
                    )
                self.conn.execute(_UNUSED_BLOBS, (session, session))

        self._kept(work)

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self.lock:
            return list(self.conn.execute(query, values).fetchall())

    def _kept(self, call: Callable[[], T]) -> T:
        try:
            return patiently(call, self._mend)
        except psycopg.Error as error:
            what = "does not answer" if isinstance(error, psycopg.OperationalError) and is_away(error) else "refuses"
            raise StoreAway(
                f"the conversations' Postgres at {shown(self._url)} {what} ({reason(error, self._url)}): "
                "check the server; what was answered is kept"
            ) from None  # libpq's own words may hold the password


def _moment(checkpoint: str) -> float:
    """When a checkpoint was written, in seconds as ``time.time`` counts them: its id is a UUID of version 6."""
    digits = checkpoint.replace("-", "")
    return int(digits[:12] + digits[13:16], 16) / 1e7 + _CLOCK


_UNUSED_BLOBS = """
    DELETE FROM checkpoint_blobs b WHERE thread_id = %s AND checkpoint_ns = '' AND NOT EXISTS (
        SELECT FROM checkpoints c WHERE c.thread_id = %s AND c.checkpoint_ns = ''
        AND c.checkpoint -> 'channel_versions' ->> b.channel = b.version)
"""
