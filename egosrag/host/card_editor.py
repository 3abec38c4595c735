"""A role card as text fields of a form, and back; statements that were not edited keep their evidence."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import ValidationError

from egosrag.errors import RoleError
from egosrag.schema import DialogueLine, Role, Statement
from egosrag.text.language import one_line

STATEMENT_FIELDS = ("background", "personality", "speaking_style", "relations")
_DIALOGUE_LINE = re.compile(r"\s*([^:：]{1,80}?)\s*[:：]\s*(.+)")


def card_to_fields(role: Role) -> dict[str, str]:
    """The card's fields as texts: one statement a line, the sample dialogue as lines ``speaker: words``."""
    statements = {field: "\n".join(one_line(s.text) for s in getattr(role, field)) for field in STATEMENT_FIELDS}
    dialogue = "\n".join(f"{line.speaker}: {one_line(line.text)}" for line in role.sample_dialogue)
    return {"name": role.name, "greeting": role.greeting or "", **statements, "sample_dialogue": dialogue}


def apply_fields(role: Role, fields: Mapping[str, str]) -> Role:
    """The role with edited fields.

    Args:
        role: the card before the edit.
        fields: texts in the form of :func:`card_to_fields`; a field that is missing does not change.

    Raises:
        RoleError: the name is empty, or a line of the dialogue has no speaker.
    """
    update: dict[str, object] = {}
    for field, text in fields.items():
        if field in STATEMENT_FIELDS:
            known = {one_line(s.text): s for s in getattr(role, field)}
            update[field] = [known.get(line, Statement(text=line)) for line in _lines(text)]
        elif field == "sample_dialogue":
            known_lines = {(d.speaker, one_line(d.text)): d for d in role.sample_dialogue}
            parsed = [_parse_dialogue_line(line) for line in _lines(text)]
            update[field] = [known_lines.get((line.speaker, line.text), line) for line in parsed]
        else:
            update[field] = text.strip() or None
    try:
        return Role.model_validate({**dict(role), **(role.model_extra or {}), **update})
    except ValidationError as error:
        raise RoleError("the role has no name: give it one") from error


def _parse_dialogue_line(line: str) -> DialogueLine:
    match = _DIALOGUE_LINE.fullmatch(line)
    if match is None:
        raise RoleError(f'the line "{line[:60]}" has no speaker: write it as "Ann: words"')
    return DialogueLine(speaker=match.group(1), text=match.group(2))


def _lines(text: str) -> list[str]:
    return [one_line(line) for line in text.splitlines() if line.strip()]
