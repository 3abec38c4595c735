"""EGOS composed as the report's figure 5, with LangGraph, and the conversation that runs over it.

Extract (only where sources stand in place of a card) -> Organize composes -> Generate speaks -> Organize appends ->
Summarize when the budget is spent. The state is plain data; every step of it is checkpointed before the next one
begins, so a line that was accepted is never lost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Literal

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from egosrag.egos.generate import Generate
from egosrag.egos.history import Rewriting
from egosrag.egos.organize import History, Organize
from egosrag.egos.record import Record
from egosrag.egos.state import State, now, talk_of
from egosrag.egos.step import Talk
from egosrag.egos.summarize import Summarize
from egosrag.errors import ModelError
from egosrag.models.tokens import context_window, count_tokens
from egosrag.schema import Reply, Role, Scene, Turn

_log = logging.getLogger(__name__)
_SPENT = 0.9  # of the window: the next line and its answer need room
Sources = Sequence[tuple[str, str]]


class Conversation(Rewriting):
    """One session with one role: the steps of figure 5 as a graph, and a store that remembers all of it.

    Args:
        model: any chat model, or a plain LLM.
        role: the card; or, with ``extract``, the name alone: the card is then made from ``sources`` at the first
            line and kept with the session.
        checkpointer: keeps the session; in memory by default. See :func:`egosrag.egos.store.open_store`.
        session: the session's name; the same name resumes the same conversation. It is never used as a path.
        history: "single" (one user message) or "multiple" (a message a turn).
        quote: quote mode (report 7.2.3).
        user: the name that the user's lines stand under; "Me" or "我" when empty.
        keep_turns: the last turns that Summarize leaves as they are.
        window: tokens that a prompt may have; what the model's own window leaves it by default.
        extract: the Extract step, and ``sources``, its (name, text) pairs.
        notice: is told, in a line, what the memory could not keep in the prompt; the log by default.

    Raises:
        SessionError: the session's name is empty, or the session is one with another role.
    """

    def __init__(
        self,
        model: Any,
        role: Role | str,
        *,
        checkpointer: BaseCheckpointSaver[Any] | None = None,
        session: str = "default",
        history: History = "single",
        quote: bool = True,
        user: str = "",
        keep_turns: int = 4,
        window: int | None = None,
        extract: Runnable[tuple[Sources, str], Role] | None = None,
        sources: Sources = (),
        notice: Callable[[str], None] = _log.warning,
    ) -> None:
        self.user = user
        self._given = role if isinstance(role, Role) else Role.model_validate({"name": role})
        self._extract = extract
        self._sources = sources
        count = partial(count_tokens, model)
        room = window or context_window(model)
        self.organize = Organize(count, room, history=history, quote=quote)
        self.generate = Generate(model, count)
        self.summarize = Summarize(
            model, count, room, self.organize.fits, keep_turns=keep_turns, quote=quote, notice=notice
        )
        super().__init__(session, checkpointer)

    @property
    def name(self) -> str:
        """Whom the session is with."""
        return self._given.name

    @property
    def role(self) -> Role:
        """The card that is played."""
        return self.talk.role

    @property
    def talk(self) -> Talk:
        """The conversation as the steps see it."""
        return self._talk(self._values())

    def turns(self) -> list[Turn]:
        """The full record, oldest first: Summarize takes nothing out of it."""
        return list(self.talk.turns)

    def scenes(self) -> list[Scene]:
        """Every scene that Summarize wrote, oldest first."""
        return list(self.talk.scenes)

    def say(self, line: str) -> Reply:
        """Says ``line`` to the role and gives its reply.

        Raises:
            SessionError: the line is empty, or the role is still answering another one.
            WindowError: the line does not fit the model's window.
            ModelError: the model failed. The line is kept: saying it again asks for its answer once more.
        """
        *_, reply = self.stream(line)
        assert isinstance(reply, Reply)
        return reply

    def stream(self, line: str) -> Iterator[str | Reply]:
        """As ``say``: the text in pieces, the reply last. Closing the iterator keeps what was said as interrupted."""
        yield from self._answered(lambda: (self._heard(line), self._config))

    def _speakers(self) -> tuple[str, ...]:
        """Who is played; every other speaker is the user."""
        return (self._given.name,)

    def _speaker_after(self, record: Record) -> str:
        """Who replies to the last turn of ``record``."""
        return self._given.name

    def _heard(self, line: str) -> State:
        """What a line changes: it is added to the record, after a greeting, or answers for one left unanswered."""
        values = self._values()
        talk = self._talk(values)
        turn = self.organize.accept(talk, line).model_copy(update={"at": now()})
        new: list[Turn] = []
        if not talk.turns and talk.role.greeting:
            new.append(Turn(speaker=talk.role.name, text=talk.role.greeting, at=now()))
        if values.get("pending"):
            left = talk.turns[-1]
            if left.text == turn.text:
                turn = left  # said again after a failure: the same turn, asked for once more
            else:
                new.append(left.model_copy(update={"status": "interrupted"}))
        return self._asking({"turns": [t.model_dump() for t in (*new, turn)]}, talk.role.name)

    def _talk(self, values: Mapping[str, Any]) -> Talk:
        return talk_of(values, self._given, self.user)

    def _built(self, checkpointer: BaseCheckpointSaver[Any]) -> CompiledStateGraph[State]:
        graph = StateGraph(State)
        for name, node in (
            ("Organize", self._compose),
            ("Generate", self._speak),
            ("Append", self._append),
            ("Summarize", self._condense),
        ):
            graph.add_node(name, node)
        if self._extract:
            graph.add_node("Extract", self._card)
            graph.add_conditional_edges(
                START, lambda state: "Organize" if state.get("role") else "Extract", ["Extract", "Organize"]
            )
            graph.add_edge("Extract", "Organize")
        else:
            graph.add_edge(START, "Organize")
        graph.add_conditional_edges(
            "Organize", lambda state: "Generate" if state["composed"] else "Summarize", ["Generate", "Summarize"]
        )
        graph.add_edge("Generate", "Append")
        graph.add_conditional_edges("Append", self._is_spent, ["Summarize", END])
        graph.add_conditional_edges(
            "Summarize", lambda state: "Organize" if state.get("pending") else END, ["Organize", END]
        )
        return graph.compile(checkpointer=checkpointer, name="EGOS")

    def _card(self, state: State, config: RunnableConfig) -> State:
        assert self._extract is not None
        role = self._extract.invoke((self._sources, self._given.name), config)
        return {"role": role.model_dump(mode="json")}

    def _compose(self, state: State, config: RunnableConfig) -> State:
        talk = self._talk(state)
        if not state.get("condensed") and (
            talk.holes or (len(talk.visible_turns) > 1 and not self.organize.fits(talk))
        ):
            return {"composed": None}
        return {"composed": self.organize.run(talk, config)}

    def _speak(self, state: State, config: RunnableConfig) -> State:
        composed = state["composed"]
        assert composed is not None
        write = get_stream_writer()
        with closing(self.generate.pieces(composed, config, **state.get("sampling", {}))) as pieces:
            for piece in pieces:
                if isinstance(piece, Reply):
                    return {"reply": piece.model_dump()}
                write(piece)
                if self._stopped.is_set():
                    break
        raise ModelError("the reply was stopped")

    def _append(self, state: State) -> State:
        reply = Reply.model_validate(state["reply"])
        # An empty speech stays in the record; the model will not read it.
        status: Literal["complete", "interrupted"] = "complete" if reply.text else "interrupted"
        turn = Turn(speaker=reply.speaker, text=reply.text, id=state["answer"], status=status, at=now())
        return {"turns": [turn.model_dump()], "pending": False}

    def _is_spent(self, state: State) -> str:
        return END if self.organize.fits(self._talk(state), _SPENT) else "Summarize"

    def _condense(self, state: State, config: RunnableConfig) -> State:
        scenes = self.summarize.run(self._talk(state), config)
        return {"scenes": [scene.model_dump() for scene in scenes], "condensed": True}
