"""Role-play rows as training examples, rendered as Generate prompts (report 7.2.3 and 7.4).

Shapes: our own ``{"role": card or name, "turns": [{"speaker", "text"}], "user"?, "scenes"?}``; RoleBench's ``role``,
``question``, ``generated``; ChatHaruhi's ``agent_role``, ``user_question``, ``agent_response``; and transcripts of
lines like ``春日:「什么啊」``, as in ChatHaruhi's text folders.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage
from pydantic import ValidationError

from egosrag.errors import TrainingError
from egosrag.prompts import load, render
from egosrag.schema import Role, Scene, Turn
from egosrag.text.language import language_of
from finetune.data.shapes import BadRow, Example, words

_SPOKEN = re.compile(r"^\s*([^:：「“\"]{1,40})\s*[:：]\s*[「“\"](.*?)[」”\"]")


@dataclass(frozen=True)
class Cast:
    """Who can be played: ``cards`` by name, the ``role`` of rows that name none, and whether speech is quoted."""

    cards: Mapping[str, Role] = field(default_factory=dict)
    role: str | None = None
    quote: bool = True

    def card(self, name: str) -> Role:
        """The card of ``name``; one with the name alone when there is none."""
        return self.cards.get(name.strip().lower()) or Role.model_validate({"name": name})


def load_cast(profiles: str | None, role: str | None, quote: bool) -> Cast:
    """The cards that ``profiles`` holds.

    Args:
        profiles: a folder of role files, one role file, or a JSON object of name to description (RoleBench's).
        role: whose speeches are learned where the rows name nobody.
        quote: whether speech stands between quotation marks.

    Raises:
        TrainingError: there is no such file, or it is none of these.
    """
    if profiles is None:
        return Cast(role=role, quote=quote)
    path = Path(profiles)
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    cards: list[Role] = []
    try:
        for file in files:
            found = json.loads(file.read_text(encoding="utf-8-sig"))
            if isinstance(found, dict) and isinstance(found.get("name"), str):
                cards.append(Role.model_validate(found))
            else:
                told = {name: _told(what) for name, what in found.items()}
                cards += [Role.model_validate({"name": name, "background": text}) for name, text in told.items()]
    except (OSError, ValueError, AttributeError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "neither a role nor names with descriptions"
        raise TrainingError(f"cannot use the profiles {file}: {reason}") from error
    if not cards:
        raise TrainingError(f"there is no role in {profiles}: give a folder of role files, or a JSON of descriptions")
    return Cast({card.name.lower(): card for card in cards}, role, quote)


def _told(what: Any) -> str:
    """A description as RoleBench (text) or CharacterEval (an object of traits) writes it."""
    return what if isinstance(what, str) else "；".join(f"{key}：{value}" for key, value in what.items())


def examples(row: Mapping[str, Any], where: str, cast: Cast) -> list[Example]:
    """One example for every speech of the role that answers somebody.

    Raises:
        BadRow: the row has no such speech.
    """
    role, user, turns, scenes = _dialogue(row, cast)
    language = _language(role, turns)
    others = {turn.speaker for turn in turns} - {role.name}
    user = user or (others.pop() if len(others) == 1 else None)
    # In a session the user is always "Me": whoever talks with the role takes that place.
    turns = [_renamed(turn, user, render.USER[language]) for turn in turns]
    found = [
        _example(role, turns[:n], turn.text, scenes, language, where, cast.quote)
        for n, turn in enumerate(turns)
        if n and turn.speaker == role.name and turns[n - 1].speaker != role.name and turn.text.strip()
    ]
    if not found:
        raise BadRow(f"{role.name} answers nobody in it")
    return found


def _language(role: Role, turns: list[Turn]) -> str:
    """The language of a session: the card's, or the first line's where the card is no more than a name."""
    told = [s.text for s in (*role.background, *role.personality, *role.speaking_style, *role.relations)]
    text = " ".join([*told, *(line.text for line in role.sample_dialogue)])
    return role.language or language_of(text or " ".join(turn.text for turn in turns[:1]) + role.name)


def _renamed(turn: Turn, old: str | None, new: str) -> Turn:
    return turn.model_copy(update={"speaker": new}) if turn.speaker == old else turn


def _example(
    role: Role, history: list[Turn], speech: str, scenes: list[Scene], language: str, where: str, quote: bool
) -> Example:
    lines = [render.scene_block(scenes, language), render.transcript(history, language, quote=quote)]
    messages = load("generate" if quote else "generate_plain", language).messages(
        name=role.name,
        user=render.USER[language],
        card=render.card(role, language),
        conversation="\n".join(filter(None, lines)),
    )
    whole = (render.quoted if quote else render.plain)(role.name, speech, language)
    prefix = render.speech_prefix(role.name, language) if quote else render.plain(role.name, "", language)
    # With quotation marks the closing one ends the speech, and nothing is learned after it.
    return Example(where, (*messages, AIMessage(prefix)), whole[len(prefix) :], closed=not quote)


def _dialogue(row: Mapping[str, Any], cast: Cast) -> tuple[Role, str | None, list[Turn], list[Scene]]:
    if "turns" in row:
        return _own(row, cast)
    if "agent_response" in row:
        name = str(row.get("agent_role") or row.get("agent_role_name_en") or cast.role or "")
        asked, answered = words(row, "user_question"), words(row, "agent_response")
        user = str(row.get("user_role") or "user")
    elif "generated" in row:
        name, asked, answered, user = words(row, "role"), words(row, "question"), _first(row["generated"]), "user"
    else:
        return _transcript(words(row, "text"), cast)
    if not name.strip():
        raise BadRow("it names no role: give --role NAME")
    turns = [Turn(speaker=user, text=_bare(asked)), Turn(speaker=cast.card(name).name, text=_bare(answered))]
    return cast.card(name), user, turns, []


def _own(row: Mapping[str, Any], cast: Cast) -> tuple[Role, str | None, list[Turn], list[Scene]]:
    card = row.get("role") or cast.role
    try:
        role = cast.card(card) if isinstance(card, str) else Role.model_validate(card)
        turns = [Turn.model_validate(turn) for turn in row["turns"]]
        scenes = [Scene(text=str(text), turn_ids=()) for text in row.get("scenes") or ()]
    except (ValidationError, TypeError) as error:
        raise BadRow("role is not a card, or turns are not speakers with texts") from error
    return role, row.get("user"), turns, scenes


def _transcript(text: str, cast: Cast) -> tuple[Role, str | None, list[Turn], list[Scene]]:
    if not cast.role:
        raise BadRow("a transcript does not say whose speeches to learn: give --role NAME")
    spoken = (_SPOKEN.match(line) for line in text.splitlines())
    turns = [Turn(speaker=m[1].strip(), text=m[2]) for m in spoken if m]
    card = cast.card(cast.role)
    # Transcripts call a character by its own short name: 春日 for 凉宫春日.
    names = {turn.speaker for turn in turns if turn.speaker in card.name or card.name in turn.speaker}
    turns = [t.model_copy(update={"speaker": card.name}) if t.speaker in names else t for t in turns]
    return card, None, turns, []


def _first(generated: Any) -> str:
    value = generated[0] if isinstance(generated, list) and generated else generated
    if not isinstance(value, str) or not value.strip():
        raise BadRow("generated is empty")
    return value


def _bare(text: str) -> str:
    """The words alone of ``阿虚:「喂」``."""
    found = _SPOKEN.match(text)
    return found[2] if found else text
