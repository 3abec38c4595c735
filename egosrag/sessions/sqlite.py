"""Session store in an SQLite file, for several processes of one machine.

SQLite's lock is not fair: with many writers, some wait past any timeout. So writers queue: the threads of a process in
a ``WriterQueue``, the processes for a lock file, which the operating system releases when its holder dies.

Killing the process loses nothing that was written; a power cut may, until the file is synced to disk. A sync takes most
of the time of a write, so it is done once per reply, before the reply is returned, and after each change that is made
outside of a running graph.

All locks belong to the file, whatever name it was opened by: links are resolved. A hard link is refused, and so is a
file that is mounted by itself, as containers do: SQLite keeps the write-ahead log beside the name, and two names in
different folders would have one each. A folder that is mounted in several places is one folder.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

from egosrag.errors import SessionError, StoreUnavailable
from egosrag.limits import SESSION_TIMEOUT_S, WRITE_TIMEOUT_S
from egosrag.sessions import summaries
from egosrag.sessions.deferred_writes import Statement, recorder
from egosrag.sessions.durable_store import VERSION, DurableStore, busy, too_new
from egosrag.sessions.summaries import Summary

T = TypeVar("T")
APPLICATION_ID = 0x45474F53  # "EGOS", the file's application id
_SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)  # the latter: SQLite's message quotes bytes of a damaged file
_LOCK_NAME_LENGTH = 32
_MOUNTS = Path("/proc/self/mountinfo")  # Linux; spaces and the like in its paths are written as octal numbers
_RUNNING = ("input", "loop")  # the metadata "source" of checkpoints of a graph that is still running


class WriterQueue:
    """A fair lock among the writing threads of this process: first come, first served."""

    def __init__(self) -> None:
        self._waiting: deque[threading.Lock] = deque()  # the first is writing; the locks of the others are acquired
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Number of threads that are writing or waiting."""
        return len(self._waiting)

    @contextmanager
    def turn(self, timeout_s: float) -> Iterator[None]:
        """Context manager in which no other thread writes.

        Raises:
            TimeoutError: another thread was still writing after ``timeout_s`` seconds.
        """
        ready = threading.Lock()  # released by the thread before this one
        ready.acquire()
        with self._lock:
            self._waiting.append(ready)
            first = self._waiting[0] is ready
        try:
            if not first and not ready.acquire(timeout=timeout_s):
                raise TimeoutError
            yield
        finally:  # also after a timeout, or an interrupt while waiting
            with self._lock:
                first = self._waiting[0] is ready
                self._waiting.remove(ready)
                if first and self._waiting:
                    self._waiting[0].release()


writer_queues: dict[Path, WriterQueue] = {}  # one per file
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=writer_queues.clear)  # the waiting threads do not exist in a child process


