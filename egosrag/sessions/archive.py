"""A conversation that stands by itself, as JSON: whoever takes part, and all that its session remembers.

What is read was written by others: it is checked before anything is stored, and the error tells the line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from egosrag.errors import SessionError
from egosrag.schema import Role, Scene, Turn
from egosrag.sessions.json_places import line_of
from egosrag.sessions.records import Record, Swipes

FORMAT = "egosrag.conversation"
_ID = re.compile(r"[\w.:-]{1,128}")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


class Archive(BaseModel):
    """A conversation that stands by itself: who takes part, and everything that its session remembers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["egosrag.conversation"] = "egosrag.conversation"
    version: Literal[1] = 1
    session: str = ""
    user: str = Field(default="", description="the name that the user's lines stand under; empty: the language's own")
    roles: tuple[Role, ...] = Field(min_length=1)
    turns: tuple[Turn, ...] = ()
    scenes: tuple[Scene, ...] = ()
    swipes: tuple[Swipes, ...] = ()

    @property
    def record(self) -> Record:
        """What the session remembers."""
        return Record(turns=self.turns, scenes=self.scenes, swipes=self.swipes)

    def text(self) -> str:
        """The file's text: an item of a list a line, so that a change shows where it is."""
        data = self.model_dump(
            mode="json",
        )
        data["roles"] = [role.model_dump(mode="json", exclude_defaults=True) for role in self.roles]
        return "{\n" + ",\n".join(f"{_json(key)}: {_lines(value)}" for key, value in data.items()) + "\n}\n"


def read_archive(text: str, name: str) -> Archive:
    """The conversation that our JSON tells.

    Args:
        text: the file's text.
        name: what to call the file in an error.

    Raises:
        SessionError: it is not such a conversation; the message tells the line.
    """
    try:
        data = json.loads(text)
    except RecursionError as error:
        raise SessionError(f"{name} is nested too deeply to be a conversation: export it again") from error
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise SessionError(f"{name}, line {line}: this is not JSON ({error}); export it again") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise SessionError(f'{name}, line 1: "format" is not "{FORMAT}": give a conversation that was exported as JSON')
    if not is_text(data):
        escape = _SURROGATE.search(text)
        line = text.count("\n", 0, escape.start() if escape else 0) + 1
        raise SessionError(f"{name}, line {line}: half of a character stands alone there; mend it")
    try:
        archive = Archive.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise SessionError(f"{name}, line {line_of(text, first['loc'])}: {where}: {first['msg']}; mend it") from error
    for place, problem in problems(archive):
        raise SessionError(f"{name}, line {line_of(text, place)}: {problem}; mend it")
    return archive


def is_text(value: Any) -> bool:
    """Whether all of a JSON value can be written as UTF-8: an escape may make half a character."""
    try:
        _json(value).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def problems(archive: Archive) -> Iterable[tuple[tuple[str | int, ...], str]]:
    """What the fields alone do not show, as (where, what): ids that stand for nothing or for two turns, and the like.

    Args:
        archive: a conversation from elsewhere.
    """
    known: set[str] = set()
    for place, turn in _turns(archive):
        if not _ID.fullmatch(turn.id):
            yield (*place, "id"), f"the id {turn.id[:40]!r} is not made of letters, digits and . : - _"
        if turn.id in known:
            yield (*place, "id"), f"a second turn has the id {turn.id!r}"
        if not turn.speaker.strip():
            yield (*place, "speaker"), "the turn has no speaker"
        if turn.at and not _is_moment(turn.at):
            yield (*place, "at"), f"{turn.at[:40]!r} is no moment as ISO 8601 writes it"
        if "\x00" in turn.speaker + turn.text:
            yield place, "the turn holds a character that is no text"
        known.add(turn.id)
    path = {turn.id for turn in archive.turns}
    for n, scene in enumerate(archive.scenes):
        if not scene.turn_ids or not path.issuperset(scene.turn_ids):
            yield ("scenes", n), "the scene stands for a turn that is not in the conversation"
    for n, swipes in enumerate(archive.swipes):
        yield from ((("swipes", n), problem) for problem in _wrong(swipes, known))


def _is_moment(text: str) -> bool:
    try:
        return bool(datetime.fromisoformat(text))
    except ValueError:
        return False


def _wrong(swipes: Swipes, known: set[str]) -> Iterable[str]:
    if swipes.id not in known:
        yield "the swipes are those of a turn that is not in the conversation"
    if not 0 <= swipes.at < len(swipes.branches):
        yield "the swipe that is chosen is not among them"
    elif any(bool(b.turns) == (n == swipes.at) for n, b in enumerate(swipes.branches)):
        yield "a swipe has turns where it is chosen, or none where it is not"
    told = {turn_id for branch in swipes.branches for scene in branch.scenes for turn_id in scene.turn_ids}
    if not known.issuperset(told):
        yield "a scene of the swipes stands for a turn that is not in the conversation"


def _turns(archive: Archive) -> Iterable[tuple[tuple[str | int, ...], Turn]]:
    yield from ((("turns", n), turn) for n, turn in enumerate(archive.turns))
    for n, swipes in enumerate(archive.swipes):
        for m, branch in enumerate(swipes.branches):
            yield from ((("swipes", n, "branches", m, "turns", k), turn) for k, turn in enumerate(branch.turns))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _lines(value: Any) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(_json(item) for item in value) + "\n]"
    return _json(value)
