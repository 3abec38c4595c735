"""The ways of writing the prompt for a line; each is what the product itself writes with these settings.

What differs from ``quote`` (the report's EGOS-Small: one message, card, quotation marks) is in the name. Those of one
``family`` have prompts that begin alike, and are scored together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from egosrag.egos.organize import Organize
from egosrag.egos.view import ConversationView
from egosrag.errors import SettingsError
from egosrag.prompts import render
from egosrag.prompts.encode import encode, encode_text, end_of_turn_id
from egosrag.schema import Role, Scene, Turn
from evals.nextline.rows import Line, Profile

BASE = "quote"
CardKind = Literal["profile", "none", "raw", "extracted"]


@dataclass(frozen=True)
class System:
    """A way of writing the prompt.

    Attributes:
        name: Of the result.
        family: Of systems whose prompts begin alike.
        quote: Speech between quotation marks; its end is the closing mark, else the end-of-turn token.
        history: Turns in one message, or in a message each.
        card: What is known of the role.
        prefix: Whether the reply begins with the role's name.
        template: Whether the chat template is used; without it the text is as in a novel.
        scenes: Scenes in place of all but the last four turns.
    """

    name: str
    family: str
    quote: bool = True
    history: Literal["single", "multiple"] = "single"
    card: CardKind = "profile"
    prefix: bool = True
    template: bool = True
    scenes: bool = False


SYSTEMS = (
    System(BASE, "quote"),
    System("quote, multiple", "quote", history="multiple"),
    System("no quote", "no quote", quote=False),
    System("no quote, multiple", "no quote, multiple", quote=False, history="multiple"),
    System("bare template", "no quote", quote=False, prefix=False),
    System("no card", "no card", card="none"),
    System("raw sources", "raw sources", card="raw"),
    System("novel", "novel", template=False),
    System("novel, no card", "novel, no card", card="none", template=False),
    System("extracted card", "extracted card", card="extracted"),
    System("scenes", "quote", scenes=True),
)
CARDLESS = frozenset(system.name for system in SYSTEMS if system.card == "none")
GENERATED = ("extracted card", "scenes")  # what the model writes itself first: slow


def parse_systems(text: str) -> list[System]:
    """The systems of ``--systems``: names separated by semicolons, ``all``, or empty for those that write nothing.

    The base is always among them.

    Raises:
        SettingsError: There is no system of that name.
    """
    names = [name.strip() for name in text.split(";") if name.strip()]
    known = {system.name: system for system in SYSTEMS}
    if names == ["all"]:
        return list(SYSTEMS)
    for name in names:
        if name not in known:
            raise SettingsError(f"there is no system {name}: give some of {'; '.join(known)}, or all")
    chosen = {BASE, *names} if names else set(known) - set(GENERATED)
    return [system for system in SYSTEMS if system.name in chosen]


def user_of(turns: Sequence[Turn], role: str) -> str:
    """Who takes the user's part: the last speaker of ``turns`` apart from the role; empty where there is none."""
    return next((turn.speaker for turn in reversed(turns) if turn.speaker != role), "")


class Prompted(NamedTuple):
    """A prompt and the true line as its continuation, as token ids."""

    prompt: list[int]
    reply: list[int]


@dataclass
class Writer:
    """Writes prompts for one model.

    Attributes:
        tokenizer: Of the model.
        window: Its context window, in tokens.
        prompts: The set of prompts that it was trained on.
        turns: Maximum turns before the line.
        end: The id that ends a reply without quotation marks.
    """

    tokenizer: Any
    window: int
    prompts: str = ""
    turns: int = 8
    end: int = field(init=False)
    _templates: bool = field(init=False)

    def __post_init__(self) -> None:
        self._templates = bool(self.tokenizer.chat_template)
        end = end_of_turn_id(self.tokenizer)
        self.end = int(self.tokenizer.eos_token_id if end is None else end)

    def view(self, line: Line, card: Role, raw: str = "", scenes: Sequence[Scene] = ()) -> ConversationView:
        """The conversation before a line."""
        turns = line.turns[-self.turns :]
        user = user_of(turns, line.role)
        return ConversationView(role=card, turns=turns, user=user, raw_sources=raw, scenes=tuple(scenes))

    def write(
        self, system: System, line: Line, profile: Profile | None, scenes: Sequence[Scene] = ()
    ) -> Prompted | None:
        """The prompt of a system for a line, the oldest turns left out where the window is too short.

        None where the role has no profile that the system needs, or not even the last turn fits.
        """
        needs = system.card in ("raw", "extracted") or (system.card == "profile" and profile is not None)
        if needs and profile is None:
            return None
        card = profile.card if profile and system.card in ("profile", "extracted") else Role(name=line.role)
        raw = profile.text if profile and system.card == "raw" else ""
        view = self.view(line, card, raw, scenes)
        reply = self._reply(system, view, line.spoken)
        organize = Organize(
            self.count, self.window - len(reply), history=system.history, quote=system.quote, prompts=self.prompts
        )
        for start in range(len(view.visible_turns)):
            ids = self._encoded(system, organize, view.without(turn.id for turn in view.visible_turns[:start]))
            if len(ids) + len(reply) <= self.window:
                return Prompted(ids, reply)
        return None

    def count(self, prompt: Sequence[BaseMessage] | str) -> int:
        """Tokens of a text, or of messages in the chat template where there is one."""
        if isinstance(prompt, str):
            return len(encode_text(self.tokenizer, prompt))
        return len(encode(self.tokenizer, prompt, template=self._templates))

    def _encoded(self, system: System, organize: Organize, view: ConversationView) -> list[int]:
        composed = organize.compose(view)
        if system.template:
            prefix = [AIMessage(composed.prefix)] if system.prefix else []
            return encode(self.tokenizer, [*composed.messages, *prefix], template=self._templates)
        card = next((part.text for part in composed.parts if part.name == "card"), "")
        dialogue = "\n".join(part.text for part in composed.parts if part.name not in ("template", "card", "prefix"))
        texts = [HumanMessage(text) for text in (card, dialogue) if text]
        return encode(self.tokenizer, [*texts, AIMessage(composed.prefix)], template=False)

    def _reply(self, system: System, view: ConversationView, spoken: str) -> list[int]:
        """The line as the model would go on after the prefix, with its end."""
        name, language = view.role.name, view.language
        if system.quote:
            written = render.quoted(name, spoken, language)
            return encode_text(self.tokenizer, written[len(render.speech_prefix(name, language)) :])
        written = render.plain(name, spoken, language)
        start = len(render.reply_prefix(name, language, quote=False)) if system.prefix else len(written) - len(spoken)
        return [*encode_text(self.tokenizer, written[start:]), self.end]


def scenes_of(model: Any, writer: Writer, line: Line, card: Role, note: Callable[[str], None]) -> tuple[Scene, ...]:
    """The scenes that Summarize writes for all but the last four turns of a line; none of a shorter dialogue."""
    from egosrag.egos.summarize import KEEP_TURNS, Summarize

    summarize = Summarize(
        model, writer.count, writer.window, lambda view, _: len(view.visible_turns) <= KEEP_TURNS, notify=note
    )
    return summarize.invoke(writer.view(line, card))
