"""The report's figure 5 as a LangGraph graph: Extract -> Organize -> Generate -> Append -> Summarize.

The state is plain data, and a checkpoint of it is stored before each step, so that a line that was accepted is never
lost. The working data of one run (the conversation as an object, the composed prompt) is its ``TurnContext``: made once
per turn, passed from step to step, never stored.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, Literal, cast

from langchain_core.runnables import Runnable
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.config import get_config, get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from egosrag.caller import Cancelled
from egosrag.egos.cache_use import cache_use, fingerprint, in_blocks
from egosrag.egos.extract.dynamic import Lookup, Search, raw_sources
from egosrag.egos.generate import Generate
from egosrag.egos.memory import Kind, Memory, Recall, TurnSearch
from egosrag.egos.organize import History, Organize
from egosrag.egos.reviser import Reviser
from egosrag.egos.state import State, now
from egosrag.egos.step import Count, cached_count
from egosrag.egos.summarize import KEEP_TURNS, Summarize
from egosrag.egos.view import Composed, ConversationView
from egosrag.errors import ModelError, SessionError
from egosrag.models.sampling import TalkSampling
from egosrag.models.tokens import context_window, count_tokens
from egosrag.models.traits import model_key, traits_of
from egosrag.presets import Unknown
from egosrag.roles.timeline import role_until, sources_until
from egosrag.schema import Point, Reply, Role, Turn
from egosrag.text import macros

Sources = Sequence[tuple[str, str]]


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


@dataclass(frozen=True)
class MemorySettings:
    """How a conversation remembers (report 7.2.4), see :mod:`egosrag.egos.memory`.

    Attributes:
        kind: "static", "dynamic", "both" or "none"; absent: "both" with a ``search``, else "static".
        search: searches this session's turns for dynamic memory: an
            ``egosrag.rag.retrieval.turn_memory.TurnMemory`` of its own.
        keep_turns: the last turns that stay in the prompt as they are.
    """

    kind: Kind | None = None
    search: TurnSearch | None = None
    keep_turns: int = KEEP_TURNS


@dataclass(frozen=True)
class RoleSources:
    """Texts about a role, beside its card or in place of it.

    Attributes:
        texts: (name, text) pairs.
        extract: makes a card of the texts at the first line, which the session keeps; absent: the texts are in the
            prompt as they are.
        search: searches the sources for every line; see ``egosrag.assemble.source_search``.
    """

    texts: Sources = ()
    extract: Runnable[tuple[Sources, str], Role] | None = None
    search: Search | None = None


class Pipeline:
    """The steps of a conversation as the nodes of one graph.

    Args:
        organize: composes the prompt.
        generate: generates the reply.
        memory: decides what the prompt shows of past turns.
        extract: makes the card of ``sources`` at the first line (static Extract).
        sources: (name, text) pairs for ``extract``.
        lookup: searches the role's sources for every line (dynamic Extract).
        raw: makes the text of ``sources`` that is in the prompt in place of a card.
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
        raw: Callable[[Sources], str] | None = None,
    ) -> None:
        self.organize = organize
        self.generate = generate
        self.memory = memory
        self.extract = extract
        self.sources = sources
        self.lookup = lookup
        self._raw = cache(raw) if raw else None

    def raw_sources(self, timeline: Sequence[Point], until: str) -> str:
        """The role's sources as they are, up to the end of a point, in place of a card; empty where there is a card."""
        if self._raw is None or not self.sources:
            return ""
        return self._raw(tuple(sources_until(self.sources, timeline, until)))

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
        turn.view = replace(turn.view, role=role_until(role, turn.view.until))
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
                    text = macros.fill(piece.text, turn.view.macro_scope)  # models write {{user}} as cards do
                    return {"reply": piece.model_copy(update={"text": text}).model_dump()}
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
        assert runtime.context.composed is not None
        model, parts = model_key(self.generate.model), fingerprint(runtime.context.composed)
        before = state.get("prompt") or {"model": "", "parts": []}
        use = cache_use(turn.id, reply, parts, before["parts"], same_model=before["model"] == model)
        stored: State = {"prompt": {"model": model, "parts": in_blocks(parts)}, "uses": [use.model_dump()]}
        return {**stored, "turns": [turn.model_dump()], "scenes": [], "pending": False}

    def _summarize(self, state: State, *, runtime: Context) -> State:
        turn, config = runtime.context, get_config()
        try:
            turn.view, stored = self.memory.shrink(turn.view, config)
        except Cancelled:
            if state.get("pending"):
                raise
            stored = {}  # the reply is there already: the next line summarizes what is too long
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


def build_pipeline(
    model: Any,
    memory: MemorySettings,
    sources: RoleSources,
    *,
    window: int | None,
    history: History | None,
    quote: bool,
    reviser: Reviser | None,
    sampling: TalkSampling | None,
    unknown: Unknown,
    notify: Callable[[str], None],
) -> Pipeline:
    """The steps for one model; see :class:`egosrag.sessions.conversation.Conversation` for the arguments.

    Raises:
        SessionError: dynamic memory has no search.
    """
    window = window or context_window(model)
    count = cached_count(partial(count_tokens, model))
    recall = _recall(memory, count, window)
    lookup = Lookup(sources.search, count, min(window // 4, 2000)) if sources.search else None
    traits = traits_of(model)
    organize = Organize(
        count,
        window,
        history=history or ("single" if traits.single_turn else "multiple"),
        quote=quote,
        lookup_budget=lookup.budget if lookup else 0,
        recall_budget=recall.budget if recall else 0,
        prompts=traits.prompts,
    )
    keep = memory.keep_turns
    summarize = Summarize(
        model, count, window, organize.fits, keep_turns=keep, quote=quote, reviser=reviser, notify=notify
    )
    is_static = memory.kind in (None, "static", "both")
    return Pipeline(
        organize,
        Generate(model, count, reviser, sampling, unknown),
        Memory(organize, summarize if is_static else None, recall, keep_turns=keep, notify=notify),
        extract=sources.extract,
        sources=sources.texts,
        lookup=lookup,
        raw=None if sources.extract else lambda texts: raw_sources(texts, window * 3 // 5, count, notify),
    )


def _recall(memory: MemorySettings, count: Count, window: int) -> Recall | None:
    """The recall of dynamic memory, if the settings choose it."""
    # No truth test of the search: one that holds nothing yet may have length 0.
    kind = memory.kind or ("static" if memory.search is None else "both")
    if kind not in ("dynamic", "both"):
        return None
    if memory.search is None:
        raise SessionError(f"the memory {kind} needs a search: give MemorySettings({kind!r}, search=TurnMemory())")
    return Recall(memory.search, count, min(window // 5, 1500))
