"""Cards, turns and passages as text of a prompt, in one place for inference and for training.

Untrusted text passes through here: a user's line, a card and a passage are escaped so that they cannot close
their quotation marks, forge a turn or open a new line of the prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from egosrag.prompts import load
from egosrag.schema import DialogueLine, Evidence, LoreEntry, Passage, Persona, Pin, Role, Scene, Statement, Turn
from egosrag.text import macros
from egosrag.text.language import one_line
from egosrag.text.macros import Scope
from egosrag.text.tables import labelled_rows

MARKS = {"en": ('"', '"'), "zh": ("“", "”")}
COLON = {"en": ": ", "zh": "："}
USER = {"en": "Me", "zh": "我"}
"""The speaker's name of a user without a persona."""
_USER_IN_CARD = {"en": "the user", "zh": "用户"}  # {{user}} in a card, without a persona
_USER_IN_GREETING = {"en": "you", "zh": "你"}  # {{user}} in a greeting, without a persona
_EARLIER = {"en": "Earlier: ", "zh": "从前："}  # before a statement that is so no longer
_INNER_MARKS = {"en": str.maketrans({'"': "'"}), "zh": str.maketrans({"“": "‘", "”": "’", '"': "'"})}


class Situation(NamedTuple):
    """The conversation that macros are filled in for.

    Attributes:
        seed: of random choices, the same for the whole conversation.
        turn: what ``{{random}}`` and ``{{roll}}`` draw anew for.
        at: the time of ``{{time}}`` and the like; now when absent.
        others: names of the other characters.
    """

    seed: str = ""
    turn: str = ""
    at: datetime | None = None
    others: tuple[str, ...] = ()


def speech_prefix(speaker: str, language: str) -> str:
    """The beginning of a turn, with the opening quotation mark: ``Tim: "`` or ``悟空：“`` (report 7.2.3)."""
    return one_line(speaker) + COLON[language] + MARKS[language][0]


def reply_prefix(speaker: str, language: str, *, quote: bool = True) -> str:
    """The beginning of a reply that a model continues: ``Tim: "``, without quotes ``Tim:``.

    Without a quotation mark it ends at the colon: the space belongs to the token of the first word, and a model that is
    given it alone goes on with a digit or in the middle of a word.
    """
    return speech_prefix(speaker, language) if quote else plain(speaker, "", language).rstrip()


def quoted(speaker: str, text: str, language: str) -> str:
    """One turn as a line, ``Me: "Who are you?"``; quotation marks inside become inner ones, so none closes it early."""
    return speech_prefix(speaker, language) + one_line(text).translate(_INNER_MARKS[language]) + MARKS[language][1]


def plain(speaker: str, text: str, language: str) -> str:
    """One turn as a line without quotation marks (no-quote mode), ``Me: Who are you?``."""
    return one_line(speaker) + COLON[language] + one_line(text)


def transcript(turns: Iterable[Turn], language: str, *, quote: bool = True) -> str:
    """The turns, one a line: the history as a single message (report 7.2.4)."""
    write = quoted if quote else plain
    return "\n".join(write(turn.speaker, turn.text, language) for turn in turns)


def scene_block(scenes: Sequence[Scene], language: str, prompts: str = "") -> str:
    """The scenes that summarize old turns, one a numbered line; empty when there are none."""
    texts = [one_line(scene.text) for scene in scenes if scene.text]
    lines = "\n".join(f"{n}. {text}" for n, text in enumerate(texts, 1))
    return load("memory", language, prompts).text(scenes=lines) if lines else ""


def pin_block(pins: Iterable[Pin], language: str, prompts: str = "") -> str:
    """The facts that stay in every prompt, one a line; empty when there are none."""
    lines = "\n".join(f"- {one_line(pin.text)}" for pin in pins)
    return load("pins", language, prompts).text(pins=lines) if lines else ""


def recalled_line(turn: Turn, language: str, when: str = "") -> str:
    """One recalled turn as a line, ``[8 May 2023] Me: "My sister is Ann."``; without a date, as ``quoted``."""
    date = one_line(when).translate(_INNER_MARKS[language])
    return (f"[{date}] " if date else "") + quoted(turn.speaker, turn.text, language)


def recalled_block(
    turns: Iterable[Turn], language: str, when: Mapping[str, str] | None = None, prompts: str = ""
) -> str:
    """The turns that the dynamic memory recalled (report 7.2.4), one a line; empty when there are none.

    It is placed just before the user's last line, so that the prompt before it keeps its KV cache; it is part of no
    turn, so that what was recalled is never stored a second time.

    Args:
        turns: in chronological order.
        language: "en" or "zh".
        when: date of a turn in words, by turn id.
        prompts: the set of prompts.
    """
    lines = "\n".join(recalled_line(turn, language, (when or {}).get(turn.id, "")) for turn in turns)
    return load("recall", language, prompts).text(turns=lines) if lines else ""


def source_block(places: Iterable[Evidence], name: str, language: str, prompts: str = "") -> str:
    """What the dynamic Extract retrieved from a role's sources (report 7.2.2), one quote a line; empty without any.

    It is placed just before the user's last line, and only in the prompt of that line.
    """
    lines = "\n".join(f"- {one_line(place.quote)}" for place in places)
    return load("sources", language, prompts).text(name=one_line(name), sources=lines) if lines else ""


