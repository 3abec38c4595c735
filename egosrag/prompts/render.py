"""Cards, turns and passages as text of a prompt, in one place for inference and for training.

Untrusted text passes through here: a user's line, a card and a passage are escaped so that they cannot close
their quotation marks, forge a turn or open a new line of the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from egosrag.prompts import load
from egosrag.schema import DialogueLine, Evidence, LoreEntry, Passage, Persona, Role, Scene, Statement, Turn
from egosrag.text.language import one_line
from egosrag.text.tables import labelled_rows

MARKS = {"en": ('"', '"'), "zh": ("“", "”")}
COLON = {"en": ": ", "zh": "："}
USER = {"en": "Me", "zh": "我"}
"""The speaker's name of a user without a persona."""
_USER_IN_CARD = {"en": "the user", "zh": "用户"}  # {{user}} in a card, without a persona
_USER_IN_GREETING = {"en": "you", "zh": "你"}  # {{user}} in a greeting, without a persona
_PLACEHOLDER = re.compile(r"\{\{(?:(char|user)|//[^{}]*)\}\}|<(user|bot)>", re.IGNORECASE)
_INNER_MARKS = {"en": str.maketrans({'"': "'"}), "zh": str.maketrans({"“": "‘", "”": "’", '"': "'"})}


def speech_prefix(speaker: str, language: str) -> str:
    """The beginning of a turn, with the opening quotation mark: ``Tim: "`` or ``悟空：“`` (report 7.2.3)."""
    return one_line(speaker) + COLON[language] + MARKS[language][0]


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
    lines = "\n".join(f"{n}. {one_line(scene.text)}" for n, scene in enumerate(scenes, 1))
    return load("memory", language, prompts).text(scenes=lines) if lines else ""


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


def fill_placeholders(text: str, role: Role, user: str) -> str:
    """``text`` with the placeholders of character cards replaced: ``{{char}}``, ``{{user}}``, ``{{// comment}}``.

    In one pass, so that a name that is itself written like a placeholder stays as it is. Other macros are not replaced.
    """
    names = {"char": role.nickname or role.name, "bot": role.nickname or role.name, "user": user}

    def named(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2)
        return names[name.lower()] if name else ""

    return _PLACEHOLDER.sub(named, text)


def greeting(role: Role, language: str, user: str = "") -> str:
    """The role's first message, with the user's name filled in ("you" without one); empty when the card has none."""
    return fill_placeholders(role.greeting or "", role, user or _USER_IN_GREETING[language]).strip()


def card(role: Role, language: str, persona: Persona | None = None, prompts: str = "") -> str:
    """The role card as text of the system prompt, without evidence; always the same for the same arguments.

    Args:
        role: the card.
        language: "en" or "zh".
        persona: of the user; without one the card says "the user".
        prompts: the set of prompts.
    """
    user = one_line(persona.name) if persona else ""

    def joined(statements: Iterable[Statement]) -> str:
        return _joined(
            (one_line(fill_placeholders(s.text, role, user or _USER_IN_CARD[language])) for s in statements), language
        )

    def spoken(line: DialogueLine) -> str:
        speaker = fill_placeholders(line.speaker, role, user or USER[language])
        return quoted(speaker, fill_placeholders(line.text, role, user or _USER_IN_CARD[language]), language)

    return load("card", language, prompts).text(
        name=one_line(role.name),
        background=joined(role.background),
        personality=joined(role.personality),
        speaking_style=joined(role.speaking_style),
        relations=joined(role.relations),
        sample_dialogue=" ".join(map(spoken, role.sample_dialogue)),
        persona=_persona(persona, role, language) if persona else "",
    )


def _persona(persona: Persona, role: Role, language: str) -> str:
    description = one_line(fill_placeholders(persona.description, role, persona.name))
    return one_line(persona.name) + (COLON[language] + description if description else "")


def lore_block(entries: Iterable[LoreEntry], role: Role, language: str, user: str = "", prompts: str = "") -> str:
    """The lorebook entries that were activated, one a line; empty when there are none.

    It is placed near the user's last line, as ``recalled_block``, so that the prompt before it keeps its KV cache.
    """
    texts = (one_line(fill_placeholders(entry.content, role, user or _USER_IN_CARD[language])) for entry in entries)
    lines = "\n".join(f"- {text}" for text in texts if text)
    return load("lore", language, prompts).text(entries=lines) if lines else ""


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
