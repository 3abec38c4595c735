"""The rows of a script, the profiles of its roles, and a sample of the rows that is spread over the roles."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from egosrag import load_role
from egosrag.errors import EgosRagError, SourceError
from egosrag.schema import Role, Turn
from egosrag.text.encoding import is_text
from egosrag.text.nested import nested_text
from evals.common.records import Record, numbered_rows

_DIRECTION = re.compile(r"（[^（）]*）|\([^()]*\)")  # a stage direction: the true line has none
_FIELDS = {  # of a profile, by what their names contain; all others are background
    "personality": ("性格", "personality", "traits"),
    "speaking_style": ("口头禅", "台词", "名言", "说话", "语言风格", "speech", "speaking", "catchphrase"),
    "relations": ("关系", "relation"),
}


@dataclass(frozen=True)
class Line:
    """A true line of a script and what was said before it.

    Attributes:
        id: of the row.
        role: Who says it.
        turns: Before it, oldest first, without stage directions; at least one.
        spoken: The line.
    """

    id: str
    role: str
    turns: tuple[Turn, ...]
    spoken: str


@dataclass(frozen=True)
class Profile:
    """What is known of a role: as a card, and as text."""

    card: Role
    text: str


def read_lines(path: Path, note: Callable[[str], None]) -> list[Line]:
    """The usable rows of a JSONL file: ``{"role", "turns": [{"speaker", "text"}], "spoken"}``, "id" if there is one.

    ``reference`` is read where there is no ``spoken``; the speaker "character" is the role. Turns that are only a stage
    direction are left out.

    Args:
        path: The file.
        note: Receives a line for each row that is left out.

    Raises:
        SourceError: The file cannot be read, or no row is usable.
    """
    lines, seen = [], set[str]()
    for number, row in numbered_rows(path, note):
        try:
            line = _line(row, number)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = error if isinstance(error, ValueError) and not isinstance(error, ValidationError) else repr(error)
            note(f"{path.name}: line {number} is left out ({' '.join(str(reason).split())[:120]})")
            continue
        if line.id in seen:
            line = Line(f"{line.id}#{number}", line.role, line.turns, line.spoken)
        seen.add(line.id)
        lines.append(line)
    if not lines:
        raise SourceError(f"{path} has no usable row: give role, turns (speaker, text) and spoken in each")
    return lines


def _line(row: Record, number: int) -> Line:
    if not isinstance(row["role"], str):
        raise ValueError("its role is not a text")
    role = " ".join(row["role"].split())
    spoken = row.get("spoken") if row.get("spoken") is not None else without_directions(row["reference"])
    if not role or not isinstance(spoken, str) or not spoken.strip():
        raise ValueError("it has no role or no spoken text")
    names = {"character": role}
    said = [(names.get(t["speaker"], t["speaker"]), without_directions(t["text"] or "")) for t in row["turns"]]
    turns = [Turn(id=str(n), speaker=speaker, text=text) for n, (speaker, text) in enumerate(said) if text]
    if not turns:
        raise ValueError("nothing was said before the line")
    return Line(str(number if row.get("id") is None else row["id"]), role, tuple(turns), " ".join(spoken.split()))


def without_directions(text: str) -> str:
    """A line without its stage directions, which are in parentheses."""
    return " ".join(_DIRECTION.sub(" ", text).split())


def sample(lines: Sequence[Line], limit: int | None, seed: int) -> list[Line]:
    """``limit`` of the lines, as many of each role as possible, in their order; all without a limit."""
    if limit is None or limit >= len(lines):
        return list(lines)
    shuffled = random.Random(seed).sample(list(enumerate(lines)), len(lines))
    rank: dict[str, int] = {}
    order = []
    for at, line in shuffled:
        rank[line.role] = rank.get(line.role, -1) + 1
        order.append((rank[line.role], len(order), at))
    return [lines[at] for at in sorted(at for *_, at in sorted(order)[:limit])]


def read_profiles(path: Path | None) -> dict[str, Profile]:
    """Profiles by role: a JSON object of role to text or to fields, a role card, or a folder of role cards.

    Raises:
        SourceError: The file cannot be read, or is none of these.
        RoleError: A card cannot be read.
    """
    if path is None:
        return {}
    if path.is_dir():
        return dict(_of_card(load_role(file)) for file in sorted(path.glob("*.json")))
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read as JSON: give an object of role to profile") from error
    if not isinstance(content, dict) or not is_text(content):
        raise SourceError(f"{path} is not an object of role to profile: give one, or a role card")
    if isinstance(content.get("name"), str) or "spec" in content:
        return dict([_of_card(load_role(path))])
    profiles = dict[str, Profile]()
    for name, profile in content.items():
        try:
            if profile:
                profiles.update([_of_fields(" ".join(name.split()), profile)])
        except (EgosRagError, ValidationError, TypeError) as error:
            raise SourceError(
                f"{path}: the profile of {name!r} is neither text nor an object of fields: fix it"
            ) from error
    return profiles


def _of_card(role: Role) -> tuple[str, Profile]:
    parts = (role.background, role.personality, role.speaking_style, role.relations)
    return role.name, Profile(role, "\n".join(s.text for part in parts for s in part))


def _of_fields(name: str, profile: Any) -> tuple[str, Profile]:
    if isinstance(profile, str):
        return name, Profile(Role.model_validate({"name": name, "background": profile}), profile)
    if not isinstance(profile, dict):
        raise TypeError("a profile is neither text nor an object")
    card: dict[str, list[str]] = {}
    texts = []
    for field, value in profile.items():
        if text := nested_text(value):
            texts.append(f"{field}：{text}" if not field.isascii() else f"{field}: {text}")
            card.setdefault(_field_of_card(field), []).append(texts[-1])
    return name, Profile(Role.model_validate({"name": name, **card}), "\n".join(texts))


def _field_of_card(field: str) -> str:
    name = field.casefold()
    return next((key for key, signs in _FIELDS.items() if any(sign in name for sign in signs)), "background")