def macro_scope(
    role: Role, language: str, persona: Persona | None = None, *, user: str = "", situation: Situation | None = None
) -> Scope:
    """What the macros of a card, a greeting or a lorebook entry are replaced by.

    Args:
        role: the card; its nickname, if it has one, is ``{{char}}``.
        language: "en" or "zh".
        persona: of the user.
        user: ``{{user}}``, where there is no persona; "the user" when absent.
        situation: the conversation and its time.
    """
    original = (role.model_extra or {}).get("character_card")
    data = original.get("data", original) if isinstance(original, dict) else {}
    fields = {key: data.get(key) for key in ("scenario", "mes_example", "character_version", "creator_notes")}
    fields |= {
        "description": "\n".join(s.text for s in role.background),
        "personality": "\n".join(s.text for s in role.personality),
        "persona": persona.description if persona else "",
    }
    where = situation or Situation()
    return Scope(
        char=one_line(role.nickname or role.name),
        user=one_line(persona.name if persona else user) or _USER_IN_CARD[language],
        language=language,
        fields={key: text for key, text in fields.items() if isinstance(text, str)},
        seed=where.seed,
        turn=where.turn,
        at=where.at,
        others=tuple(map(one_line, where.others)),
    )


def greeting(role: Role, language: str, persona: Persona | None = None, situation: Situation | None = None) -> str:
    """The role's first message with its macros filled in ("you" without a persona); empty when the card has none."""
    scope = macro_scope(role, language, persona, user=_USER_IN_GREETING[language], situation=situation)
    return macros.fill((role.greeting or "").replace("\0", ""), scope).strip()


def unknown_macros(role: Role) -> list[str]:
    """The macros in a card that are not known and stay as they are, each once."""
    return list(dict.fromkeys(name for text in _texts(role) for name in macros.unknown_macros(text)))


def has_macros(role: Role) -> bool:
    """Whether a card has macros."""
    return any("{{" in text for text in _texts(role))


def uses_clock(role: Role) -> bool:
    """Whether the card, as the prompt has it, depends on the time."""
    return any(macros.uses_clock(text) for text in _texts(role))


def _texts(role: Role) -> Iterable[str]:
    """All texts of a card that have macros."""
    for statements in (role.background, role.personality, role.speaking_style, role.relations):
        yield from (statement.text for statement in statements)
    yield from (line.text for line in role.sample_dialogue)
    yield from (role.greeting or "", *role.alternate_greetings)
    if role.lorebook:
        yield from (entry.content for entry in role.lorebook.entries)


def card(
    role: Role,
    language: str,
    persona: Persona | None = None,
    prompts: str = "",
    situation: Situation | None = None,
) -> str:
    """The role card as text of the system prompt, without evidence; always the same for the same arguments.

    Args:
        role: the card.
        language: "en" or "zh".
        persona: of the user; without one the card says "the user".
        prompts: the set of prompts.
        situation: the conversation and its time, for macros.
    """
    scope = macro_scope(role, language, persona, situation=situation)

    def joined(statements: Iterable[Statement]) -> str:
        texts = ((_EARLIER[language] if s.until else "", one_line(macros.fill(s.text, scope))) for s in statements)
        return _joined((before + text for before, text in texts if text), language)

    def spoken(line: DialogueLine) -> str:
        speaker = macros.fill(line.speaker, scope if persona else replace(scope, user=USER[language]))
        return quoted(speaker, macros.fill(line.text, scope), language)

    return load("card", language, prompts).text(
        name=one_line(role.name),
        background=joined(role.background),
        personality=joined(role.personality),
        speaking_style=joined(role.speaking_style),
        relations=joined(role.relations),
        sample_dialogue=" ".join(map(spoken, role.sample_dialogue)),
        persona=_persona(persona, scope, language) if persona else "",
    )


def _persona(persona: Persona, scope: Scope, language: str) -> str:
    description = one_line(macros.fill(persona.description, replace(scope, fields={})))
    return one_line(persona.name) + (COLON[language] + description if description else "")


def lore_block(entries: Iterable[LoreEntry], language: str, prompts: str = "") -> str:
    """The lorebook entries that were activated, their macros filled in, one a line; empty when there are none.

    It is placed near the user's last line, as ``recalled_block``, so that the prompt before it keeps its KV cache.
    """
    texts = (one_line(entry.content) for entry in entries)
    lines = "\n".join(f"- {text}" for text in texts if text)
    return load("lore", language, prompts).text(entries=lines) if lines else ""


def note_block(text: str, scope: Scope, language: str, prompts: str = "") -> str:
    """A note of a card or of the author on one line, its macros filled in; empty where nothing is left of it."""
    note = one_line(macros.fill(text, scope))
    return load("note", language, prompts).text(note=note) if note else ""


def _joined(texts: Iterable[str], language: str) -> str:
    stop = "。" if language == "zh" else "."
    ended = (t if t[-1] in '.!?。！？…"”’」』' else t + stop for t in texts if t)
    return ("" if language == "zh" else " ").join(ended)


def passages(retrieved: Iterable[Passage], language: str) -> str:
    """Numbered passages, one a line, with page and section: ``[1] (p. 17, Doors > Tailgate) ...``.

    The cells of a table follow their headers: ``Fluid: Petrol; Amount: 52 litres.``
    """
    lines = []
    for n, passage in enumerate(retrieved, 1):
        section = one_line(passage.section)
        if language == "zh":
            head = f"[{n}]（第{passage.page}页{'，' + section if section else ''}）"
        else:
            head = f"[{n}] (p. {passage.page}{', ' + section if section else ''}) "
        lines.append(head + one_line(labelled_rows(passage.text, language, starts_inside=passage.start > 0)))
    return "\n".join(lines)


def question_history(history: Iterable[tuple[str, str]], language: str) -> str:
    """Earlier questions and answers of a chat, two lines a pair; empty when there are none."""
    ask, answer = ("问：", "答：") if language == "zh" else ("Q: ", "A: ")
    return "\n".join(f"{ask}{one_line(q)}\n{answer}{one_line(a)}" for q, a in history)
