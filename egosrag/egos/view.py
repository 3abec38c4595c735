"""A conversation as the EGOS steps read it, and the prompt that Organize composes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, Protocol, TypeVar

from langchain_core.messages import BaseMessage

from egosrag.prompts.render import USER, Situation, macro_scope
from egosrag.schema import Evidence, Ledger, LoreEntry, Persona, Pin, Role, Scene, Turn
from egosrag.text.language import language_of
from egosrag.text.macros import Scope

T = TypeVar("T")
_KNOWN = 32  # results that the views of one line share


class RecalledTurn(Protocol):
    """A hidden turn that dynamic memory retrieved for a line, with its retrieval score and its date in words."""

    @property
    def turn(self) -> Turn: ...  # noqa: D102
    @property
    def score(self) -> float: ...  # noqa: D102
    @property
    def when(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class ConversationView:
    """What the steps read of a conversation; immutable, each change makes a new one.

    Attributes:
        role: the role that speaks.
        turns: the full record, oldest first.
        scenes: every scene that Summarize ever wrote, oldest first.
        user: the name in front of the user's lines; "Me" or "我" when it is empty.
        others: names of the other roles of the scene, for whom the role must not speak.
        evicted: ids of the turns that left the prompt without a scene (dynamic memory).
        recalled: hidden turns that dynamic memory retrieved for the last line.
        source_hits: places in the role's sources that dynamic Extract retrieved for the last line.
        raw_sources: the role's sources as they are, in place of the card (ablation EGOS-wo-Extract).
        persona: who talks with the role, where more is known than a name.
        lore: entries of the role's lorebook that the last lines activate.
        seed: of the random choices of macros.
        note: the author's note of the conversation.
        until: the point of the role's sources as of which it speaks, in the user's words; empty: it knows all of them.
        pins: facts that stay in every prompt.
    """

    role: Role
    turns: tuple[Turn, ...] = ()
    scenes: tuple[Scene, ...] = ()
    user: str = ""
    others: tuple[str, ...] = ()
    evicted: frozenset[str] = frozenset()
    recalled: tuple[RecalledTurn, ...] = ()
    source_hits: tuple[Evidence, ...] = ()
    raw_sources: str = ""
    persona: Persona | None = None
    lore: tuple[LoreEntry, ...] = ()
    seed: str = ""
    note: str = ""
    until: str = ""
    pins: tuple[Pin, ...] = ()
    _known: dict[tuple[Any, ...], tuple[tuple[Any, ...], Any]] = field(default_factory=dict, compare=False, repr=False)

    def _once(self, name: str, of: tuple[Any, ...], make: Callable[[], T]) -> T:
        """What ``make`` gives, computed once for the same objects ``of``: a view and its new versions share it."""
        key = (name, *map(id, of))
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            known = self._known[key] = (of, make())  # with the objects, whose ids nothing else gets meanwhile
        return known[1]

    @cached_property
    def language(self) -> str:
        """The card's language; of a card that is only a name, the language of the first line."""
        role = self.role
        if role.language:
            return role.language
        statements = [s.text for s in (*role.background, *role.personality, *role.speaking_style, *role.relations)]
        text = " ".join([*statements, *(line.text for line in role.sample_dialogue), self.raw_sources])
        return language_of(text or " ".join(turn.text for turn in self.turns[:1]) + role.name)

    @property
    def user_name(self) -> str:
        """The name in front of the user's lines."""
        return self.user or USER[self.language]

    @cached_property
    def situation(self) -> Situation:
        """The seed and the time of macros: random choices stay the same until the role has said something."""
        names = {self.role.name, *self.others}

        def count() -> int:
            return sum(map([turn.speaker for turn in self.turns].count, names))

        said = self._once("said", (self.turns, self.role, self.others), count)
        at = self.turns[-1].at if self.turns else ""
        return Situation(self.seed, str(said), datetime.fromisoformat(at) if at else None, self.others)

    @property
    def macro_scope(self) -> Scope:
        """What the macros of the card, the lorebook and the user's line are replaced by."""
        return macro_scope(self.role, self.language, self.persona, user=self.user, situation=self.situation)

    @cached_property
    def _summarized(self) -> frozenset[str]:
        def ids() -> frozenset[str]:
            return frozenset(turn_id for scene in self.scenes for turn_id in scene.turn_ids)

        return self._once("summarized", (self.scenes,), ids)

    @cached_property
    def visible_scenes(self) -> tuple[Scene, ...]:
        """The scenes in the prompt: those that no later epoch replaces, in the order of their turns."""
        return self._once("scenes", (self.scenes, self.turns), self._visible_scenes) if self.scenes else ()

    def _visible_scenes(self) -> tuple[Scene, ...]:
        epochs: dict[str, int] = {}
        for scene in self.scenes:
            for turn_id in scene.turn_ids:
                epochs[turn_id] = max(scene.epoch, epochs.get(turn_id, 0))
        current = [s for s in self.scenes if any(epochs[turn_id] == s.epoch for turn_id in s.turn_ids)]
        order = {turn.id: n for n, turn in enumerate(self.turns)}
        return tuple(sorted(current, key=lambda scene: order.get(scene.turn_ids[0], 0)))

    @cached_property
    def visible_turns(self) -> tuple[Turn, ...]:
        """The turns that are in the prompt word for word; turns without text never are."""

        def visible() -> tuple[Turn, ...]:
            hidden = self._summarized | self.evicted
            return tuple(turn for turn in self.turns if turn.id not in hidden and turn.text)

        return self._once("turns", (self.turns, self.scenes, self.evicted), visible)

    @cached_property
    def unsummarized_gaps(self) -> tuple[tuple[Turn, ...], ...]:
        """Runs of turns between summarized ones: an edit or a deletion removed the scenes that replaced them."""
        return self._once("gaps", (self.turns, self.scenes), self._unsummarized_gaps) if self.scenes else ()

    def _unsummarized_gaps(self) -> tuple[tuple[Turn, ...], ...]:
        runs: list[list[Turn]] = [[]]
        for turn in self.turns:
            if turn.id in self._summarized:
                runs.append([])
            elif turn.text:
                runs[-1].append(turn)
        return tuple(tuple(run) for run in runs[:-1] if run)

    @property
    def has_hidden_turns(self) -> bool:
        """Whether some turns are not in the prompt word for word."""

        def any_hidden() -> bool:
            hidden = self._summarized | self.evicted
            return bool(hidden) and any(turn.id in hidden and turn.text for turn in self.turns)

        return self._once("hidden", (self.turns, self.scenes, self.evicted), any_hidden)

    def without(self, ids: Iterable[str]) -> ConversationView:
        """The conversation with these turns evicted from the prompt."""
        return replace(self, evicted=self.evicted | frozenset(ids))

    def with_scenes(self, scenes: tuple[Scene, ...]) -> ConversationView:
        """The conversation with ``scenes`` added."""
        return replace(self, scenes=self.scenes + scenes)

    def with_turn(self, turn: Turn) -> ConversationView:
        """The conversation with ``turn`` at its end."""
        return replace(self, turns=(*self.turns, turn))


