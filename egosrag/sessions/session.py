"""A session: one thread of LangGraph's store, what it holds, and a run of the graph over it.

What is broken off, by the caller, by a failing model or by a kill, stays in the record with all that was said.
"""

from __future__ import annotations

import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Overwrite

from egosrag.errors import SessionError
from egosrag.schema import Reply, Timing
from egosrag.sessions.records import Record
from egosrag.sessions.state import State, record_of, settled
from egosrag.sessions.store import alone, damaged, flush, keep_said, said_of, serializer

KEEP_EVERY_S = 0.5  # what is said of a reply is kept this often while it is said, for the case of a kill


class Session(ABC):
    """The thread that a conversation lives in.

    Args:
        session: its name; never used as a path.
        checkpointer: the store; in memory by default.

    Raises:
        SessionError: the name is empty, or the session is one with somebody else.
    """

    def __init__(self, session: str, checkpointer: BaseCheckpointSaver[Any] | None) -> None:
        if not session.strip():
            raise SessionError("the session's name is empty: name it, or leave the name out for a new one")
        self.session = session
        self._store = checkpointer or InMemorySaver(serde=serializer())
        self._stopped = threading.Event()
        self._speaking = threading.Lock()
        self._config: RunnableConfig = {"configurable": {"thread_id": session}, "run_name": "EGOS"}
        self.graph = self._built(self._store)
        before = self._values().get("name", self.name)
        if before != self.name:
            raise SessionError(
                f"session {session!r} is one with {before}, not with {self.name}: give another session's name"
            )

    @property
    @abstractmethod
    def name(self) -> str:
        """Whom the session is with."""

    @abstractmethod
    def _built(self, checkpointer: BaseCheckpointSaver[Any]) -> CompiledStateGraph[State]: ...

    @property
    def record(self) -> Record:
        """The turns, the scenes and the siblings of regenerated replies."""
        return record_of(self._values())

    def _answered(self, asked: Callable[[], tuple[State, RunnableConfig]]) -> Iterator[str | Reply]:
        """The pieces and the reply of one run of the graph; ``asked`` gives its input and where it begins."""
        with self._alone():
            self._settle()
            yield from self._streamed(*asked())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._speaking.acquire(blocking=False):
            raise SessionError(f"session {self.session!r} is still answering: wait for its reply, or close it")
        try:
            with alone(self._store, self.session):
                yield
        finally:
            self._speaking.release()

    def _streamed(self, update: State, config: RunnableConfig) -> Iterator[str | Reply]:
        started, first_s, said = time.perf_counter(), None, ""
        kept_at, kept = started, 0
        self._stopped.clear()
        stream = self.graph.stream(update, config, stream_mode="custom", durability="sync")
        pieces = cast("Generator[str]", stream)
        try:
            for piece in pieces:
                first_s = first_s or time.perf_counter() - started
                said += piece
                if time.perf_counter() - kept_at >= KEEP_EVERY_S:
                    kept_at, kept = time.perf_counter(), kept + 1
                    keep_said(self._store, self._config, said, kept)
                yield piece
        except BaseException:  # closed by the caller, Ctrl-C or a failing model: keep what was said
            self._stopped.set()
            pieces.close()
            self._settle(said)
            raise
        flush(self._store)  # who has the reply keeps it
        timing = Timing(first_token_s=first_s, total_s=time.perf_counter() - started)
        yield Reply.model_validate(self._values()["reply"]).model_copy(update={"timing": timing})

    def _asking(self, update: State, speaker: str) -> State:
        """``update``, and that ``speaker`` is to give the reply."""
        return {**update, "name": self.name, "pending": True, "answer": uuid.uuid4().hex, "speaker": speaker}

    def _settle(self, said: str = "") -> None:
        """Writes into the record what became of a reply that was broken off, here or in a process that was killed."""
        stored = self._stored()
        values = self._after(stored, said)
        if values != stored or self._half_written():
            self._write(values)

    def _half_written(self) -> bool:
        """Whether a process died between what a step wrote and the checkpoint that holds it.

        LangGraph shows such writes in the state, but a new line would begin without them.
        """
        found = self._store.get_tuple(self._config)
        written = (found.pending_writes or ()) if found else ()
        return any(channel in ("turns", "pending") for _, channel, _ in written)

    def _write(self, values: Mapping[str, Any]) -> None:
        update: Any = {
            "name": values["name"],
            "turns": Overwrite(values["turns"]),
            "scenes": Overwrite(values.get("scenes", [])),
            "swipes": values.get("swipes", []),
            "pending": values["pending"],
        }
        # No step runs: "Summarize" is only the node that the graph goes on from as if it had written this.
        self.graph.update_state(self._config, update, as_node="Summarize")

    def _values(self) -> dict[str, Any]:
        return self._after(self._stored())

    def _stored(self) -> dict[str, Any]:
        try:
            return dict(self.graph.get_state(self._config).values)
        except (TypeError, ValueError, LookupError, AttributeError) as error:  # rows that are none of ours
            raise damaged(error) from error

    def _after(self, stored: dict[str, Any], said: str = "") -> dict[str, Any]:
        return settled(stored, said or said_of(self._store, self._config)) if stored.get("pending") else stored
