"""Lines of a chat as other programs store them, and the conversation that they make."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from egosrag.errors import SessionError
from egosrag.prompts.render import USER
from egosrag.schema import Role, Turn
from egosrag.sessions.archive import Archive
from egosrag.sessions.records import Branch, Swipes
from egosrag.text import macros
from egosrag.text.encoding import without_surrogates
from egosrag.text.language import language_of
from egosrag.text.macros import Scope

_DATES = (
    "%B %d, %Y %I:%M%p", "%B %d, %Y %I:%M %p", "%b %d, %Y %H:%M", "%B %d, %Y %H:%M", "%Y-%m-%d@%Hh%Mm%Ss",
    "%Y-%m-%d@%Hh%Mm%Ss%fms", "%Y-%m-%d @%Hh %Mm %Ss %fms", "%Y-%m-%d @%Hh %Mm %Ss", "%Y-%m-%d",
    "%m/%d/%Y, %I:%M:%S %p", "%a %b %d %Y %H:%M:%S GMT%z", "%a, %d %b %Y %H:%M:%S GMT", "%Y年%m月%d日 %H:%M",
)  # fmt: skip
_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d")
_LONGEST_DATE = 100  # characters
_ZONE_NAME = re.compile(r"\s*\([^()]*\)$")  # behind a date of JavaScript
_NAME_LENGTH = 1000  # characters; names of files are not trusted
_ID = re.compile(r"[\w.:-]{1,128}")


@dataclass(frozen=True)
class ChatLine:
    """A line of a chat.

    Attributes:
        text: what is said.
        is_user: whether the user says it.
        name: the speaker; empty: the user's or the character's name of the whole chat.
        at: when it was said, in any form that :func:`iso_time` reads.
        swipes: all versions of a reply, ``text`` among them; empty: there is only one.
        swipe: the index of ``text`` in ``swipes``.
        id: the turn's id, where we wrote the file.
        interrupted: whether the line was broken off.
        narrator: whether no character says it.
        branches: of a reply whose versions were continued, the lines that followed each version, by its index.
    """

    text: str
    is_user: bool
    name: str = ""
    at: Any = ""
    swipes: Sequence[str] = ()
    swipe: int = 0
    id: str = ""
    interrupted: bool = False
    narrator: bool = False
    branches: dict[int, list[ChatLine]] = field(default_factory=dict)


def conversation(
    lines: Sequence[ChatLine], where: str, *, user: str = "", character: str = "", title: str = "", note: str = ""
) -> Archive:
    """The conversation that lines make. Macros in them are filled in, names that are missing too.

    Args:
        lines: the lines, oldest first.
        where: the file, for the error message.
        user: the user's name, where no line has one; "Me" or "我" when absent.
        character: the character's name, where no line has one.
        title: the name of the conversation.
        note: its author's note.

    Raises:
        SessionError: there are no lines, or no character.
    """
    lines = [line for line in map(_without_empty_versions, lines) if line.text.strip()]
    if not lines:
        raise SessionError(f"{where}: there are no messages in it: export the chat again")
    user = next((name for line in lines if line.is_user and (name := clean(line.name))), "") or clean(user)
    spoken = [line for line in lines if not (line.is_user or line.narrator)]
    character = next((name for line in spoken if (name := clean(line.name))), "") or clean(character)
    if not character:
        raise SessionError(
            f"{where}: neither the first line nor a message names a character: give its card with --role"
        )
    user = user or USER[language_of(" ".join(line.text for line in lines[:20]))]
    if character == user:
        user = f"{user} (user)"
    builder = _Builder(user, character, Scope(char=character, user=user, seed=title or where))
    turns = tuple(builder.turn(line) for line in lines)
    names = dict.fromkeys(clean(line.name) or character for line in spoken)
    roles = tuple(Role(name=name) for name in names or (character,))
    return Archive(
        session=title, user=user, roles=roles, turns=turns, swipes=tuple(builder.swipes), note=clean(note, lines=True)
    )


def _without_empty_versions(line: ChatLine) -> ChatLine:
    """The line without the versions of a reply that were stopped before their first word.

    Where that is the current one, the last version that says something takes its place.
    """
    kept = [number for number, text in enumerate(line.swipes) if text.strip()]
    if len(kept) == len(line.swipes) or not kept:
        return line
    at = line.swipe if line.swipe in kept else kept[-1]
    return replace(
        line,
        text=line.swipes[at],
        swipes=tuple(line.swipes[number] for number in kept) if len(kept) > 1 else (),
        swipe=kept.index(at),
        branches={kept.index(number): lines for number, lines in line.branches.items() if number in kept},
    )


def clean(text: Any, *, lines: bool = False) -> str:
    """A text without zero bytes and half characters, on one line unless it may have several; "" for anything else."""
    if not isinstance(text, str):
        return ""
    text = without_surrogates(text.replace("\0", ""))
    return text.strip() if lines else " ".join(text.split())[:_NAME_LENGTH]


def iso_time(value: Any) -> str:
    """A date in any form that these programs write, as a turn's ``at``; empty if it cannot be read.

    Numbers, also in a string, are milliseconds or seconds since 1970.
    """
    if isinstance(value, bool):
        return ""
    text = str(value).strip() if isinstance(value, str | int | float) else ""
    if len(text) > _LONGEST_DATE:
        return ""
    try:
        if re.fullmatch(r"\d+(\.\d*)?", text):
            number = float(text)
            if not math.isfinite(number) or number <= 0:
                return ""
            seconds = number / 1000 if number > 1e11 else number
            return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
        if _ISO.match(text):
            at = datetime.fromisoformat(text)
            return text if "T" in text else at.replace(tzinfo=at.tzinfo or UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return ""
    text = _ZONE_NAME.sub("", text)
    for date_format in _DATES:
        try:
            at = datetime.strptime(text, date_format)
            return at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC).isoformat(timespec="seconds")
        except ValueError:
            continue
    return ""


class _Builder:
    """Makes turns of lines, and collects the siblings of replies."""

    def __init__(self, user: str, character: str, scope: Scope) -> None:
        self.user = user
        self.character = character
        self.scope = scope
        self.swipes: list[Swipes] = []
        self._ids: set[str] = set()

    def turn(self, line: ChatLine) -> Turn:
        """A line as a turn; its other versions become siblings."""
        turn = self._turn(line, line.text)
        if not line.is_user and len(line.swipes) > 1:
            branches = tuple(
                Branch()
                if number == line.swipe
                else Branch(
                    turns=(self._turn(line, text, copy=True), *map(self.turn, line.branches.get(number, ()))),
                )
                for number, text in enumerate(line.swipes)
            )
            self.swipes.append(Swipes(id=turn.id, at=line.swipe, branches=branches))
        return turn

    def _turn(self, line: ChatLine, text: str, *, copy: bool = False) -> Turn:
        speaker = clean(line.name) or (self.user if line.is_user else self.character)
        if line.is_user and speaker == self.character:
            speaker = self.user
        if line.narrator and speaker == self.character:
            speaker = "Narrator"
        fields: dict[str, Any] = {}
        if not copy and _ID.fullmatch(line.id) and line.id not in self._ids:
            fields["id"] = line.id
            self._ids.add(line.id)
        if line.interrupted and not copy:
            fields["status"] = "interrupted"
        return Turn(
            speaker=speaker, text=macros.fill(clean(text, lines=True), self.scope), at=iso_time(line.at), **fields
        )
