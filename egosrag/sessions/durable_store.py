"""What a durable store adds to LangGraph's checkpointing: exclusive sessions, trimming, format versions.

A session is a thread of checkpoints. The newest one has the whole record: turns, scenes and every sibling of a reply.
Older checkpoints serve two purposes: forks before the last reply, and rebuilding the record from its last snapshot. All
others are dropped from time to time, so that a store grows linearly with the conversation and not quadratically.

Checkpoints are ordered by their ids. LangGraph makes an id of the clock, which may step back, or be behind the clock of
another process; so a checkpoint whose id would not be the greatest of its session is stored under one that is. It gets
that one when its own is first seen, which may be before it is stored: LangGraph stores what a step wrote while it still
stores the checkpoint that the step began from.

What LangGraph stores in the steps of one reply is written together: with the line before anything takes long, and with
the reply. A table of our own beside LangGraph's has what lists show of each session. A row is valid for the checkpoint
that it names; whatever wrote another one, a former version of this program too, the session is read again.

When a snapshot of a store is restored, its sessions continue from what the snapshot holds: processes that have read
more than that notice it by the newest id, read the session again, and refuse to store a reply that they had begun
before.
"""

from __future__ import annotations

import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig

from egosrag.errors import SessionBusy, SessionError
from egosrag.sessions.deferred_writes import Statement, collecting
from egosrag.sessions.known_values import KnownValues
from egosrag.sessions.summaries import Summary
from egosrag.text.encoding import is_text, without_surrogates

VERSION = 1  # of the format of a store; a store of a higher version is never written
KEPT_CHECKPOINTS = 40  # at least so many of the current path are kept: about eight lines
TRIM_AT = 120  # number of checkpoints of a session at which old ones are dropped
_DELTA_CHANNELS = ("turns", "scenes")  # channels that are stored as changes, with snapshots in between
T = TypeVar("T")


@dataclass
class HeldSession:
    """The order of the checkpoints of a session that this process holds exclusively.

    Attributes:
        confirmed: the id of the newest checkpoint that is stored for certain; empty for none.
        newest: the greatest id that was given, also to a checkpoint whose write was not confirmed.
        stored: the id under which a checkpoint is stored, by LangGraph's id of it; also of those that were read.
        deferred: what is still to be written, together; None: everything is written at once.
        waiting: the id of the newest checkpoint in it; empty for none.
    """

    confirmed: str
    newest: str
    stored: dict[str, str] = field(default_factory=dict)
    deferred: list[Statement] | None = None
    waiting: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)  # LangGraph stores from several threads
    _deferring: threading.Lock = field(default_factory=threading.Lock)

    def seen(self, checkpoint: str) -> None:
        """Notes the id of a checkpoint that was read from the store."""
        with self._lock:
            self.stored.setdefault(checkpoint, checkpoint)

    def stored_id(self, checkpoint: str) -> str:
        """The id under which a checkpoint is stored; a new checkpoint's is the greatest so far."""
        with self._lock:
            if checkpoint not in self.stored:
                self.newest = checkpoint if checkpoint > self.newest else id_after(self.newest, checkpoint)
                self.stored[checkpoint] = self.stored[self.newest] = self.newest
            return self.stored[checkpoint]

    @contextmanager
    def collecting(self) -> Iterator[bool]:
        """Context manager in which the statements of this thread are deferred, if the session's are; says whether.

        What is collected is taken as a whole: otherwise a step that is stored in the background while another thread
        writes what waits would be lost.
        """
        with self._deferring:
            if self.deferred is not None:
                with collecting(self.deferred):
                    yield True
                return
        yield False

    def take_deferred(self, then: list[Statement] | None) -> tuple[list[Statement], str]:
        """What waits to be written, and the id of the newest checkpoint in it.

        Args:
            then: where what comes next is collected; None: it is written at once.
        """
        with self._deferring:
            statements, newest = self.deferred or [], self.waiting
            self.deferred, self.waiting = then, ""
            return statements, newest


