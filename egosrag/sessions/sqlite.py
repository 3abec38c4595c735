"""Sessions in an SQLite file, for the processes of one machine.

SQLite's lock is not fair: of many constant writers some wait past any timeout. So writers queue: the threads of a
process for their turn, the processes for a lock file, which the system frees when its holder dies.

A kill loses nothing that was written; a power cut may, until the file was synced to disk. A sync takes most of a
write's time, so it is done once a reply, before the reply is returned, and for each change outside of a running graph.
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

from egosrag.errors import SessionError, StoreUnavailable
from egosrag.limits import SESSION_TIMEOUT_S, WRITE_TIMEOUT_S
from egosrag.sessions.maintenance import VERSION, DurableStore, busy, too_new

T = TypeVar("T")
APPLICATION_ID = 0x45474F53  # "EGOS", the file's application id
_FAILED = (sqlite3.Error, UnicodeDecodeError)  # the latter: SQLite's message quotes bytes of a damaged file
_RUNNING = ("input", "loop")  # sources of checkpoints of a graph that is still running


class WriterQueue:
    """The order of the writing threads of this process: first come, first served."""

    def __init__(self) -> None:
        self._waiting: deque[threading.Lock] = deque()  # the first is writing; the locks of the others are held
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Number of threads that write or wait."""
        return len(self._waiting)

    @contextmanager
    def turn(self, timeout_s: float) -> Iterator[None]:
        """While it is open, no other thread writes.

        Raises:
            TimeoutError: the turn did not come within ``timeout_s`` seconds.
        """
        called = threading.Lock()
        called.acquire()
        with self._lock:
            self._waiting.append(called)
            first = self._waiting[0] is called
        try:
            if not first and not called.acquire(timeout=timeout_s):
                raise TimeoutError
            yield
        finally:  # also after a timeout, or an interrupt while waiting
            with self._lock:
                first = self._waiting[0] is called
                self._waiting.remove(called)
                if first and self._waiting:
                    self._waiting[0].release()


writer_queues: dict[Path, WriterQueue] = {}  # one a file
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=writer_queues.clear)  # a child process has none of the waiting threads


class SqliteStore(DurableStore, SqliteSaver):
    """LangGraph's checkpointer on SQLite, with errors of ours.

    Args:
        path: the file, created when it is missing; ``:memory:`` keeps nothing.
        serde: serializer of the stored values.

    Raises:
        SessionError: it cannot be opened, or a newer program wrote it.
    """

    def __init__(self, path: Path, serde: JsonPlusSerializer) -> None:
        self._path = path
        self._on_disk = str(path) != ":memory:"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, check_same_thread=False, timeout=WRITE_TIMEOUT_S)
            SqliteSaver.__init__(self, connection, serde=serde)
            # SQLite does not wait while it changes to WAL or creates tables: one process opens at a time.
            with self._locked("open", WRITE_TIMEOUT_S):
                self._create()
        except (OSError, *_FAILED) as error:
            raise SessionError(
                f"the conversations at {path} cannot be opened ({_line(error)}): "
                "give the path of a file that may be written"
            ) from error

    def _create(self) -> None:
        """Creates what is missing in the file."""
        (version,) = self.conn.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            self.conn.close()
            raise too_new(f"the conversations at {self._path}", version)
        _write_ahead(self.conn)
        self.conn.execute("PRAGMA synchronous=NORMAL")  # see flush
        self.setup()
        if version < VERSION:  # 0: a new file, or one from before versions were counted
            self.conn.execute(f"PRAGMA user_version={VERSION}")

    def close(self) -> None:
        """Closes the file."""
        self.conn.close()

    @contextmanager
    def exclusive(self, session: str) -> Iterator[None]:
        """See :class:`DurableStore`: a lock file beside the store, which the system frees when its holder dies."""
        from filelock import Timeout

        try:
            with self._locked(sha256(session.encode()).hexdigest()[:32], SESSION_TIMEOUT_S):
                yield
        except Timeout:
            raise busy(session) from None

    @contextmanager
    def cursor(self, transaction: bool = True) -> Iterator[sqlite3.Cursor]:
        """As LangGraph's; a writer waits for its turn first."""
        with self._writing() if transaction and self._on_disk else nullcontext(), super().cursor(transaction) as cursor:
            yield cursor

    @contextmanager
    def _writing(self) -> Iterator[None]:
        from filelock import Timeout

        queue = writer_queues.setdefault(self._path.absolute(), WriterQueue())
        with ExitStack() as held:
            try:
                held.enter_context(queue.turn(WRITE_TIMEOUT_S))
                held.enter_context(self._locked("write", WRITE_TIMEOUT_S, poll_s=0.002))
            except (TimeoutError, Timeout):
                raise StoreUnavailable(
                    f"the conversations at {self._path} were being written by others for {WRITE_TIMEOUT_S:.0f} seconds:"
                    " see who uses them, and try again"
                ) from None
            yield

    @contextmanager
    def _locked(self, name: str, timeout_s: float, poll_s: float = 0.02) -> Iterator[None]:
        """While it is open, nobody else holds the lock ``name``: a file beside the store.

        Raises:
            Timeout: of filelock: somebody else still holds it after ``timeout_s`` seconds.
            StoreUnavailable: the lock cannot be written.
        """
        if not self._on_disk:
            yield
            return
        from filelock import FileLock, Timeout

        folder = self._path.with_name(f"{self._path.name}-locks")
        lock = FileLock(folder / f"{name}.lock", thread_local=False)
        try:
            folder.mkdir(exist_ok=True)
            lock.acquire(timeout=timeout_s, poll_interval=poll_s)
        except Timeout:
            raise
        except OSError as error:
            raise StoreUnavailable(f"{folder} cannot be written ({error.strerror}): check rights and disk") from error
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
        """See :class:`DurableStore`: a synchronous write also syncs all that is before it in the write-ahead log."""

        def work() -> None:
            with self.cursor() as cursor:
                cursor.execute("PRAGMA synchronous=FULL")
                cursor.execute(f"PRAGMA application_id={APPLICATION_ID}")
                cursor.execute("PRAGMA synchronous=NORMAL")

        self._guarded(work)

    def session_names(self) -> Sequence[str]:
        """See :class:`DurableStore`."""
        return [row[0] for row in self._rows("SELECT DISTINCT thread_id FROM checkpoints")]

    def head(self, session: str) -> str | None:
        """See :class:`DurableStore`."""
        query = "SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ''"
        return self._rows(query, session)[0][0]  # type: ignore[no-any-return]

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

        self._guarded(work)

    def _rows(self, query: str, *values: Any) -> list[Any]:
        def work() -> list[Any]:
            with self.cursor(transaction=False) as cursor:
                return cursor.execute(query, values).fetchall()

        return self._guarded(work)

    def _guarded(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except _FAILED as error:
            with self.lock:  # a transaction whose commit failed is still open, and would block other writers
                self.conn.rollback()
            raise StoreUnavailable(
                f"the conversations at {self._path} cannot be read or written ({_line(error)}): "
                "check the disk and who uses it"
            ) from error


def _line(error: Exception) -> str:
    """The error in one line: SQLite quotes the content of a damaged file."""
    return " ".join(str(error).split())


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switches the file to a write-ahead log; SQLite refuses that, without waiting, while somebody else writes."""
    until = time.monotonic() + WRITE_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(0.02)
