"""Role-play rows as training examples, rendered as Generate prompts (report 7.2.3 and 7.4).

Row formats: our own ``{"role": card or name, "turns": [{"speaker", "text"}], "user"?, "scenes"?}``; the same with
``spoken`` (CharacterEval's contexts), the line to train after ``turns`` that are context alone; RoleBench's
``role``, ``question``, ``generated``; ChatHaruhi's ``agent_role``, ``user_question``, ``agent_response``; and
transcripts of lines like ``春日:「什么啊」``, as in ChatHaruhi's text folders.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage
from pydantic import ValidationError

from egosrag.errors import TrainingError
from egosrag.prompts import load, render
from egosrag.roles.cards import is_character_card, role_fields
from egosrag.roles.notes import notes_of
from egosrag.schema import Role, Scene, Turn
from egosrag.text.encoding import is_text
from egosrag.text.language import language_of
from egosrag.text.nested import nested_text
from finetune.data.shapes import BadRow, Example, column_text

_SPEAKER = re.compile(r"\s*([^:：「『“\"]{1,40}?)\s*[:：]\s*([「『“\"])")
_CLOSING = {"「": "」", "『": "』", "“": "”", '"': '"'}


@dataclass(frozen=True)
class Cast:
    """The roles that rows refer to by name.

    Attributes:
        cards: role cards by lower-case name.
        role: the role to train where a row names none.
        quote: whether speech is written between quotation marks.
        prompts: the set of prompts that the model to train was trained on (``egosrag.traits``).
    """

    cards: Mapping[str, Role] = field(default_factory=dict)
    role: str | None = None
    quote: bool = True
    prompts: str = ""

    def card(self, name: str) -> Role:
        """The card of ``name``; a card with only the name if there is none."""
        return self.cards.get(name.strip().lower()) or Role.model_validate({"name": name})


def load_cast(profiles: str | None, role: str | None, quote: bool, prompts: str = "") -> Cast:
    """Load the cards in ``profiles``.

    Args:
        profiles: a folder of role files, one role file, or a JSON object of name to description (RoleBench's).
        role: the role to train where a row names none.
        quote: whether speech is written between quotation marks.
        prompts: the set of prompts of the model to train.

    Raises:
        TrainingError: the file does not exist or has none of these formats.
    """
    if profiles is None:
        return Cast(role=role, quote=quote, prompts=prompts)
    path = Path(profiles)
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    cards: list[Role] = []
    try:
        for file in files:
            content = json.loads(file.read_text(encoding="utf-8-sig"))
            if not is_text(content):
                raise TrainingError(
                    f"{file} has half of a character (a lone surrogate, \\ud800 to \\udfff): fix it there"
                )
            if isinstance(content, dict) and (is_character_card(content) or isinstance(content.get("name"), str)):
                cards.append(_role(content))
            else:
                texts = {name: _description_text(description) for name, description in content.items()}
                cards += [Role.model_validate({"name": name, "background": text}) for name, text in texts.items()]
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "neither a role nor names with descriptions"
        raise TrainingError(f"cannot use the profiles {file}: {reason}") from error
    if not cards:
        raise TrainingError(f"there is no role in {profiles}: give a folder of role files, or a JSON of descriptions")
    return Cast({card.name.lower(): card for card in cards}, role, quote, prompts)


def _description_text(description: Any) -> str:
    """A description as text, from RoleBench (text) or CharacterEval (an object of attributes)."""
    if isinstance(description, str):
        return description
    return "；".join(f"{key}：{text}" for key, value in description.items() if (text := nested_text(value)))


class _Dialogue(NamedTuple):
    """A row's role, the name of its user (None if unknown), its turns, and the scenes before them."""

    role: Role
    user: str | None
    turns: list[Turn]
    scenes: list[Scene]


def roleplay_examples(row: Mapping[str, Any], location: str, cast: Cast) -> list[Example]:
    """One example for each line of the role that answers another speaker; of a row with ``spoken``, for that line.

    Raises:
        BadRow: the row has no such line.
    """
    role, user, said, scenes = _dialogue(row, cast)
    turns = [turn for turn in said if turn.text.strip()]
    left_out = ["empty turns"] * (len(said) - len(turns))
    if role.lorebook or notes_of(role):
        left_out.append("lorebooks and notes of cards")
    language = _session_language(role, turns)
    others = {turn.speaker for turn in turns} - {role.name}
    user = user or (others.pop() if len(others) == 1 else None)
    # In a session the user is always "Me": the role's partner in the conversation gets that name.
    turns = [_rename_speaker(turn, user, render.USER[language]) for turn in turns]
    first = max(1, len(turns) - 1) if row.get("spoken") else 1
    examples = [
        _example(_Dialogue(role, user, turns[:n], scenes), turn.text, language, location, cast)
        for n, turn in enumerate(turns)
        if n >= first and turn.speaker == role.name and turns[n - 1].speaker != role.name
    ]
    if not examples:
        raise BadRow(f"{role.name} answers no other speaker in it")
    return [replace(examples[0], left_out=tuple(left_out)), *examples[1:]]


def _session_language(role: Role, turns: list[Turn]) -> str:
    """The language of a session: the card's, or the first line's if the card has only a name."""
    statements = [s.text for s in (*role.background, *role.personality, *role.speaking_style, *role.relations)]
    text = " ".join([*statements, *(line.text for line in role.sample_dialogue)])
    return role.language or language_of(text or " ".join(turn.text for turn in turns[:1]) + role.name)


def _rename_speaker(turn: Turn, old: str | None, new: str) -> Turn:
    return turn.model_copy(update={"speaker": new}) if turn.speaker == old else turn


def _example(before: _Dialogue, speech: str, language: str, location: str, cast: Cast) -> Example:
    """The role's ``speech`` after the dialogue ``before``."""
    role, quote = before.role, cast.quote
    scenes = render.scene_block(before.scenes, language, cast.prompts)
    turns = [render.transcript([turn], language, quote=quote) for turn in before.turns]
    conversation = "\n".join(filter(None, [scenes, *turns]))
    messages = load("generate" if quote else "generate_plain", language, cast.prompts).messages(
        name=role.name,
        user=render.USER[language],
        card=render.card(role, language, prompts=cast.prompts),
        conversation=conversation,
    )
    # Too long a prompt loses whole turns, the scenes with the first of them: part of one would have no speaker.
    ends = accumulate(len(text) + 1 for text in filter(None, [scenes, *turns[:-1]]))
    breaks = tuple(str(messages[-1].content).find(conversation) + end for end in ends)
    line = (render.quoted if quote else render.plain)(role.name, speech, language)
    prefix = render.reply_prefix(role.name, language, quote=quote)
    # With quotation marks the closing mark ends the speech, so no stop token is trained.
    return Example(location, (*messages, AIMessage(prefix)), line[len(prefix) :], not quote, breaks)


def _dialogue(row: Mapping[str, Any], cast: Cast) -> _Dialogue:
    """The dialogue of a row of any of the formats."""
    if "turns" in row:
        return _from_turns(row, cast)
    if "agent_response" in row:
        name = str(row.get("agent_role") or row.get("agent_role_name_en") or cast.role or "")
        question, answer = (_spoken_text(column_text(row, key)) for key in ("user_question", "agent_response"))
        user = str(row.get("user_role") or "user")
    elif "generated" in row:
        name, question = column_text(row, "role"), column_text(row, "question")
        answer, user = _first_generated(row["generated"]), "user"
    else:
        return _from_transcript(column_text(row, "text"), cast)
    if not name.strip():
        raise BadRow("the row names no role: give --role NAME")
    try:
        role = cast.card(name)
    except ValidationError as error:
        raise BadRow("role is not a name") from error
    return _Dialogue(role, user, [Turn(speaker=user, text=question), Turn(speaker=role.name, text=answer)], [])


def _from_turns(row: Mapping[str, Any], cast: Cast) -> _Dialogue:
    card = row.get("role") or cast.role
    try:
        role = cast.card(card) if isinstance(card, str) else _role(card)
        turns = [_of_role(_turn(turn), role) for turn in row["turns"]]
        if row.get("spoken"):
            if not str(row["spoken"]).strip():
                raise BadRow("spoken is empty")
            turns.append(Turn(speaker=role.name, text=row["spoken"]))
        summary = row.get("scenes") or ()
        texts = (_scene_text(scene) for scene in ([summary] if isinstance(summary, str) else summary))
        scenes = [Scene(text=text, turn_ids=()) for text in texts if text]
    except (ValueError, TypeError) as error:
        raise BadRow("role is not a card, or turns are not speakers with texts") from error
    return _Dialogue(role, row.get("user"), turns, scenes)


def _role(content: Any) -> Role:
    """The role of an object: our own, or a character card.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(content, dict):
        raise ValueError("a role is an object")
    return Role.model_validate(role_fields(content) if is_character_card(content) else content)


def _scene_text(scene: Any) -> str:
    """A scene as text, or as an object with one; empty for null.

    Raises:
        TypeError: it is neither.
    """
    text = scene.get("text") if isinstance(scene, Mapping) else scene
    if not isinstance(text, str | None):
        raise TypeError("a scene is a text")
    return text or ""


def _turn(turn: Any) -> Turn:
    """A turn; one without a text is empty."""
    return Turn.model_validate(turn if not isinstance(turn, Mapping) else {**turn, "text": turn.get("text") or ""})


def _of_role(turn: Turn, role: Role) -> Turn:
    """The turn with the role's name where the data set writes "character" for it."""
    return turn.model_copy(update={"speaker": role.name}) if turn.speaker == "character" else turn


def _from_transcript(text: str, cast: Cast) -> _Dialogue:
    if not cast.role:
        raise BadRow("a transcript does not state whose speech to train: give --role NAME")
    lines = [line for line in map(_spoken_line, text.splitlines()) if line]
    card = cast.card(cast.role)
    names = _names_of(card.name, {line.speaker for line in lines})
    turns = [Turn(speaker=card.name if line.speaker in names else line.speaker, text=line.speech) for line in lines]
    return _Dialogue(card, None, turns, [])


def _names_of(name: str, speakers: Set[str]) -> set[str]:
    """The speakers of a transcript who are ``name``: under it, or parts of it (春日 for 凉宫春日), or a longer one.

    Raises:
        BadRow: several longer names contain it.
    """
    own = {name} & speakers or {speaker for speaker in speakers if _is_part(speaker, name)}
    if own:
        return own
    longer = {speaker for speaker in speakers if _is_part(name, speaker)}
    if len(longer) > 1:
        raise BadRow(f"{name} may be any of {', '.join(sorted(longer))}: give --role with one of these names")
    return longer


def _is_part(part: str, name: str) -> bool:
    """Whether ``part`` is a whole word of a name, or in a name without spaces its beginning or end."""
    if part == name or part in name.split():
        return True
    return not name.isascii() and len(part) > 1 and name.startswith(part) | name.endswith(part)


def _first_generated(generated: Any) -> str:
    value = generated[0] if isinstance(generated, list) and generated else generated
    if not isinstance(value, str) or not value.strip():
        raise BadRow("generated is empty")
    return value


class _SpokenLine(NamedTuple):
    """``speaker:「speech」``, and what is behind it."""

    speaker: str
    speech: str
    rest: str


def _spoken_line(line: str) -> _SpokenLine | None:
    """A line of a transcript; None if it is none. The speech ends with the mark that closes the first one."""
    start = _SPEAKER.match(line)
    if not start:
        return None
    opening, closing = start[2], _CLOSING[start[2]]
    depth = 1
    for at in range(start.end(), len(line)):
        depth += -1 if line[at] == closing else line[at] == opening
        if not depth:
            return _SpokenLine(start[1], line[start.end() : at], line[at + 1 :])
    last = line.rstrip()[-1:]  # opened and closed in two styles
    return _SpokenLine(start[1], line[start.end() :].rstrip()[:-1], "") if last in _CLOSING.values() else None


def _spoken_text(text: str) -> str:
    """The text without speaker and quotation marks, if it is nothing else: ``喂`` of ``阿虚:「喂」``."""
    line = _spoken_line(text)
    return line.speech if line and not line.rest.strip() else text