class SqliteStore(DurableStore, SqliteSaver):
    """LangGraph's SQLite checkpointer, with fair writing, one-line errors and a format version.

    Args:
        path: the file, created when it is missing; ``:memory:`` stores nothing on disk.
        serde: serializer of the stored values.

    Raises:
        SessionError: the file cannot be opened, or was written by a newer version of this program.
    """

    def __init__(self, path: Path, serde: JsonPlusSerializer) -> None:
        self._held = {}
        self._known = {}
        self._on_disk = str(path) != ":memory:"
        try:
            self._path = path.resolve() if self._on_disk else path
            if self._on_disk:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, check_same_thread=False, timeout=WRITE_TIMEOUT_S)
            SqliteSaver.__init__(self, connection, serde=serde)
            # Switching to WAL and creating tables ignore SQLite's timeout: one process opens the file at a time.
            with self._locked("open", WRITE_TIMEOUT_S):
                self._create()
                self._remove_unused_locks()
        except (OSError, RuntimeError, ValueError, *_SQLITE_ERRORS) as error:
            # RuntimeError: a symbolic link to itself; ValueError: a zero byte in the path
            raise StoreUnavailable(
                f"the conversations at {path} cannot be opened ({_one_line(error)}): "
                "give the path of a file that may be written"
            ) from error

    def _create(self) -> None:
        """Creates the tables of a new file and sets its format version."""
        self._inode = self._path.stat().st_ino if self._on_disk else 0
        if self._on_disk and self._path.stat().st_nlink > 1:
            self.conn.close()
            raise SessionError(
                f"the conversations at {self._path} have another name, by a hard link, and SQLite would damage them: "
                "remove that name, or copy the file"
            )
        if self._on_disk and _is_mounted(self._path):
            self.conn.close()
            raise SessionError(
                f"the conversations at {self._path} are a file that is mounted by itself, and SQLite would lose turns: "
                "mount its folder"
            )
        (version,) = self.conn.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            self.conn.close()
            raise too_new(f"the conversations at {self._path}", version)
        _enable_write_ahead_log(self.conn)
        self.conn.execute("PRAGMA synchronous=NORMAL")  # see flush
        self.setup()
        self.conn.execute(summaries.SQLITE_TABLE)
        if version < VERSION:  # 0: a new file, or one from before there were versions
            self.conn.execute(f"PRAGMA user_version={VERSION}")

    def close(self) -> None:
        """Closes the file."""
        self.conn.close()

    @contextmanager
    def _session_lock(self, session: str) -> Iterator[str]:
        """The lock is a file beside the store, released when its holder dies, and removed at the end."""
        from filelock import Timeout

        try:
            with self._locked(_lock_name(session), SESSION_TIMEOUT_S, remove=True):
                self._check_not_replaced()
                yield self.head(session) or ""
        except Timeout:
            raise busy(session) from None

    def _check_not_replaced(self) -> None:
        """Refuses to write to a file that has lost its name: nobody could read it again."""
        if not self._on_disk:
            return
        try:
            if self._path.stat().st_ino == self._inode:
                return
        except OSError:
            pass
        raise StoreUnavailable(
            f"the conversations at {self._path} were removed or replaced by another file while they were open: "
            "open them again"
        )

    def _remove_unused_locks(self) -> None:
        """Removes the lock files of sessions whose process was killed."""
        if not self._on_disk:
            return
        from filelock import Timeout

        for file in self._lock_folder.glob("?" * _LOCK_NAME_LENGTH + ".lock"):
            with suppress(Timeout, OSError), self._locked(file.stem, 0, remove=True):
                pass

    @contextmanager
    def cursor(self, transaction: bool = True) -> Iterator[sqlite3.Cursor]:
        """As LangGraph's; a write transaction first waits in the queue of writers, or for ``write_deferred``."""
        if transaction and (collecting := recorder()):
            yield collecting  # type: ignore[misc]  # with the methods that LangGraph writes by
            return
        with self._writing() if transaction and self._on_disk else nullcontext(), super().cursor(transaction) as cursor:
            yield cursor

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Context manager in which no other thread and no other process writes to the file."""
        from filelock import Timeout

        queue = writer_queues.setdefault(self._path, WriterQueue())
        with ExitStack() as locks:
            try:
                locks.enter_context(queue.turn(WRITE_TIMEOUT_S))
                locks.enter_context(self._locked("write", WRITE_TIMEOUT_S, poll_s=0.002))
            except (TimeoutError, Timeout):
                raise StoreUnavailable(
                    f"the conversations at {self._path} were being written by others for {WRITE_TIMEOUT_S:.0f} seconds:"
                    " see who uses them, and try again"
                ) from None
            yield

    @contextmanager
    def _locked(self, name: str, timeout_s: float, poll_s: float = 0.02, *, remove: bool = False) -> Iterator[None]:
        """Context manager that holds the lock ``name``, a file beside the store.

        Args:
            name: name of the lock.
            timeout_s: seconds to wait for it.
            poll_s: seconds between two attempts.
            remove: remove the file at the end. Whoever has opened it meanwhile sees that it has no name, and tries
                again (filelock does so).

        Raises:
            filelock.Timeout: another thread or process still holds it after ``timeout_s`` seconds.
            StoreUnavailable: the lock file cannot be written.
        """
        if not self._on_disk:
            yield
            return
        from filelock import FileLock, Timeout

        folder = self._lock_folder
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
            if remove:
                with suppress(OSError):  # Windows removes no open file: it stays, as an empty file
                    os.unlink(lock.lock_file)
            lock.release()

    @property
    def _lock_folder(self) -> Path:
        return self._path.with_name(f"{self._path.name}-locks")

    def put(self, config: RunnableConfig, checkpoint: Any, metadata: Any, new_versions: Any) -> RunnableConfig:
        """As LangGraph's; a change made outside of a running graph is also synced to disk."""
        stored = super().put(config, checkpoint, metadata, new_versions)
        if metadata.get("source") not in _RUNNING:
            self.flush()
        return stored

    def delete_thread(self, thread_id: str) -> None:
        """As LangGraph's, then synced to disk."""
        super().delete_thread(thread_id)
        self._execute(thread_id, [("DELETE FROM egosrag_list WHERE thread_id = ?", [(thread_id,)])], sync=True)

    def flush(self, session: str = "", summary: Summary | None = None) -> None:
        """See :class:`DurableStore`: a synchronous write syncs everything before it in the write-ahead log too."""
        held = self._held.get(session)
        statements, newest = held.take_deferred([]) if held and held.deferred is not None else ([], "")
        if held and summary:
            statements.append((summaries.SQLITE_STORE, [(session, newest or held.confirmed, *summary)]))
        self._execute(session, statements, sync=True)
        if held and newest:
            held.confirmed = newest

    def _execute(self, session: str, statements: Sequence[Statement], *, sync: bool = False) -> None:
        def execute() -> None:
            with self.cursor() as cursor:
                try:
                    for query, rows in statements:
                        cursor.executemany(query, rows)
                except BaseException:  # LangGraph's cursor commits whatever happens
                    self.conn.rollback()
                    raise
                if sync:  # which syncs what was written before it too
                    self.conn.commit()
                    cursor.execute("PRAGMA synchronous=FULL")
                    cursor.execute(f"PRAGMA application_id={APPLICATION_ID}")
                    cursor.execute("PRAGMA synchronous=NORMAL")

        self._guarded(execute)

    def summaries(self, prefix: str) -> Sequence[tuple[str, Summary | None]]:
        """See :class:`DurableStore`."""
        rows = self._rows(summaries.SQLITE_LIST, prefix)
        return [(row[0], Summary(row[2], row[3], row[4], bool(row[5])) if row[1] else None) for row in rows]

    def store_summaries(self, found: Mapping[str, tuple[str, Summary]]) -> None:
        """See :class:`DurableStore`."""
        rows = [(session, head, *summary) for session, (head, summary) in found.items()]
        self._execute("", [(summaries.SQLITE_STORE, rows), (summaries.SQLITE_DROP, [()])])

    def session_names(self) -> Sequence[str]:
        """See :class:`DurableStore`."""
        return [row[0] for row in self._rows("SELECT DISTINCT thread_id FROM checkpoints")]

    def session_count(self, prefix: str) -> int:
        """See :class:`DurableStore`."""
        query = "SELECT count(DISTINCT thread_id) FROM checkpoints WHERE thread_id >= ? AND thread_id < ?"
        return int(self._rows(query, prefix, prefix + "\x7f")[0][0])

    def head(self, session: str) -> str | None:
        """See :class:`DurableStore`."""
        query = "SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ''"
        return self._rows(query, session)[0][0]  # type: ignore[no-any-return]

    def _size(self, session: str) -> int:
        query = "SELECT count(*) FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ''"
        return int(self._rows(query, session)[0][0])

    def _parents(self, session: str) -> dict[str, str | None]:
        query = "SELECT checkpoint_id, parent_checkpoint_id FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ''"
        return dict(self._rows(query, session))

    def _drop(self, session: str, ids: Sequence[str]) -> None:
        def delete() -> None:
            with self.cursor() as cursor:
                for table in ("writes", "checkpoints"):
                    cursor.executemany(
                        f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_ns = '' AND checkpoint_id = ?",
                        [(session, checkpoint) for checkpoint in ids],
                    )

        self._guarded(delete)

    def _rows(self, query: str, *values: Any) -> list[Any]:
        def read() -> list[Any]:
            with self.cursor(transaction=False) as cursor:
                return cursor.execute(query, values).fetchall()

        return self._guarded(read)

    def _guarded(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except _SQLITE_ERRORS as error:
            with self.lock:  # a transaction whose commit failed stays open and would block other writers
                self.conn.rollback()
            raise StoreUnavailable(
                f"the conversations at {self._path} cannot be read or written ({_one_line(error)}): "
                "check the disk and who uses it"
            ) from error


def _lock_name(session: str) -> str:
    return sha256(session.encode()).hexdigest()[:_LOCK_NAME_LENGTH]


def _is_mounted(path: Path) -> bool:
    """Whether a file is a mount point itself; False where the system has no list of them."""
    try:
        mounts = _MOUNTS.read_bytes().splitlines()
    except OSError:
        return False
    name = b"".join(b"\\%03o" % byte if byte in b" \t\n\\" else bytes([byte]) for byte in os.fsencode(path))
    return any(fields[4:5] == [name] for fields in map(bytes.split, mounts))


def _one_line(error: Exception) -> str:
    """The error's message in one line: SQLite's may quote the content of a damaged file."""
    return " ".join(str(error).split())


def _enable_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switches the file to a write-ahead log (WAL); retries, since SQLite refuses that while another one writes."""
    deadline = time.monotonic() + WRITE_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.02)
