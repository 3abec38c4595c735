"""What a lasting store does beside LangGraph's checkpointing: one process at a time, bounded growth, versions.

A session is one thread of checkpoints, each some steps after its parent. The record in the newest one is whole: turns,
scenes and every sibling of a reply. Older checkpoints are read for two things alone: to fork before the last reply, and
to rebuild the record from where it last stood whole. So those beyond are dropped now and then, and a store grows with
the conversation's length and not with its square.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig

from egosrag.errors import SessionBusy, SessionError

VERSION = 1  # of what a store holds; one with a higher number is never written
KEPT = 40  # checkpoints of the path that stay at least: some eight lines
_TRIMMED_AT = 120  # checkpoints of a session from which on the old ones are dropped
_WHOLE = ("turns", "scenes")  # the channels that are kept as changes
T = TypeVar("T")


class Keeper(ABC):
    """A checkpointer that lasts; mixed in before LangGraph's class, whose calls go through ``_kept``."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of the store."""

    @abstractmethod
    def alone(self, session: str) -> AbstractContextManager[None]:
        """While it is open no other process, and nothing else in this one, answers in the session.

        Raises:
            SessionBusy: somebody answers there, and still did after ``egosrag.limits.SESSION_TIMEOUT_S``.
            StoreAway: the store does not answer.
        """

    @abstractmethod
    def names(self) -> Sequence[str]:
        """The sessions' names, in any order."""

    @abstractmethod
    def _parents(self, session: str) -> dict[str, str | None]:
        """The session's checkpoints with their parents."""

    @abstractmethod
    def _drop(self, session: str, ids: Sequence[str]) -> None:
        """Takes checkpoints out, with all that belongs to them."""

    @abstractmethod
    def _kept(self, call: Callable[[], T]) -> T:
        """What ``call`` gives; it may be repeated, and what it raises becomes an error of ours."""

    def flush(self) -> None:  # noqa: B027 - Postgres does so by itself
        """After it a power cut takes nothing of what was written before it.

        Raises:
            StoreAway: the store does not answer.
        """

    def trim(self, session: str) -> None:
        """Drops what neither the record nor the way back to the last replies needs any more.

        Call it while the session is held alone.
        """
        parents = self._parents(session)
        if len(parents) < _TRIMMED_AT:
            return
        kept, missing, at = set[str](), set(_WHOLE), max(parents)
        while at in parents and (len(kept) < KEPT or missing):
            kept.add(at)
            if len(kept) >= KEPT:
                missing -= self._whole_at(session, at)
            at = parents[at] or ""
        if not missing:
            self._drop(session, sorted(set(parents) - kept))

    def _whole_at(self, session: str, checkpoint: str) -> set[str]:
        config: RunnableConfig = {
            "configurable": {"thread_id": session, "checkpoint_ns": "", "checkpoint_id": checkpoint}
        }
        found = self.get_tuple(config)
        return set(found.checkpoint["channel_values"]) & set(_WHOLE) if found else set()

    # --- LangGraph's calls, each of which may be repeated ------------------------------------------------------------

    def get_tuple(self, config: RunnableConfig) -> Any:
        """As LangGraph's."""
        return self._kept(lambda: super(Keeper, self).get_tuple(config))  # type: ignore[misc]

    def list(self, config: RunnableConfig | None, **chosen: Any) -> Iterator[Any]:
        """As LangGraph's, read at once: nothing is held while the caller thinks."""
        return iter(self._kept(lambda: [*super(Keeper, self).list(config, **chosen)]))  # type: ignore[misc]

    def put(self, config: RunnableConfig, checkpoint: Any, metadata: Any, new_versions: Any) -> RunnableConfig:
        """As LangGraph's."""
        put: Callable[..., RunnableConfig] = super().put  # type: ignore[misc]
        return self._kept(lambda: put(config, checkpoint, metadata, new_versions))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """As LangGraph's."""
        put = super().put_writes  # type: ignore[misc]
        self._kept(lambda: put(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        """As LangGraph's."""
        delete = super().delete_thread  # type: ignore[misc]
        self._kept(lambda: delete(thread_id))

    def get_delta_channel_history(self, *, config: RunnableConfig, channels: Sequence[str]) -> Mapping[str, Any]:
        """As LangGraph's."""
        read = super().get_delta_channel_history  # type: ignore[misc]
        return self._kept(lambda: read(config=config, channels=channels))


def busy(session: str) -> SessionBusy:
    """The error of a session in which somebody else answers."""
    return SessionBusy(f"session {session!r} is still answering in another process: wait for its reply")


def too_new(what: str, version: int) -> SessionError:
    """The error of a store that a newer program wrote."""
    return SessionError(
        f"{what} have version {version}, this program knows {VERSION}: use the newer program; nothing was changed"
    )
