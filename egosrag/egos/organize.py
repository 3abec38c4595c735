"""Organize (report 7.2.4): composes the prompt from card, scenes and turns, and adds a turn to the record.

Two histories: "single" puts the whole conversation into one user message, which fits Generate's way of going on
with a dialogue and models trained on single turns; "multiple" gives every turn a message of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig

from egosrag.egos.step import Composed, Count, Step, Talk
from egosrag.errors import SessionError, WindowError
from egosrag.limits import LINE_CHARACTERS, SESSION_TURNS
from egosrag.lore import LoreEntry
from egosrag.models.traits import traits_of
from egosrag.prompts import load, render
from egosrag.roles.lorebook import entries_for
from egosrag.schema import Ledger, Role, Turn
from egosrag.text.language import one_line

History = Literal["single", "multiple"]


def history_of(model: Any) -> History:
    """What ``model`` was trained on: "single" where it is ``single_turn``, else "multiple" (report 7.2.4)."""
    return "single" if traits_of(model).single_turn else "multiple"


class Organize(Step[Talk, Composed]):
    """Composes the prompt for the role's next line.

    Args:
        count: tokens of a list of messages, by the model's own tokenizer and template.
        window: tokens that a prompt may have, the reply's share of the model's window taken off.
        history: "single" or "multiple".
        quote: whether lines stand between quotation marks (report 7.2.3).
        looked_up: tokens of the window that are kept free for what is looked up in the role's sources for each line.
        recalled: the same for what is recalled of turns that are out of sight, once there are such turns.
    """

    def __init__(
        self,
        count: Count,
        window: int,
        *,
        history: History = "single",
        quote: bool = True,
        looked_up: int = 0,
        recalled: int = 0,
    ) -> None:
        self.name = "Organize"
        self.count = count
        self.window = window
        self.history = history
        self.quote = quote
        self.looked_up = looked_up
        self.recalled = recalled

    def run(self, value: Talk, config: RunnableConfig | None = None) -> Composed:
        """The prompt of ``value``.

        Raises:
            WindowError: it does not fit the window; nothing is left out to make it fit but what was found for this
                line alone, the least fitting first.
        """
        value = replace(value, lore=self._told(value))
        composed = self.compose(value)
        while (over := self.size(composed) - self.window) > 0 and (value.recalled or value.facts or value.lore):
            value = _with_less(value)
            composed = self.compose(value)
        composed = replace(composed, ledger=self.ledger(value), talk=value)
        if over > 0:
            raise WindowError(self._too_long(value, over))
        return composed

    def compose(self, talk: Talk) -> Composed:
        """The prompt, whatever its length."""
        language, name, user = talk.language, talk.role.name, talk.user_name
        write = render.quoted if self.quote else render.plain
        prompt = load("generate" if self.quote else "generate_plain", language)
        memory = render.scene_block(talk.visible_scenes, language)
        lines = [(turn.speaker, write(turn.speaker, turn.text, language)) for turn in talk.visible_turns]
        # What is valid for the last line alone stands just before it: the prompt's head stays as it was.
        when = {found.turn.id: found.when for found in talk.recalled}
        found = (
            render.lore_block(talk.lore, talk.role, language, talk.user),
            render.source_block(talk.facts, name, language),
            render.recalled_block((found.turn for found in talk.recalled), language, when),
        )
        if lines and any(found):
            lines[-1] = (lines[-1][0], "\n".join(filter(None, (*found, lines[-1][1]))))
        blocks = _single(memory, lines) if self.history == "single" else _multiple(memory, lines, name)
        system, first = prompt.messages(
            name=one_line(name),
            user=one_line(("、" if language == "zh" else ", ").join((user, *talk.others))),
            card=talk.raw or render.card(talk.role, language, talk.persona),
            conversation=blocks[0][1] if blocks else "",
        )
        later = [AIMessage(text) if spoken else HumanMessage(text) for spoken, text in blocks[1:]]
        prefix = render.speech_prefix(name, language) if self.quote else render.plain(name, "", language)
        speakers = tuple(dict.fromkeys((user, *talk.others, *(turn.speaker for turn in talk.turns))))
        return Composed((system, first, *later), prefix, name, speakers, evidence=talk.facts)

    def size(self, composed: Composed) -> int:
        """The prompt's length in tokens, the prefix included."""
        return self.count([*composed.messages, AIMessage(composed.prefix)])

    def fits(self, talk: Talk, share: float = 1.0) -> bool:
        """Whether the prompt needs no more than ``share`` of its room: what is found for one line has its own."""
        room = self.window - self.looked_up - (self.recalled if talk.out_of_sight else 0)
        room -= self.lore_budget if talk.role.lorebook else 0
        return self.size(self.compose(replace(talk, recalled=(), facts=(), lore=()))) <= room * share

    @property
    def lore_budget(self) -> int:
        """Tokens of the window that a lorebook may take."""
        return min(self.window // 8, 1000)

    def _told(self, talk: Talk) -> tuple[LoreEntry, ...]:
        """What the role's lorebook tells of the last lines."""
        book = talk.role.lorebook
        if book is None:
            return ()
        lines = [turn.text for turn in talk.turns]
        return tuple(entries_for(book, lines, self.lore_budget, lambda text: self.count([HumanMessage(f"- {text}")])))

    def ledger(self, talk: Talk) -> Ledger:
        """What each part of the prompt costs: what the prompt grows by as the parts are put in, one after another."""
        talk = replace(talk, role=talk.role.model_copy(update={"language": talk.language}))
        bare = Role(name=talk.role.name, language=talk.role.language)
        quiet = replace(talk, recalled=(), facts=(), lore=())
        parts = {
            "template": replace(quiet, role=bare, raw="", turns=(), scenes=(), persona=None),
            "card": replace(quiet, turns=(), scenes=()),
            "scenes": replace(quiet, turns=()),
            "history": replace(quiet, turns=talk.visible_turns[:-1]),
            "line": quiet,
            "lore": replace(talk, recalled=()),
            "recalled": talk,
        }
        sizes = [self.size(self.compose(part)) for part in parts.values()]
        return Ledger(**{part: b - a for part, a, b in zip(parts, [0, *sizes], sizes, strict=False)})

    def accept(self, talk: Talk, line: str) -> Turn:
        """The user's line as a turn, once it is sure that it can be answered at all.

        Raises:
            SessionError: the line is empty or too long, or the session has too many turns.
            WindowError: card and line do not fit the window even with nothing else.
        """
        if not line.strip():
            raise SessionError("the line is empty: write what you want to say")
        if len(line) > LINE_CHARACTERS:
            told = f"the line has {len(line):,} characters, and one may have {LINE_CHARACTERS:,}"
            raise SessionError(f"{told}: say it in parts, or give it as a source")
        if len(talk.turns) + 2 > SESSION_TURNS:
            raise SessionError(f"the session has {len(talk.turns):,} turns, as many as it may: begin another one")
        turn = Turn(speaker="", text=line.strip())
        turn = turn.model_copy(update={"speaker": replace(talk, turns=(*talk.turns, turn)).user_name})
        alone = replace(talk, turns=(turn,), scenes=())
        over = self.size(self.compose(alone)) - self.window
        if over > 0:
            raise WindowError(self._too_long(alone, over))
        return turn

    @staticmethod
    def append(talk: Talk, turn: Turn) -> Talk:
        """The conversation with ``turn`` at its end."""
        return replace(talk, turns=(*talk.turns, turn))

    def _too_long(self, talk: Talk, over: int) -> str:
        told = self.ledger(talk)
        parts = {
            "the role card": told.template + told.card,
            "the memory of earlier turns": told.scenes,
            "the line": told.history + told.line,
        }
        longest = max(parts, key=lambda part: parts[part])
        return (
            f"the prompt is {over} tokens longer than the {self.window} that the model's window leaves it: "
            f"{longest} takes {parts[longest]}; shorten it, or use a model with a longer window"
        )


def _with_less(talk: Talk) -> Talk:
    """The conversation without the least fitting of what was found for its last line."""
    if talk.recalled:
        least = min(talk.recalled, key=lambda found: found.score)
        return replace(talk, recalled=tuple(found for found in talk.recalled if found is not least))
    if talk.facts:
        return replace(talk, facts=talk.facts[:-1])
    return replace(talk, lore=talk.lore[:-1])


def _single(memory: str, lines: Sequence[tuple[str, str]]) -> list[tuple[bool, str]]:
    return [(False, "\n".join(filter(None, (memory, *(text for _, text in lines)))))]


def _multiple(memory: str, lines: Sequence[tuple[str, str]], name: str) -> list[tuple[bool, str]]:
    """(spoken by the role, text) a message, the user's first: what stands before it goes into that message."""
    blocks: list[tuple[bool, str]] = [(False, memory)]
    heard = False
    for speaker, text in lines:
        spoken = speaker == name and heard
        heard = heard or speaker != name
        if blocks[-1][0] == spoken:
            blocks[-1] = (spoken, "\n".join(filter(None, (blocks[-1][1], text))))
        else:
            blocks.append((spoken, text))
    return blocks
