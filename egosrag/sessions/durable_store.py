"""What a durable store adds to LangGraph's checkpointing: exclusive sessions, trimming, format versions.

A session is a thread of checkpoints. The newest one has the whole record: turns, scenes and every sibling of a reply.
Older checkpoints serve two purposes: forks before the last reply, and rebuilding the record from its last snapshot. All
others are dropped from time to time, so that a store grows linearly with the conversation and not quadratically.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig

from egosrag.errors import SessionBusy, SessionError

VERSION = 1  # of the format of a store; a store of a higher version is never written
KEPT_CHECKPOINTS = 40  # at least so many of the current path are kept: about eight lines
TRIM_AT = 120  # number of checkpoints of a session at which old ones are dropped
_DELTA_CHANNELS = ("turns", "scenes")  # channels that are stored as changes, with snapshots in between
T = TypeVar("T")


class DurableStore(ABC):
    """Base of durable checkpointers: a mixin before LangGraph's class, whose calls go through ``_guarded``.

    Concrete classes: ``egosrag.sessions.sqlite.SqliteStore`` and ``egosrag.sessions.postgres.PostgresStore``.
    """

    @abstractmethod
    def close(self) -> None:
        """Closes the connection to the store."""

    @abstractmethod
    def exclusive(self, session: str) -> AbstractContextManager[None]:
        """Context manager in which no other process and no other thread answers in the session.

        Raises:
            SessionBusy: another one is still answering there after ``egosrag.limits.SESSION_TIMEOUT_S`` seconds.
            StoreUnavailable: the store does not answer.
        """

    @abstractmethod
    def session_names(self) -> Sequence[str]:
        """The names of all sessions, in any order."""

    @abstractmethod
    def head(self, session: str) -> str | None:
        """The id of the session's newest checkpoint; None if there is no such session."""

    @abstractmethod
    def _parents(self, session: str) -> dict[str, str | None]:
        """The ids of the session's checkpoints, each with its parent's."""

    @abstractmethod
    def _drop(self, session: str, ids: Sequence[str]) -> None:
        """Deletes checkpoints, with their writes and values."""

    @abstractmethod
    def _guarded(self, call: Callable[[], T]) -> T:
        """The result of ``call``, which may be retried; database errors are raised as errors of ``egosrag.errors``."""

    def flush(self) -> None:  # noqa: B027 - Postgres does so by itself
        """Waits until what was written would survive a power cut.

        Raises:
            StoreUnavailable: the store does not answer.
        """

    def trim(self, session: str) -> None:
        """Drops checkpoints that neither the record nor a fork before the last replies needs.

        Call it while the session is held exclusively.
        """
        parents = self._parents(session)
        if len(parents) < TRIM_AT:
            return
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

    # --- LangGraph's methods, each of which may be retried -----------------------------------------------------------

    def get_tuple(self, config: RunnableConfig) -> Any:
        """As LangGraph's."""
        return self._guarded(lambda: super(DurableStore, self).get_tuple(config))  # type: ignore[misc]

    def list(self, config: RunnableConfig | None, **options: Any) -> Iterator[Any]:
        """As LangGraph's, but read at once: no cursor stays open between two results."""
        return iter(self._guarded(lambda: [*super(DurableStore, self).list(config, **options)]))  # type: ignore[misc]

    def put(self, config: RunnableConfig, checkpoint: Any, metadata: Any, new_versions: Any) -> RunnableConfig:
        """As LangGraph's."""
        put: Callable[..., RunnableConfig] = super().put  # type: ignore[misc]
        return self._guarded(lambda: put(config, checkpoint, metadata, new_versions))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """As LangGraph's."""
        put = super().put_writes  # type: ignore[misc]
        self._guarded(lambda: put(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        """As LangGraph's."""
        delete = super().delete_thread  # type: ignore[misc]
        self._guarded(lambda: delete(thread_id))

    def get_delta_channel_history(self, *, config: RunnableConfig, channels: Sequence[str]) -> Mapping[str, Any]:
        """As LangGraph's."""
        read = super().get_delta_channel_history  # type: ignore[misc]
        return self._guarded(lambda: read(config=config, channels=channels))


def busy(session: str) -> SessionBusy:
    """The error for a session in which another process or thread is answering."""
    return SessionBusy(f"session {session!r} is still answering in another process: wait for its reply")


def too_new(what: str, version: int) -> SessionError:
    """The error for a store whose format is newer than this program."""
    return SessionError(
        f"{what} have version {version}, this program knows {VERSION}: use the newer program; nothing was changed"
    )
