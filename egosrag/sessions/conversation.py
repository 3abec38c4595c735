"""EGOS composed as the report's figure 5, with LangGraph, and the conversation that runs over it.

Extract (only where sources stand in place of a card) -> Organize composes -> Generate speaks -> Organize appends ->
Summarize when the budget is spent. The state is plain data; every step of it is checkpointed before the next one
begins, so a line that was accepted is never lost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.config import get_stream_writer
from langgraph.graph.state import CompiledStateGraph

from egosrag.egos.extract.dynamic import Lookup, Search, raw
from egosrag.egos.generate import Generate
from egosrag.egos.memory import Kind, Memory
from egosrag.egos.organize import History, Organize, history_of
from egosrag.egos.recall import Recall, TurnSearch
from egosrag.egos.step import Composed, Talk, remembered
from egosrag.egos.summarize import Summarize
from egosrag.errors import ModelError, SessionError
from egosrag.models.tokens import context_window, count_tokens
from egosrag.prompts import render
from egosrag.schema import Persona, Reply, Role, Scene, Turn
from egosrag.sessions.catalog import archive_of
from egosrag.sessions.figure import figure
from egosrag.sessions.history import Rewriting
from egosrag.sessions.state import State, now, record_of, talk_of
from egosrag.sessions.transfer import write
from egosrag.text.language import language_of

_log = logging.getLogger(__name__)
Sources = Sequence[tuple[str, str]]


class Conversation(Rewriting):
    """One session with one role: the steps of figure 5 as a graph, and a store that remembers all of it.

    Args:
        model: any chat model, or a plain LLM.
        role: the card; or, with ``extract``, the name alone: the card is then made from ``sources`` at the first
            line and kept with the session.
        checkpointer: keeps the session; in memory by default. See :func:`egosrag.sessions.store.open_store`.
        session: the session's name; the same name resumes the same conversation. It is never used as a path.
        history: "single" (one user message) or "multiple" (a message a turn); absent: as the model was trained.
        quote: quote mode (report 7.2.3).
        user: the name that the user's lines stand under; the persona's, "Me" or "我" when empty.
        persona: who talks with the role: the card's placeholders name them, and the role knows their description.
        keep_turns: the last turns that Summarize leaves as they are.
        window: tokens that a prompt may have; what the model's own window leaves it by default.
        memory: what becomes of old turns, see :mod:`egosrag.egos.memory`; "both" where there is a ``recall``, else
            "static".
        recall: searches this session's turns for the dynamic memory: an
            ``egosrag.rag.retrieval.turn_memory.TurnMemory``.
        extract: the Extract step, which makes a card of ``sources``.
        sources: (name, text) pairs; without ``extract`` they stand raw in the card's place.
        search: searches the role's sources at every line; see ``egosrag.assemble.source_search``.
        notice: is told, in a line, what the memory could not keep in the prompt; the log by default.

    Raises:
        SessionError: the session's name is empty, it is one with another role, or a dynamic memory has no ``recall``.
    """

    def __init__(
        self,
        model: Any,
        role: Role | str,
        *,
        checkpointer: BaseCheckpointSaver[Any] | None = None,
        session: str = "default",
        history: History | None = None,
        quote: bool = True,
        user: str = "",
        persona: Persona | None = None,
        keep_turns: int = 4,
        window: int | None = None,
        memory: Kind | None = None,
        recall: TurnSearch | None = None,
        extract: Runnable[tuple[Sources, str], Role] | None = None,
        sources: Sources = (),
        search: Search | None = None,
        notice: Callable[[str], None] = _log.warning,
    ) -> None:
        self.user = user or (persona.name if persona else "")
        self.persona = persona
        self._given = role if isinstance(role, Role) else Role.model_validate({"name": role})
        self._extract, self._sources = extract, sources
        self.composed: Composed | None = None  # the last prompt; see egosrag.sessions.seen
        count = remembered(partial(count_tokens, model))
        room = window or context_window(model)
        # A memory that holds nothing yet may say that its length is 0.
        kind = memory or ("static" if recall is None else "both")
        dynamic = kind in ("dynamic", "both")
        if dynamic and recall is None:
            raise SessionError(f"the memory {kind} needs a search: give recall=TurnMemory()")
        found = Recall(recall, count, min(room // 5, 1500)) if recall is not None and dynamic else None
        self.lookup = Lookup(search, count, min(room // 4, 2000)) if search else None
        self.organize = Organize(
            count,
            room,
            history=history or history_of(model),
            quote=quote,
            looked_up=self.lookup.budget if self.lookup else 0,
            recalled=found.budget if found else 0,
        )
        self.generate = Generate(model, count)
        scenes = Summarize(model, count, room, self.organize.fits, keep_turns=keep_turns, quote=quote, notice=notice)
        self.memory = Memory(
            self.organize, scenes if kind in ("static", "both") else None, found, keep_turns=keep_turns, notice=notice
        )
        self._raw = "" if extract else raw(sources, room * 3 // 5, count, notice)
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

    def export(self, path: str | Path) -> None:
        """Writes the conversation, with the card, to a .json, .jsonl (SillyTavern) or .md file.

        Raises:
            SessionError: nothing was said yet, or the file cannot be written in that format.
        """
        write(archive_of(self._store, self.session, self._cards()), path)

    def _cards(self) -> tuple[Role, ...]:
        return (self.role,)

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

    def _speaker_after(self, turns: Sequence[Turn]) -> str:
        """Who replies to the last of ``turns``."""
        return self._given.name

    @property
    def greeting(self) -> Turn | None:
        """What is said before the first line."""
        text = self._greeted(self.role)
        return Turn(speaker=self.role.name, text=text) if text else None

    def _greeted(self, role: Role) -> str:
        return render.greeting(role, role.language or language_of(role.greeting or ""), self.user)

    def _heard(self, line: str, speaker: str | None = None) -> State:
        """What a line changes: it is added to the record, after a greeting, or answers for one left unanswered."""
        values = self._values()
        heard = (*record_of(values).turns, Turn(speaker="", text=line))
        talk = self._talk({**values, "speaker": speaker or self._speaker_after(heard)})
        turn = self.organize.accept(talk, line).model_copy(update={"at": now()})
        new: list[Turn] = []
        if not talk.turns and (greeting := self.greeting):
            new.append(greeting.model_copy(update={"at": turn.at}))
        left = talk.turns[-1] if values.get("pending") else None
        if left and left.speaker not in self._speakers():
            if left.text == turn.text:
                turn = left  # said again after a failure: the same turn, asked for once more
            else:
                new.append(left.model_copy(update={"status": "interrupted"}))
        return self._asking({"turns": [t.model_dump() for t in (*new, turn)]}, talk.role.name)

    def _talk(self, values: Mapping[str, Any]) -> Talk:
        talk = replace(talk_of(values, self._given, self.user), persona=self.persona)
        return replace(self.memory.seen(talk), raw=self._raw)

    def _built(self, checkpointer: BaseCheckpointSaver[Any]) -> CompiledStateGraph[State]:
        learns = self.lookup is not None
        return figure(
            {
                "Organize": self._compose,
                "Generate": self._speak,
                "Append": self._append,
                "Summarize": self._condense,
                **({"Extract": self._learn} if self._extract or learns else {}),
            },
            knows=lambda state: bool(state.get("role")) and not learns,
            is_spent=lambda state: self.memory.is_spent(self._talk(state), asked=False),
            checkpointer=checkpointer,
        )

    def _learn(self, state: State, config: RunnableConfig) -> State:
        if self.lookup:
            return {"facts": self.lookup.run(self._talk(state), config)}
        assert self._extract is not None
        role = self._extract.invoke((self._sources, self._given.name), config)
        return {"role": role.model_dump(mode="json")}

    def _compose(self, state: State, config: RunnableConfig) -> State:
        talk = self._talk(state)
        if not state.get("condensed") and self.memory.is_spent(talk, asked=True):
            return {"composed": None}
        talk = self.memory.informed(replace(talk, facts=state.get("facts", ())), config)
        self.composed = self.organize.run(talk, config)
        return {"composed": self.composed}

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
        return {"turns": [turn.model_dump()], "scenes": [], "pending": False}

    def _condense(self, state: State, config: RunnableConfig) -> State:
        return cast("State", {**self.memory.condense(self._talk(state), config), "condensed": True})