class DurableStore(KnownValues, ABC):
    """Base of durable checkpointers: a mixin before LangGraph's class, whose calls go through ``_guarded``.

    Concrete classes: ``egosrag.sessions.sqlite.SqliteStore`` and ``egosrag.sessions.postgres.PostgresStore``.
    """

    _held: dict[str, HeldSession]  # the sessions that this store object holds exclusively

    @abstractmethod
    def close(self) -> None:
        """Closes the connection to the store."""

    @contextmanager
    def exclusive(self, session: str) -> Iterator[None]:
        """Context manager in which no other process and no other thread answers in the session.

        Raises:
            SessionBusy: another one is still answering there after ``egosrag.limits.SESSION_TIMEOUT_S`` seconds.
            StoreUnavailable: the store does not answer.
        """
        with self._session_lock(session) as newest:
            self._held[session] = HeldSession(newest, newest, {newest: newest})
            try:
                yield
            finally:
                del self._held[session]

    @abstractmethod
    def _session_lock(self, session: str) -> AbstractContextManager[str]:
        """The lock of ``exclusive``; its value is the id of the session's newest checkpoint, or empty."""

    @abstractmethod
    def session_names(self) -> Sequence[str]:
        """The names of all sessions, in any order."""

    @abstractmethod
    def session_count(self, prefix: str) -> int:
        """The number of sessions whose names begin with ``prefix``, in ASCII."""

    @abstractmethod
    def head(self, session: str) -> str | None:
        """The id of the session's newest checkpoint; None if there is no such session."""

    @abstractmethod
    def _size(self, session: str) -> int:
        """The number of the session's checkpoints."""

    @abstractmethod
    def _parents(self, session: str) -> dict[str, str | None]:
        """The ids of the session's checkpoints, each with its parent's."""

    @abstractmethod
    def _drop(self, session: str, ids: Sequence[str]) -> None:
        """Deletes checkpoints, with their writes and values."""

    @abstractmethod
    def _guarded(self, call: Callable[[], T]) -> T:
        """The result of ``call``, which may be retried; database errors are raised as errors of ``egosrag.errors``."""

    @contextmanager
    def deferring(self, session: str) -> Iterator[None]:
        """Context manager in which writes to a session that is held exclusively wait for ``write_deferred``.

        So they do until ``flush``, the end of the context, or until the session is read through this object.
        """
        held = self._held.get(session)
        if held:
            held.take_deferred([])
        try:
            yield
        finally:
            if held:
                self._write(session, *held.take_deferred(None))

    def write_deferred(self, session: str, more: Sequence[Statement] = ()) -> None:
        """Writes what waits, in one transaction; of several calls at once, each statement is written by one.

        Args:
            session: that is written.
            more: what is written with it.

        Raises:
            StoreUnavailable: the store does not answer; nothing of it was written.
        """
        held = self._held.get(session)
        waiting, newest = held.take_deferred([]) if held and held.deferred is not None else ([], "")
        self._write(session, [*waiting, *more], newest)

    def _write(self, session: str, statements: Sequence[Statement], newest: str) -> None:
        if statements:
            self._execute(session, statements)
        if newest and (held := self._held.get(session)):
            held.confirmed = newest

    @abstractmethod
    def _execute(self, session: str, statements: Sequence[Statement]) -> None:
        """Executes statements in one transaction."""

    @abstractmethod
    def flush(self, session: str = "", summary: Summary | None = None) -> None:
        """Waits until what was written would survive a power cut.

        Args:
            session: whose deferred writes are written too.
            summary: what lists show of it from now on.

        Raises:
            StoreUnavailable: the store does not answer.
        """

    @abstractmethod
    def summaries(self, prefix: str) -> Sequence[tuple[str, Summary | None]]:
        """The sessions whose names begin with ``prefix``, in any order; None where a session has to be read."""

    @abstractmethod
    def store_summaries(self, found: Mapping[str, tuple[str, Summary]]) -> None:
        """Stores what lists show of sessions, each with the id of its newest checkpoint."""

    def trim(self, session: str) -> None:
        """Drops checkpoints that neither the record nor a fork before the last replies needs.

        Call it while the session is held exclusively.
        """
        if self._size(session) < TRIM_AT:
            return
        parents = self._parents(session)
        kept, missing, at = set[str](), set(_DELTA_CHANNELS), max(parents)
        while at in parents and (len(kept) < KEPT_CHECKPOINTS or missing):
            kept.add(at)
            if len(kept) >= KEPT_CHECKPOINTS:
                missing -= self._snapshots_at(session, at)
            at = parents[at] or ""
        if not missing:
            self._drop(session, sorted(set(parents) - kept))

    def _snapshots_at(self, session: str, checkpoint: str) -> set[str]:
        config: RunnableConfig = {
            "configurable": {"thread_id": session, "checkpoint_ns": "", "checkpoint_id": checkpoint}
        }
        found = self.get_tuple(config)
        return set(found.checkpoint["channel_values"]) & set(_DELTA_CHANNELS) if found else set()

    def _stored(self, config: RunnableConfig, *, writing: bool = False) -> RunnableConfig:
        """The config with the id under which its checkpoint is stored, which may be another than LangGraph's."""
        place = config["configurable"]
        held, checkpoint = self._held.get(place.get("thread_id", "")), place.get("checkpoint_id")
        if not held or not checkpoint:
            return config
        stored = held.stored_id(checkpoint) if writing else held.stored.get(checkpoint, checkpoint)
        return {**config, "configurable": {**place, "checkpoint_id": stored}}

    def _seen(self, found: Any) -> Any:
        """What was read, after its id was noted."""
        place = found.config["configurable"] if found else {}
        if held := self._held.get(place.get("thread_id", "")):
            held.seen(place["checkpoint_id"])
        return found

    # --- LangGraph's methods, each of which may be retried -----------------------------------------------------------

    def get_tuple(self, config: RunnableConfig) -> Any:
        """As LangGraph's."""
        self.write_deferred(config["configurable"]["thread_id"])
        stored = self._stored(config)
        return self._seen(self._guarded(lambda: super(DurableStore, self).get_tuple(stored)))  # type: ignore[misc]

    def list(self, config: RunnableConfig | None, **options: Any) -> Iterator[Any]:
        """As LangGraph's, but read at once: no cursor stays open between two results."""
        for session in list(self._held):
            self.write_deferred(session)
        found = self._guarded(lambda: [*super(DurableStore, self).list(config, **options)])  # type: ignore[misc]
        return map(self._seen, found)

    def put(self, config: RunnableConfig, checkpoint: Any, metadata: Any, new_versions: Any) -> RunnableConfig:
        """As LangGraph's, but the new checkpoint becomes the session's newest one whatever the clock says."""
        put: Callable[..., RunnableConfig] = super().put  # type: ignore[misc]
        held = self._held.get(config["configurable"]["thread_id"])
        stored = self._stored(config)
        if held:
            checkpoint = {**checkpoint, "id": held.stored_id(checkpoint["id"])}
        with held.collecting() if held else nullcontext(False) as deferred:
            done = self._guarded(lambda: put(stored, checkpoint, metadata, new_versions))
            if held and deferred:
                held.waiting = checkpoint["id"]
            elif held:
                held.confirmed = checkpoint["id"]
        return done

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """As LangGraph's; its checkpoint may be stored later."""
        put = super().put_writes  # type: ignore[misc]
        stored = self._stored(config, writing=True)
        held = self._held.get(config["configurable"]["thread_id"])
        with held.collecting() if held else nullcontext():
            self._guarded(lambda: put(stored, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        """As LangGraph's."""
        delete = super().delete_thread  # type: ignore[misc]
        self._guarded(lambda: delete(thread_id))

    def get_delta_channel_history(self, *, config: RunnableConfig, channels: Sequence[str]) -> Mapping[str, Any]:
        """As LangGraph's."""
        read, stored = super().get_delta_channel_history, self._stored(config)
        return self._guarded(lambda: read(config=stored, channels=channels))


def id_after(newest: str, other: str) -> str:
    """A checkpoint id, a UUID of version 6, that is ordered right after ``newest``.

    Args:
        newest: a checkpoint's id.
        other: another one, from which the random part is taken.

    Raises:
        SessionError: ``newest`` is no such id.
    """
    try:
        number = uuid.UUID(newest).int
        # 48 bits of the time, 4 of the version, 12 more of the time, 64 of the sequence and the node.
        time = ((number >> 80) << 12 | (number >> 64 & 0xFFF)) + 1
        high = (time >> 12) << 80 | 6 << 76 | (time & 0xFFF) << 64
        return str(uuid.UUID(int=high | uuid.UUID(other).int & (1 << 64) - 1))
    except ValueError as error:  # also for a time that has no successor
        raise damaged(error) from error


def check_session_name(session: str) -> None:
    """Check that a new session's name can be stored.

    Raises:
        SessionError: it has half of a character, or bytes of a command line that are not UTF-8, or a zero byte.
    """
    if "\0" in session or not is_text(session):
        shown = without_surrogates(session).replace("\0", "\ufffd")
        raise SessionError(f"the session's name {shown!r} has characters that cannot be stored: choose another one")


def damaged(error: Exception) -> SessionError:
    """The error for a store with content that this program did not write."""
    kind = type(error).__name__
    return SessionError(f"the session is damaged in its store ({kind}): restore a backup, or begin another session")


def busy(session: str) -> SessionBusy:
    """The error for a session in which another process or thread is answering."""
    return SessionBusy(f"session {session!r} is still answering in another process: wait for its reply")


def too_new(what: str, version: int) -> SessionError:
    """The error for a store whose format is newer than this program."""
    return SessionError(
        f"{what} have version {version}, this program knows {VERSION}: use the newer program; nothing was changed"
    )
