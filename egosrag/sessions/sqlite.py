"""Conversations in an SQLite file, for the processes of one machine.

SQLite lets whoever asks at the right moment write: of many that write all the time some wait past any time-out. So
writers queue: the threads of a process for its turn, and the processes for a lock file, which dies with its holder.

A kill loses nothing that was written; a power cut may, until the disk was waited for. That takes most of a write's time
and is done once for a reply, before it is handed out, and for each change that is made outside of a running graph.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

from egosrag.errors import SessionError, StoreAway
from egosrag.limits import SESSION_TIMEOUT_S, WRITE_TIMEOUT_S
from egosrag.sessions.maintenance import VERSION, Keeper, busy, too_new

T = TypeVar("T")
_OURS = 0x45474F53  # "EGOS", the file's application id
_FAILED = (sqlite3.Error, UnicodeDecodeError)  # the latter where SQLite's message quotes bytes of a damaged file
_RUNNING = ("input", "loop")  # checkpoints of a graph that is not at its end


class _Turns:
    """Whose turn it is among the threads of this process: who came first."""

    def __init__(self) -> None:
        self._waiting: deque[threading.Lock] = deque()  # the first has its turn; the others' locks are held
        self._lock = threading.Lock()

    @contextmanager
    def mine(self, wait_s: float) -> Iterator[None]:
        """While it is open, no other thread has its turn.

        Raises:
            TimeoutError: it did not come within ``wait_s`` seconds.
        """
        called = threading.Lock()
        called.acquire()
        with self._lock:
            self._waiting.append(called)
            first = self._waiting[0] is called
        try:
            if not first and not called.acquire(timeout=wait_s):
                raise TimeoutError
            yield
        finally:  # also of one that gave up, or was interrupted while it waited
            with self._lock:
                first = self._waiting[0] is called
                self._waiting.remove(called)
                if first and self._waiting:
                    self._waiting[0].release()


_turns: dict[Path, _Turns] = {}  # of each file
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_turns.clear)  # the threads that had or awaited a turn are not in the child


class SqliteStore(Keeper, SqliteSaver):
    """LangGraph's checkpointer on SQLite; what the file refuses is an error of ours.

    Args:
        path: the file, made when it is missing; ``:memory:`` keeps nothing.
        serde: builds what is read.

    Raises:
        SessionError: it cannot be opened, or a newer program wrote it.
    """

    def __init__(self, path: Path, serde: JsonPlusSerializer) -> None:
        self._path = path
        self._lasts = str(path) != ":memory:"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            SqliteSaver.__init__(
                self, sqlite3.connect(path, check_same_thread=False, timeout=WRITE_TIMEOUT_S), serde=serde
            )
            # SQLite waits for nobody while it changes to WAL or finds a table missing: one opens at a time.
            with self._locked("open", WRITE_TIMEOUT_S):
                self._made()
        except (OSError, *_FAILED) as error:
            raise SessionError(
                f"the conversations at {path} cannot be opened ({_line(error)}): "
                "give the path of a file that may be written"
            ) from error

    def _made(self) -> None:
        """Makes what is missing of the file."""
        (version,) = self.conn.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            self.conn.close()
            raise too_new(f"the conversations at {self._path}", version)
        _write_ahead(self.conn)
        self.conn.execute("PRAGMA synchronous=NORMAL")  # see flush
        self.setup()
        if version < VERSION:  # 0: a new file, or one from before versions were counted, which is read as it is
            self.conn.execute(f"PRAGMA user_version={VERSION}")

    def close(self) -> None:
        """Closes the file."""
        self.conn.close()

    @contextmanager
    def alone(self, session: str) -> Iterator[None]:
        """See :class:`Keeper`: a lock file beside the store, which the system frees when its holder dies."""
        from filelock import Timeout

        try:
            with self._locked(sha256(session.encode()).hexdigest()[:32], SESSION_TIMEOUT_S):
                yield
        except Timeout:
            raise busy(session) from None

    @contextmanager
    def cursor(self, transaction: bool = True) -> Iterator[sqlite3.Cursor]:
        """As LangGraph's; what writes waits for its turn first."""
        with self._turn() if transaction and self._lasts else nullcontext(), super().cursor(transaction) as cursor:
            yield cursor

    @contextmanager
    def _turn(self) -> Iterator[None]:
        from filelock import Timeout

        turns = _turns.setdefault(self._path.absolute(), _Turns())
        with ExitStack() as held:
            try:
                held.enter_context(turns.mine(WRITE_TIMEOUT_S))
                held.enter_context(self._locked("write", WRITE_TIMEOUT_S, poll_s=0.002))
            except (TimeoutError, Timeout):
                raise StoreAway(
                    f"the conversations at {self._path} were being written by others for {WRITE_TIMEOUT_S:.0f} seconds:"
                    " see who uses them, and try again"
                ) from None
            yield

    @contextmanager
    def _locked(self, name: str, wait_s: float, poll_s: float = 0.02) -> Iterator[None]:
        """While it is open, nobody else holds the lock ``name``: a file beside the store.

        Raises:
            Timeout: of filelock: somebody else still holds it after ``wait_s`` seconds.
            StoreAway: the lock cannot be written.
        """
        if not self._lasts:
            yield
            return
        from filelock import FileLock, Timeout

        folder = self._path.with_name(f"{self._path.name}-locks")
        lock = FileLock(folder / f"{name}.lock", thread_local=False)
        try:
            folder.mkdir(exist_ok=True)
            lock.acquire(timeout=wait_s, poll_interval=poll_s)
        except Timeout:
            raise
        except OSError as error:
            raise StoreAway(f"{folder} cannot be written ({error.strerror}): check rights and disk") from error
        try:
            yield
        finally:
            lock.release()

    def put(self, config: RunnableConfig, checkpoint: Any, metadata: Any, new_versions: Any) -> RunnableConfig:
        """As LangGraph's."""
        done = super().put(config, checkpoint, metadata, new_versions)
        if metadata.get("source") not in _RUNNING:
            self.flush()
        return done

    def delete_thread(self, thread_id: str) -> None:
        """As LangGraph's."""
        super().delete_thread(thread_id)
        self.flush()

    def flush(self) -> None:
        """See :class:`Keeper`: a write in full synchrony waits for all that lies before it in the write-ahead log."""

        def work() -> None:
            with self.cursor() as cursor:
                cursor.execute("PRAGMA synchronous=FULL")
                cursor.execute(f"PRAGMA application_id={_OURS}")
                cursor.execute("PRAGMA synchronous=NORMAL")

        self._kept(work)

    def names(self) -> Sequence[str]:
        """See :class:`Keeper`."""
        return [row[0] for row in self._rows("SELECT DISTINCT thread_id FROM checkpoints")]

    def _parents(self, session: str) -> dict[str, str | None]:
        found = self._rows(
            "SELECT checkpoint_id, parent_checkpoint_id FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ''",
            session,
        )
        return dict(found)

    def _drop(self, session: str, ids: Sequence[str]) -> None:
        def work() -> None:
            with self.cursor() as cursor:
                for table in ("writes", "checkpoints"):
                    cursor.executemany(
                        f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_ns = '' AND checkpoint_id = ?",
                        [(session, one) for one in ids],
                    )

        self._kept(work)

    def _rows(self, query: str, *values: Any) -> list[Any]:
        def work() -> list[Any]:
            with self.cursor(transaction=False) as cursor:
                return cursor.execute(query, values).fetchall()

        return self._kept(work)

    def _kept(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except _FAILED as error:
            with self.lock:  # what failed at its commit is still open, and would keep others from writing
                self.conn.rollback()
            raise StoreAway(
                f"the conversations at {self._path} cannot be read or written ({_line(error)}): "
                "check the disk and who uses it"
            ) from error


def _line(error: Exception) -> str:
    """The error in one line: of a damaged file SQLite quotes what it found there."""
    return " ".join(str(error).split())


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Changes the file to a write-ahead log; while somebody else is writing, SQLite refuses that without waiting."""
    until = time.monotonic() + WRITE_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(0.02)
