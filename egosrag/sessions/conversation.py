"""The conversation with one role: lines and replies, regenerated replies and edits, over a session in a store.

The steps of a reply are in ``egosrag.egos.pipeline``, the stored session in ``egosrag.sessions.thread``, its record
with the branches in ``egosrag.sessions.records``.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Overwrite

from egosrag.egos.cache_use import CacheUse
from egosrag.egos.memory import Kind
from egosrag.egos.organize import History
from egosrag.egos.pipeline import MemorySettings, RoleSources, TurnContext, build_pipeline
from egosrag.egos.reviser import Reviser
from egosrag.egos.state import State, now
from egosrag.egos.view import Composed, ConversationView
from egosrag.errors import SessionError
from egosrag.models.sampling import TalkSampling
from egosrag.models.traits import unbound
from egosrag.presets import Unknown
from egosrag.prompts import render
from egosrag.roles.timeline import role_until
from egosrag.schema import Persona, Pin, Reply, Role, Scene, Turn
from egosrag.sessions.actions import Actions, last_reply
from egosrag.sessions.catalog import archive_of
from egosrag.sessions.greetings import Greeting, greeting_of
from egosrag.sessions.memories import Memories, pin_of, pin_said_in
from egosrag.sessions.records import Record
from egosrag.sessions.thread import SessionThread
from egosrag.sessions.transfer import write
from egosrag.text.encoding import without_surrogates

SWIPE_TEMPERATURE = 0.8  # for a regenerated reply of a model at temperature 0, which would only repeat itself
_log = logging.getLogger(__name__)


class Conversation(Actions, Memories):
    """One session with one role.

    Args:
        model: any chat model, or a plain LLM.
        role: the card; or the name alone, where ``sources`` say who it is.
        checkpointer: the store of the session, in memory by default. See :func:`egosrag.sessions.store.open_store`.
        session: the session's name; the same name resumes the same conversation. It is never used as a path.
        history: "single" (one user message) or "multiple" (a message a turn); absent: as the model was trained.
        quote: quote mode (report 7.2.3).
        persona: who talks with the role: the name in front of the user's lines, "Me" or "我" when absent, and what the
            role knows of them.
        window: tokens that a prompt may have; by default what the model's context window leaves it.
        memory: how the conversation remembers, or the kind of memory alone.
        sources: texts about the role.
        reviser: revises the model's drafts of speech and summaries.
        sampling: how replies are sampled; by default as the model's publisher recommends, unless the model has
            settings of its own (:func:`egosrag.models.sampling.talk_sampling`).
        unknown: "decline": where the model answers a question of fact with an invention, the role says that it does not
            know (:mod:`egosrag.egos.grounding`); "invent": the invention stays.
        until: the point of the role's sources as of which it speaks, such as "chapter 5" (:mod:`egosrag.roles.points`);
            absent: as the session was opened before, else the role knows all of them.
        notify: receives, in one line, what memory could not keep in the prompt; the log by default.

    Raises:
        RoleError: the sources of the role have no such point.
        SessionError: the session's name is empty, it belongs to another role, or dynamic memory has no search.
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
        persona: Persona | None = None,
        window: int | None = None,
        memory: MemorySettings | Kind | None = None,
        sources: RoleSources | None = None,
        reviser: Reviser | None = None,
        sampling: TalkSampling | None = None,
        unknown: Unknown = "decline",
        until: str | None = None,
        notify: Callable[[str], None] = _log.warning,
    ) -> None:
        self.model = model
        self.persona = persona
        self.session = session
        self._card = role if isinstance(role, Role) else Role.model_validate({"name": without_surrogates(role)})
        self.pipeline = build_pipeline(
            model,
            memory if isinstance(memory, MemorySettings) else MemorySettings(memory),
            sources or RoleSources(),
            window=window,
            history=history,
            quote=quote,
            reviser=reviser,
            sampling=sampling,
            unknown=unknown,
            notify=notify,
        )
        self.notify = notify
        self.thread = SessionThread(session, checkpointer, self.pipeline)
        self._seed = session if checkpointer else uuid.uuid4().hex  # of macros, until there is a first turn
        for card in self._own_cards():
            if report := self.pipeline.organize.card_report(card, persona):
                notify(report)
        unknown_macros = [name for card in self._own_cards() for name in render.unknown_macros(card)]
        if unknown_macros:
            notify(f"macros that are not known stay as they are: {', '.join(dict.fromkeys(unknown_macros))[:300]}")
        self._turn: TurnContext | None = None  # of the reply that is being generated
        self._composed: Composed | None = None
        values = self.thread.values()
        self.note = str(values.get("note") or "")
        self.until = str(values.get("until") or "") if until is None else until.strip()
        if persona is None and values.get("persona"):
            self.persona = Persona.model_validate(values["persona"])
        stored = values.get("name", self.name)
        if stored != self.name or sorted(values.get("names") or self._speakers()) != sorted(self._speakers()):
            raise SessionError(
                f"session {session!r} belongs to {stored}, not to {self.name}: give another session's name"
            )
        self.set_until(self.until)
        if values.get("pins") and not self.pipeline.organize.pins_fit(self.view):
            notify("not all that is pinned fits the prompt: the role knows the first lines, so forget some of them")

    # --- state -------------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The role's name."""
        return self._card.name

    @property
    def view(self) -> ConversationView:
        """The conversation as it is stored; of a reply that is being generated, what was saved of it so far."""
        values = self.thread.values()
        return self._view(values, self.thread.record_of(values))

    @property
    def role(self) -> Role:
        """The card that is played; of several roles, the one that speaks or spoke last."""
        return self._turn.view.role if self._turn else self.view.role

    @property
    def record(self) -> Record:
        """The turns, the scenes and the siblings of regenerated replies."""
        return self.thread.record()

    @property
    def composed(self) -> Composed | None:
        """The prompt of the last reply of this object, with its parts; None before the first."""
        return self._composed

    @property
    def greeting(self) -> Turn | None:
        """What the role says before the first line."""
        greeting = self._greeting()
        return greeting.turn if greeting else None

    def turns(self) -> list[Turn]:
        """The full record, oldest first: Summarize removes nothing from it."""
        return list(self.view.turns)

    def scenes(self) -> list[Scene]:
        """Every scene that Summarize wrote, oldest first."""
        return list(self.view.scenes)

    def swipes(self, turn_id: str | None = None) -> list[str]:
        """The texts of the siblings of a reply, oldest first; before the first line, those of the greetings.

        Args:
            turn_id: the reply; the last turn when absent.

        Raises:
            SessionError: there is no such turn.
        """
        record = self.record
        if turn_id is None and not record.turns and (greetings := self.greetings):
            return greetings
        return record.texts(_or_last(record, turn_id))

    @property
    def greetings(self) -> list[str]:
        """What the role may say before the first line: the texts of all its greetings, the first one first."""
        greeting = self._greeting()
        return greeting.record.texts(greeting.turn.id) if greeting else []

    def set_note(self, text: str) -> None:
        """Sets the author's note of the session, a hint that stays near the end of the prompt; "" removes it."""
        self.note = text.strip()
        self._store_settings({"note": self.note})

    @property
    def pins(self) -> tuple[Pin, ...]:
        """The facts that stay in every prompt."""
        return tuple(Pin.model_validate(row) for row in self.thread.values().get("pins") or ())

    @property
    def last_use(self) -> CacheUse | None:
        """How much of the last reply's prompt was cached, and why not more; None before the first reply."""
        rows = self.thread.values().get("uses") or ()
        return CacheUse.model_validate(rows[-1]) if rows else None

    def _set_pins(self, pins: tuple[Pin, ...]) -> None:
        self._check_pins(self.view, pins)
        rows = [pin.model_dump() for pin in pins]
        self.thread.put({"name": self.name, "names": list(self._speakers()), "pins": rows})

    def _check_pins(self, view: ConversationView, pins: tuple[Pin, ...]) -> None:
        longer = sum(len(pin.text) for pin in pins) > sum(len(pin.text) for pin in view.pins)
        if longer and not self.pipeline.organize.pins_fit(replace(view, pins=pins)):
            raise SessionError("what is pinned would be too long for the prompt: forget something first")

    def set_until(self, point: str) -> None:
        """Sets the point of the sources as of which the role speaks from now on; "" for their end.

        Raises:
            RoleError: the sources have no such point.
        """
        for card in self._own_cards():
            self._as_of(card, point.strip())
        self.until = point.strip()
        if self.until != str(self.thread.values().get("until") or ""):
            self._store_settings({"until": self.until})

    def set_persona(self, persona: Persona | None) -> None:
        """Sets who talks with the role from now on, None for nobody in particular; earlier lines keep their name."""
        self.persona = persona
        self._store_settings({"persona": persona.model_dump() if persona else {}})

    def export(self, path: str | Path) -> None:
        """Writes the conversation, with the card, to a .json, .jsonl (SillyTavern) or .md file.

        Raises:
            SessionError: the session is empty, or the file cannot be written in that format.
        """
        write(archive_of(self.thread.store, self.session, self.cards), path)

    # --- lines and replies -------------------------------------------------------------------------------------------

    def say(self, line: str) -> Reply:
        """Says ``line`` to the role.

        Raises:
            SessionError: the line is empty, or the role is still answering another one.
            WindowError: the line does not fit the model's context window.
            ModelError: the model failed. The line is kept: saying it again asks for its reply once more.
        """
        return last_reply(self.stream(line))

    def stream(self, line: str) -> Iterator[str | Reply]:
        """As ``say``, but streams the text, then the reply. Closing the iterator keeps the text as interrupted."""
        yield from self._stream_line(line)

    def regenerate(
        self, turn_id: str | None = None, *, seed: int | None = None, temperature: float | None = None
    ) -> Reply:
        """Generates another reply in place of one, which is kept as a sibling with the turns that followed it.

        Greedy decoding would repeat the reply, so a greedy model gets a temperature of 0.8 for this reply alone. The
        seed counts up from the model's own, so that every sibling differs and is reproducible.

        Args:
            turn_id: the reply; the last turn when absent. If that is a line without a reply, it is answered.
            seed: the seed of the sampling.
            temperature: the temperature of the sampling.

        Raises:
            SessionError: there is no such turn, it is not a reply, or the role is still answering.
            ModelError: the model failed. The earlier reply is in its place again.
        """
        return last_reply(self.stream_again(turn_id, seed=seed, temperature=temperature))

    def stream_again(
        self, turn_id: str | None = None, *, seed: int | None = None, temperature: float | None = None
    ) -> Iterator[str | Reply]:
        """As ``regenerate``, but streams the text, then the reply. Closing the iterator keeps the text."""
        with self.thread.exclusive():
            values = self.thread.values()
            record = self.thread.record_of(values)
            turn = record.turns[record.index(_or_last(record, turn_id))]
            siblings = 1
            if turn.speaker in self._speakers():
                if turn.id == record.turns[0].id:
                    raise SessionError("nothing was said before the first turn: edit it, or regenerate a later reply")
                update = self._pending(turn.speaker)
                record = record.forked(turn.id, update["answer"])
                siblings = record.swipes[-1].at
            elif turn.id == record.turns[-1].id:
                update = self._pending(self._speaker_after(record.turns))
                record = record.edited(turn.id, turn.text)  # an interrupted line counts as complete again
            else:
                raise SessionError("only a reply can be generated again: give the id of a turn that the role says")
            plain = record.plain()
            rewritten: Any = update | {
                "turns": Overwrite(plain["turns"]),
                "scenes": Overwrite(plain["scenes"]),
                "swipes": plain["swipes"],
            }
            view = self._view({**values, "speaker": update["speaker"]}, record)
            context = TurnContext(view, sampling=self._sampling(seed, temperature, siblings))
            yield from self._run(rewritten, context, self.thread.before_reply_to(record.turns[-1].id))

    # --- changes of the record ---------------------------------------------------------------------------------------

    def choose(self, number: int, turn_id: str | None = None) -> None:
        """Continues from another sibling of a reply, with the turns that followed that sibling.

        Args:
            number: its index in ``swipes``.
            turn_id: the reply that is on the path now; the last turn when absent.

        Raises:
            SessionError: there is no such turn or sibling, or the role is still answering.
        """
        if turn_id is None and not self.record.turns and (greeting := self._greeting()):
            with self.thread.exclusive():
                begun = greeting.record.chosen(greeting.turn.id, number)
                self.thread.write({"name": self.name, "pending": False, **begun.plain()})
                self._store_settings(self._settings())
            return
        self._rewrite(lambda record: record.chosen(_or_last(record, turn_id), number))

    def edit(self, turn_id: str, text: str) -> None:
        """Replaces the text of a turn; it keeps its id, and scenes that summarize it are written anew.

        Raises:
            SessionError: there is no such turn, the text is empty, or the role is still answering.
        """
        self._rewrite(lambda record: record.edited(turn_id, text))

    def delete(self, turn_id: str) -> None:
        """Deletes a turn, with the siblings of that reply; what followed it stays.

        Raises:
            SessionError: there is no such turn, or the role is still answering.
        """
        self._rewrite(lambda record: record.deleted(turn_id))

    def _rewrite(self, change: Callable[[Record], Record]) -> None:
        with self.thread.exclusive():
            values = self.thread.values()
            before = self.thread.record_of(values)
            after = change(before)
            waits = bool(values.get("pending")) and after.turns[-1:] and after.turns[-1].id == before.turns[-1].id
            begun = before.turns[0].id if before.turns else ""
            if begun and begun not in {turn.id for turn in after.turns[:1]}:
                values = {**values, "seed": values.get("seed") or begun}  # random choices stay
            self.thread.write({**values, **after.plain(), "pending": bool(waits)})

    # --- one turn ----------------------------------------------------------------------------------------------------

    def _stream_line(self, line: str, speaker: str | None = None) -> Iterator[str | Reply]:
        """Adds a line of the user to the record, after a greeting, and streams the reply to it.

        Args:
            line: the user's line.
            speaker: the role that replies; the one whose turn it is when absent.
        """
        with self.thread.exclusive():
            values = self.thread.values()
            record = self.thread.record_of(values)
            turns_with_line = (*record.turns, Turn(speaker="", text=line))
            view = self._view({**values, "speaker": speaker or self._speaker_after(turns_with_line)}, record)
            turn = self.pipeline.organize.accept(view, line).model_copy(update={"at": now()})
            new: list[Turn] = []
            greeting = None if record.turns else self._greeting()
            if greeting:
                new.append(greeting.turn.model_copy(update={"at": turn.at}))
            unanswered = record.turns[-1] if values.get("pending") else None
            if unanswered and unanswered.speaker not in self._speakers():
                if unanswered.text == turn.text:
                    turn = unanswered  # said again after a failure: the same turn asks for its reply once more
                else:
                    new.append(unanswered.model_copy(update={"status": "interrupted"}))
            new.append(turn)
            turns = {turn.id: turn for turn in (*record.turns, *new)}
            view = self._with_pin_said_in(turn, view)
            seed = str(values.get("seed") or next(iter(turns)))
            context = TurnContext(replace(view, turns=tuple(turns.values()), seed=seed))
            update: Any = self._pending(view.role.name) | {"turns": [turn.model_dump() for turn in new]}
            update["pins"] = [pin.model_dump() for pin in view.pins]
            if greeting and greeting.swipes:
                update["swipes"] = greeting.record.plain()["swipes"]
            yield from self._run(update, context, self.thread.config)

    def _with_pin_said_in(self, turn: Turn, view: ConversationView) -> ConversationView:
        """The conversation with the fact pinned that a line of the user asks to remember."""
        fact = pin_said_in(turn.text)
        if not fact or (pin := pin_of(fact, [turn.id])).id in {known.id for known in view.pins}:
            return view
        try:
            self._check_pins(view, (*view.pins, pin))
        except SessionError as error:
            self.notify(str(error))
            return view
        return replace(view, pins=(*view.pins, pin))

    def _run(self, update: State, context: TurnContext, config: RunnableConfig) -> Iterator[str | Reply]:
        self._turn = context
        try:
            yield from self.thread.run(update, context, config)
        finally:
            self._composed = context.composed or self._composed
            self._turn = None

    def _pending(self, speaker: str) -> State:
        """The state of a session that waits for a reply of ``speaker``."""
        pending: State = {
            "name": self.name,
            "names": list(self._speakers()),
            "pending": True,
            "answer": uuid.uuid4().hex,
            "speaker": speaker,
        }
        return {**pending, **self._settings()}

    def _settings(self) -> State:
        """What the session remembers of how it was opened."""
        settings: State = {}
        if self.persona:
            settings["persona"] = self.persona.model_dump()
        if self.note:
            settings["note"] = self.note
        if self.until:
            settings["until"] = self.until
        return settings

    def _store_settings(self, settings: State) -> None:
        """Stores settings of a session that has begun; a new one gets them with its first line."""
        if settings and self.thread.values().get("turns"):
            self.thread.put(settings)

    def _view(self, values: Mapping[str, Any], record: Record) -> ConversationView:
        """The stored values and their record as a view for the steps."""
        role = self._card
        if values.get("role") and not role.model_fields_set - {"name", "language", "timeline"}:
            role = Role.model_validate(values["role"])  # the session's own card, extracted or imported
        ids = [turn.id for turn in record.turns]
        # A first turn that was deleted, or is not on this branch, evicts nothing: all turns are visible again.
        evicted = ids[: ids.index(values["first"])] if values.get("first") in ids else []
        return self.pipeline.memory.apply(
            ConversationView(
                role=self._as_of(role, self.until),
                turns=record.turns,
                scenes=record.scenes,
                user=self.persona.name if self.persona else "",
                evicted=frozenset(evicted),
                raw_sources=self.pipeline.raw_sources(role.timeline, self.until),
                persona=self.persona,
                seed=str(values.get("seed") or next(iter(ids), self._seed)),
                note=self.note,
                until=self.until,
                pins=tuple(Pin.model_validate(row) for row in values.get("pins") or ()),
            )
        )

    def _as_of(self, card: Role, point: str) -> Role:
        """The card as it is known at the end of a point; in a scene, a card without points is known as a whole."""
        return card if len(self._own_cards()) > 1 and not card.timeline else role_until(card, point)

    def _greeting(self) -> Greeting | None:
        """The greeting of the card, or of the first card that has one."""
        cards = (self.role, *self._own_cards())
        greetings = (greeting_of(card, self.persona, self._seed, self._speakers()) for card in cards)
        return next(filter(None, greetings), None)

    def _own_cards(self) -> tuple[Role, ...]:
        """The cards that the conversation was opened with."""
        return (self._card,)

    def _speakers(self) -> tuple[str, ...]:
        """The names of the roles; every other speaker is the user."""
        return (self._card.name,)

    def _speaker_after(self, turns: Sequence[Turn]) -> str:
        """The role that replies to the last of ``turns``."""
        return self._card.name

    @property
    def cards(self) -> tuple[Role, ...]:
        """The cards of all roles."""
        return (self.role,)

    def _sampling(self, seed: int | None, temperature: float | None, siblings: int) -> dict[str, Any]:
        """Settings of the model for a further sibling of a reply that has ``siblings`` already."""
        model = unbound(self.model)
        if temperature is None and self.pipeline.generate.is_greedy:
            temperature = SWIPE_TEMPERATURE
        if seed is None and hasattr(model, "seed"):
            seed = (model.seed or 0) + siblings
        settings = {"seed": seed, "temperature": temperature}
        return {key: value for key, value in settings.items() if value is not None}


def _or_last(record: Record, turn_id: str | None) -> str:
    if turn_id is None and not record.turns:
        raise SessionError("nothing was said yet: say a line first")
    return record.turns[-1].id if turn_id is None else turn_id