PartName = Literal["template", "card", "scenes", "history", "lore", "recalled", "note", "line", "prefix"]


@dataclass(frozen=True)
class PromptPart:
    """One part of a prompt, rendered once: its text and its length in tokens.

    Attributes:
        name: "template" (the instructions, with the tokens of the chat template), "card", "scenes" and pins, "history"
            (one part a turn), "lore" (of the lorebook or of the role's sources), "recalled", "note", "line", "prefix".
        text: as it is in the prompt.
        tokens: length by the model's tokenizer.
        speaker: of a turn, who says it.
    """

    name: PartName
    text: str
    tokens: int
    speaker: str = ""


@dataclass(frozen=True)
class Composed:
    """A prompt for Generate: ``messages``, followed by the beginning of the assistant's reply, ``prefix``.

    Attributes:
        messages: the chat messages, made of the parts.
        prefix: the text that the reply continues, such as ``Tim: "``; without a quotation mark ``Tim:``.
        speaker: the role that speaks.
        speakers: every other name whose line would end the reply.
        view: the conversation that the prompt shows.
        parts: what the prompt is made of, in its order; their tokens sum to the prompt's.
        uninformed: the chat messages for a role of whom only the name is known: instructions and last line.
        said: what the speaker has said already, where a speech is continued.
    """

    messages: tuple[BaseMessage, ...]
    prefix: str
    speaker: str
    speakers: tuple[str, ...]
    view: ConversationView
    parts: tuple[PromptPart, ...] = ()
    uninformed: tuple[BaseMessage, ...] = ()
    said: str = ""

    def continued(self, text: str) -> str:
        """``text`` as the model would write it after the prefix: after a bare colon it begins with a space."""
        return f" {text}" if text and self.prefix.endswith(":") else text

    @property
    def tokens(self) -> int:
        """Length of the prompt in tokens, chat template and prefix included."""
        return sum(part.tokens for part in self.parts)

    @property
    def ledger(self) -> Ledger:
        """How many tokens each part of the prompt takes; the prefix counts as template."""
        tokens = dict.fromkeys(Ledger.model_fields, 0)
        for part in self.parts:
            tokens["template" if part.name == "prefix" else part.name] += part.tokens
        return Ledger(**tokens)

    @property
    def sections(self) -> tuple[PromptPart, ...]:
        """The parts for display, with the turns of the history joined into one."""
        joined: dict[PartName, PromptPart] = {}
        for part in self.parts:
            before = joined.get(part.name)
            if before is None:
                joined[part.name] = replace(part, speaker="")
            else:
                text, tokens = f"{before.text}\n{part.text}", before.tokens + part.tokens
                joined[part.name] = replace(before, text=text, tokens=tokens)
        return tuple(joined.values())
