"""One session in its store: a LangGraph thread, read once per turn, written by runs of the graph, repaired after kills.

The values of the last checkpoint are kept in memory, so that a turn reads the store once: LangGraph's own read at the
beginning of a run. They are read again when another process has continued the session, and after a failure.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Overwrite

from egosrag.egos.pipeline import Pipeline, TurnContext
from egosrag.egos.state import State
from egosrag.errors import SessionError
from egosrag.schema import Reply, Timing
from egosrag.sessions.durable_store import check_session_name, damaged
from egosrag.sessions.records import KnownTurns, Record, settled
from egosrag.sessions.store import (
    MemoryStore,
    deferring,
    exclusive,
    flush,
    head_of,
    remember,
    save_partial,
    saved_partial,
    write_deferred,
)

SAVE_EVERY_S = 0.5  # a reply is saved this often while it is generated, in case the process is killed
# Steps before which nothing new has to be stored: the next checkpoint has the line too, and a reply is saved.
_QUICK = {"__start__", "Generate", "Append"}
_FORK_DEPTH = 12  # checkpoints to look back through for the one before the last reply


class _Head(NamedTuple):
    """The head checkpoint: its id, its values, and whether a process died while writing its successor.

    LangGraph shows such half-written values in the state, but a new line would begin without them.
    """

    id: str | None
    values: dict[str, Any]
    half_written: bool


class SessionThread:
    """The stored state of one session.

    Args:
        session: its name; never used as a path.
        checkpointer: the store; in memory by default.
        pipeline: the steps that run over it.

    Raises:
        SessionError: the name is empty.
    """

    def __init__(self, session: str, checkpointer: BaseCheckpointSaver[Any] | None, pipeline: Pipeline) -> None:
        if not session.strip():
            raise SessionError("the session's name is empty: name it, or leave the name out for a new one")
        check_session_name(session)
        self.session = session
        self.store = checkpointer or MemoryStore()
        self.config: RunnableConfig = {"configurable": {"thread_id": session}, "run_name": "EGOS"}
        self.graph = pipeline.graph(self.store)
        self._answering = threading.Lock()
        self._cached: _Head | None = None
        self._turns = KnownTurns()

    def values(self) -> dict[str, Any]:
        """The stored values; an interrupted reply is completed as :meth:`settle` would store it."""
        return self._settled(self._read().values)

    def record(self) -> Record:
        """The turns, the scenes and the siblings of regenerated replies."""
        return self.record_of(self.values())

    def record_of(self, values: Mapping[str, Any]) -> Record:
        """The record in stored values of this session; turns that were read before are not validated again."""
        return Record.of(values, self._turns)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Context manager in which nobody else answers in the session; interrupted replies are settled first.

        Raises:
            SessionError: this object is still answering.
            SessionBusy: another process is.
        """
        if not self._answering.acquire(blocking=False):
            raise SessionError(f"session {self.session!r} is still answering: wait for its reply, or close it")
        try:
            with exclusive(self.store, self.session):
                self.settle()
                yield
        finally:
            self._answering.release()

    def run(self, update: State, turn: TurnContext, config: RunnableConfig) -> Iterator[str | Reply]:
        """Runs the graph: streams the text, then the reply. The text so far is kept if the run is interrupted.

        Args:
            update: the input of the run.
            turn: the working data of the run.
            config: where the thread continues.
        """
        started, first_token_s, text = time.perf_counter(), None, ""
        saved_at, saves = started, 0
        head: RunnableConfig | None = None
        self._cached = None
        stream = cast(
            "Generator[tuple[str, Any]]",
            self.graph.stream(update, config, context=turn, stream_mode=["custom", "checkpoints"], durability="sync"),
        )
        try:
            with deferring(self.store, self.session):
                for mode, event in stream:
                    if mode == "checkpoints":
                        head, values = event["config"], event["values"]
                        if event["next"] and not _QUICK.issuperset(event["next"]):
                            write_deferred(self.store, self.session)
                        continue
                    first_token_s = first_token_s or time.perf_counter() - started
                    text += event
                    if head and time.perf_counter() - saved_at >= SAVE_EVERY_S:
                        saved_at, saves = time.perf_counter(), saves + 1
                        save_partial(self.store, head, text, saves)
                    yield event
                assert head is not None
                flush(self.store, self.session, values)  # a reply is on disk before it is returned
        except BaseException:  # closed by the caller, Ctrl-C or a failing model: keep the text so far
            turn.stop.set()
            stream.close()
            self.settle(text)
            raise
        self._keep(_Head(head["configurable"]["checkpoint_id"], dict(values), half_written=False))
        timing = Timing(first_token_s=first_token_s, total_s=time.perf_counter() - started)
        yield Reply.model_validate(values["reply"]).model_copy(update={"timing": timing})

    def settle(self, text: str = "") -> None:
        """Stores an interrupted reply as it is, whether this process or one that was killed generated it.

        Args:
            text: the reply so far; if empty, what the killed process saved of it.
        """
        head = self._read()
        values = self._settled(head.values, text)
        if values != head.values or head.half_written:
            self.write(values)

    def write(self, values: Mapping[str, Any]) -> None:
        """Stores a changed record as a new checkpoint, without running a step."""
        update: Any = {
            "name": values["name"],
            "turns": Overwrite(values["turns"]),
            "scenes": Overwrite(values.get("scenes", [])),
            "swipes": values.get("swipes", []),
            "pending": values["pending"],
        }
        if values.get("seed"):
            update["seed"] = values["seed"]
        self._cached = None
        # "Summarize" is only the node that the graph continues from as if it had written this.
        self.graph.update_state(self.config, update, as_node="Summarize")

    def put(self, update: State) -> None:
        """Stores settings of the session, such as its author's note, without running a step."""
        self._cached = None
        self.graph.update_state(self.config, update, as_node="Summarize")

    def before_reply_to(self, turn_id: str) -> RunnableConfig:
        """The checkpoint before the reply to a turn, where a fork begins; for older turns, the thread's end.

        The whole state is written in both cases, so that later edits are in every branch.
        """
        for state in self.graph.get_state_history(self.config, limit=_FORK_DEPTH):
            turns = state.values.get("turns")
            if state.next == ("Organize",) and turns and turns[-1]["id"] == turn_id:
                at = {k: v for k, v in state.config["configurable"].items() if k.startswith("checkpoint")}
                return {**self.config, "configurable": {**self.config["configurable"], **at}}
        return self.config

    def _settled(self, values: dict[str, Any], text: str = "") -> dict[str, Any]:
        if not values.get("pending"):
            return dict(values)
        return settled(values, text or saved_partial(self.store, self.config))

    def _read(self) -> _Head:
        """The head checkpoint: from memory, unless another process has continued the session."""
        if self._cached is not None and self._cached.id == head_of(self.store, self.session):
            return self._cached
        try:
            state = self.graph.get_state(self.config)
        except (TypeError, ValueError, LookupError, AttributeError) as error:  # rows that we did not write
            raise damaged(error) from error
        found = self.store.get_tuple(self.config)
        writes = (found.pending_writes or ()) if found else ()
        half_written = any(channel in ("turns", "pending") for _, channel, _ in writes)
        head = state.config["configurable"].get("checkpoint_id")
        return self._keep(_Head(head, dict(state.values), half_written))

    def _keep(self, head: _Head) -> _Head:
        self._cached = head
        if head.id and not head.half_written:
            remember(self.store, self.session, head.id, head.values)
        return head
