"""Export format of a conversation: one self-contained JSON file with the role cards, turns, scenes and swipes.

An imported file is untrusted input: it is validated before anything is stored, and errors name the line of the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from egosrag.errors import SessionError
from egosrag.schema import Persona, Pin, Role, Scene, Turn
from egosrag.sessions.json_places import line_of
from egosrag.sessions.records import Record, Swipes
from egosrag.text.encoding import is_text

JsonPath = tuple[str | int, ...]
"""The keys and list indices that lead to a value of the JSON."""

FORMAT = "egosrag.conversation"
_ID = re.compile(r"[\w.:-]{1,128}")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


class Archive(BaseModel):
    """A self-contained conversation: the role cards and the whole record of the session."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["egosrag.conversation"] = "egosrag.conversation"
    version: Literal[1] = 1
    session: str = ""
    user: str = Field(default="", description="the name of the user's turns; empty: Me or 我, by language")
    roles: tuple[Role, ...] = Field(min_length=1)
    turns: tuple[Turn, ...] = ()
    scenes: tuple[Scene, ...] = ()
    swipes: tuple[Swipes, ...] = ()
    note: str = Field(default="", description="the author's note of the conversation")
    persona: Persona | None = Field(default=None, description="who talks with the roles")
    pins: tuple[Pin, ...] = Field(default=(), description="the facts that stay in every prompt")
    seed: str = Field(default="", description="of the random choices of macros; empty: the id of the first turn")
    until: str = Field(default="", description="the point of their sources as of which the roles speak; empty: the end")

    @property
    def record(self) -> Record:
        """The turns, the scenes and the siblings of regenerated replies."""
        return Record(turns=self.turns, scenes=self.scenes, swipes=self.swipes)

    def text(self) -> str:
        """The file's text, with each list item on a line of its own, so that a diff shows which one changed."""
        data = self.model_dump(mode="json", exclude=None if self.seed else {"seed"})
        data["roles"] = [role.model_dump(mode="json", exclude_defaults=True) for role in self.roles]
        return "{\n" + ",\n".join(f"{_json(key)}: {_one_item_per_line(value)}" for key, value in data.items()) + "\n}\n"


def read_archive(text: str, name: str) -> Archive:
    """Parses and validates an exported conversation.

    Args:
        text: the file's text.
        name: the file's name for error messages.

    Raises:
        SessionError: the text is not a valid conversation; the message names the line.
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
        surrogate = _SURROGATE_ESCAPE.search(text)
        line = text.count("\n", 0, surrogate.start() if surrogate else 0) + 1
        raise SessionError(f"{name}, line {line}: half of a character (a lone \\ud800 to \\udfff): fix it")
    try:
        archive = Archive.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise SessionError(f"{name}, line {line_of(text, first['loc'])}: {where}: {first['msg']}; fix it") from error
    for path, problem in problems(archive):
        raise SessionError(f"{name}, line {line_of(text, path)}: {problem}; fix it")
    return archive


def problems(archive: Archive) -> Iterable[tuple[JsonPath, str]]:
    """Problems that the types do not exclude, such as duplicate ids and references to missing turns.

    Args:
        archive: an imported conversation.

    Yields:
        (path, message): the keys and list indices that lead to the value, and what is wrong with it.
    """
    known: set[str] = set()
    for path, turn in _turns(archive):
        if not _ID.fullmatch(turn.id):
            yield (*path, "id"), f"the id {turn.id[:40]!r} is not made of letters, digits and . : - _"
        if turn.id in known:
            yield (*path, "id"), f"a second turn has the id {turn.id!r}"
        if not turn.speaker.strip():
            yield (*path, "speaker"), "the turn has no speaker"
        if turn.at and not _is_iso_time(turn.at):
            yield (*path, "at"), f"{turn.at[:40]!r} is not a date and time in ISO 8601"
        if "\x00" in turn.speaker + turn.text:
            yield path, "the turn contains a null character"
        known.add(turn.id)
    current = {turn.id for turn in archive.turns}
    for n, scene in enumerate(archive.scenes):
        if not scene.turn_ids or not current.issuperset(scene.turn_ids):
            yield ("scenes", n), "the scene summarizes a turn that is not in the conversation"
    for n, swipes in enumerate(archive.swipes):
        yield from ((("swipes", n), problem) for problem in _swipe_problems(swipes, known))


def _is_iso_time(text: str) -> bool:
    try:
        return bool(datetime.fromisoformat(text))
    except ValueError:
        return False


def _swipe_problems(swipes: Swipes, known: set[str]) -> Iterable[str]:
    if swipes.id not in known:
        yield "the swipes belong to a turn that is not in the conversation"
    if not 0 <= swipes.at < len(swipes.branches):
        yield f"the chosen swipe, {swipes.at}, is not one of the {len(swipes.branches)} branches"
    elif any(bool(b.turns) == (n == swipes.at) for n, b in enumerate(swipes.branches)):
        yield "the branch of the chosen swipe must be empty, and no other branch may be"
    summarized = {turn_id for branch in swipes.branches for scene in branch.scenes for turn_id in scene.turn_ids}
    if not known.issuperset(summarized):
        yield "a scene of the swipes summarizes a turn that is not in the conversation"


def _turns(archive: Archive) -> Iterable[tuple[JsonPath, Turn]]:
    yield from ((("turns", n), turn) for n, turn in enumerate(archive.turns))
    for n, swipes in enumerate(archive.swipes):
        for m, branch in enumerate(swipes.branches):
            yield from ((("swipes", n, "branches", m, "turns", k), turn) for k, turn in enumerate(branch.turns))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _one_item_per_line(value: Any) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(_json(item) for item in value) + "\n]"
    return _json(value)
