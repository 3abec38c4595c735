"""The report's figure 5 as a LangGraph graph: Extract -> Organize -> Generate -> Append -> Summarize.

The state is plain data, and a checkpoint of it is stored before each step, so that a line that was accepted is never
lost. The working data of one run (the conversation as an object, the composed prompt) is its ``TurnContext``: made once
per turn, passed from step to step, never stored.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypedDict, cast

from langchain_core.runnables import Runnable
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.config import get_config, get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from egosrag.egos.extract.dynamic import Lookup
from egosrag.egos.generate import Generate
from egosrag.egos.memory import Memory
from egosrag.egos.organize import Organize
from egosrag.egos.view import Composed, ConversationView
from egosrag.errors import ModelError
from egosrag.schema import Reply, Role, Turn

Rows = list[dict[str, Any]]
Sources = Sequence[tuple[str, str]]


def upsert_turns(old: Rows, writes: Sequence[Rows]) -> Rows:
    """The turns with those of each write appended; a turn with the id of an earlier one replaces that one."""
    turns = {turn["id"]: turn for turn in old}
    for new in writes:
        turns |= {turn["id"]: turn for turn in new}
    return list(turns.values())


def append_rows(old: Rows, writes: Sequence[Rows]) -> Rows:
    """The rows with those of each write appended."""
    return [*old, *(row for new in writes for row in new)]


# Checkpoints store changes, and a snapshot of the whole list every so many changes: with the whole lists in each of the
# five checkpoints of a line, the store grew quadratically with the conversation.
_SNAPSHOT_EVERY = 10


class State(TypedDict, total=False):
    """What a session stores, as plain data."""

    name: str  # the role's name, or the names of all roles
    role: dict[str, Any]  # the card, where the session made or imported it
    turns: Annotated[Rows, DeltaChannel(upsert_turns, snapshot_frequency=_SNAPSHOT_EVERY)]
    # Written at every line, even when nothing is new: the changes since the last snapshot are read back.
    scenes: Annotated[Rows, DeltaChannel(append_rows, snapshot_frequency=_SNAPSHOT_EVERY // 2)]
    first: str  # the id of the first turn that is still in the prompt, where turns were evicted
    swipes: list[dict[str, Any]]  # the siblings of regenerated replies, see egosrag.sessions.records
    pending: bool  # the last turn waits for its reply
    answer: str  # the id that the reply will have
    speaker: str  # the role that gives the reply
    reply: dict[str, Any]


@dataclass
class TurnContext:
    """The working data of one run of the graph; never stored.

    Attributes:
        view: the conversation, which each step replaces by its new version.
        sampling: settings of the model for this reply alone.
        stop: set to end the reply at its next chunk.
        composed: the prompt of the reply.
        shrunk: whether turns were already summarized or evicted for this line.
    """

    view: ConversationView
    sampling: Mapping[str, Any] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    composed: Composed | None = None
    shrunk: bool = False


Context = Runtime[TurnContext]


class Pipeline:
    """The steps of a conversation as the nodes of one graph.

    Args:
        organize: composes the prompt.
        generate: generates the reply.
        memory: decides what the prompt shows of past turns.
        extract: makes the card of ``sources`` at the first line (static Extract).
        sources: (name, text) pairs for ``extract``.
        lookup: searches the role's sources for every line (dynamic Extract).
    """

    def __init__(
        self,
        organize: Organize,
        generate: Generate,
        memory: Memory,
        *,
        extract: Runnable[tuple[Sources, str], Role] | None = None,
        sources: Sources = (),
        lookup: Lookup | None = None,
    ) -> None:
        self.organize = organize
        self.generate = generate
        self.memory = memory
        self.extract = extract
        self.sources = sources
        self.lookup = lookup

    def graph(self, checkpointer: BaseCheckpointSaver[Any]) -> CompiledStateGraph[State, TurnContext]:
        """The graph of one line, over a store."""
        graph = StateGraph(State, context_schema=TurnContext)
        graph.add_node("Organize", self._organize)
        graph.add_node("Generate", self._generate)
        graph.add_node("Append", self._append)
        graph.add_node("Summarize", self._summarize)
        if self.extract or self.lookup:
            graph.add_node("Extract", self._extract)
            graph.add_conditional_edges(START, self._first_step, ["Extract", "Organize"])
            graph.add_edge("Extract", "Organize")
        else:
            graph.add_edge(START, "Organize")
        graph.add_conditional_edges("Organize", self._after_organize, ["Generate", "Summarize"])
        graph.add_edge("Generate", "Append")
        graph.add_conditional_edges("Append", self._after_append, ["Summarize", END])
        graph.add_conditional_edges("Summarize", self._after_summarize, ["Organize", END])
        return graph.compile(checkpointer=checkpointer, name="EGOS")

    # --- the nodes ---------------------------------------------------------------------------------------------------

    def _extract(self, state: State, *, runtime: Context) -> State:
        turn, config = runtime.context, get_config()
        if self.lookup:
            turn.view = replace(turn.view, source_hits=self.lookup.run(turn.view, config))
            return {}
        assert self.extract is not None
        role = self.extract.invoke((self.sources, turn.view.role.name), config)
        turn.view = replace(turn.view, role=role)
        return {"role": role.model_dump(mode="json")}

    def _organize(self, state: State, *, runtime: Context) -> State:
        turn, config = runtime.context, get_config()
        if turn.shrunk or not self.memory.must_shrink(turn.view):
            turn.composed = self.organize.run(self.memory.recall_for_line(turn.view, config), config)
        return {}

    def _generate(self, state: State, *, runtime: Context) -> State:
        turn, config = runtime.context, get_config()
        assert turn.composed is not None
        write = get_stream_writer()
        with closing(self.generate.pieces(turn.composed, config, **turn.sampling)) as pieces:
            for piece in pieces:
                if isinstance(piece, Reply):
                    return {"reply": piece.model_dump()}
                write(piece)
                if turn.stop.is_set():
                    break
        raise ModelError("the reply was stopped")

    def _append(self, state: State, *, runtime: Context) -> State:
        reply = Reply.model_validate(state["reply"])
        # An empty speech stays in the record; the prompt leaves it out.
        status: Literal["complete", "interrupted"] = "complete" if reply.text else "interrupted"
        turn = Turn(speaker=reply.speaker, text=reply.text, id=state["answer"], status=status, at=now())
        runtime.context.view = runtime.context.view.with_turn(turn)
        return {"turns": [turn.model_dump()], "scenes": [], "pending": False}

    def _summarize(self, state: State, *, runtime: Context) -> State:
        turn, config = runtime.context, get_config()
        turn.view, stored = self.memory.shrink(turn.view, config)
        turn.shrunk = True
        return cast("State", stored)

    # --- the edges ---------------------------------------------------------------------------------------------------

    def _first_step(self, state: State) -> str:
        return "Extract" if self.lookup or not state.get("role") else "Organize"

    def _after_organize(self, state: State, runtime: Context) -> str:
        return "Generate" if runtime.context.composed else "Summarize"

    def _after_append(self, state: State, runtime: Context) -> str:
        return "Summarize" if self.memory.should_shrink(runtime.context.view) else END

    def _after_summarize(self, state: State) -> str:
        return "Organize" if state.get("pending") else END


def now() -> str:
    """The current time as a turn's ``at``: ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
