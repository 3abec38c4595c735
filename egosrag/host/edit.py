"""A role card as fields of text that somebody edits, and back; what he left as it was keeps its evidence."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import ValidationError

from egosrag.errors import RoleError
from egosrag.schema import DialogueLine, Role, Statement
from egosrag.text.language import one_line

LISTS = ("background", "personality", "speaking_style", "relations")
_SPEECH = re.compile(r"\s*([^:：]{1,80}?)\s*[:：]\s*(.+)")


def as_texts(role: Role) -> dict[str, str]:
    """The card's fields as texts: a statement a line, a line of the dialogue as ``speaker: words``."""
    texts = {field: "\n".join(one_line(s.text) for s in getattr(role, field)) for field in LISTS}
    spoken = "\n".join(f"{line.speaker}: {one_line(line.text)}" for line in role.sample_dialogue)
    return {"name": role.name, "greeting": role.greeting or "", **texts, "sample_dialogue": spoken}


def edited(role: Role, texts: Mapping[str, str]) -> Role:
    """The role with these fields in place of its own.

    Args:
        role: the card before.
        texts: fields as :func:`as_texts` gives them; those that are missing stay.

    Raises:
        RoleError: the name is empty, or a line of the dialogue names no speaker.
    """
    update: dict[str, object] = {}
    for field, text in texts.items():
        if field in LISTS:
            before = {one_line(s.text): s for s in getattr(role, field)}
            update[field] = [before.get(line, Statement(text=line)) for line in _lines(text)]
        elif field == "sample_dialogue":
            spoken = {(d.speaker, one_line(d.text)): d for d in role.sample_dialogue}
            said = [_said(line) for line in _lines(text)]
            update[field] = [spoken.get((line.speaker, line.text), line) for line in said]
        else:
            update[field] = text.strip() or None
    try:
        return Role.model_validate({**dict(role), **(role.model_extra or {}), **update})
    except ValidationError as error:
        raise RoleError("the role has no name: give it one") from error


def _said(line: str) -> DialogueLine:
    match = _SPEECH.fullmatch(line)
    if match is None:
        raise RoleError(f'the line "{line[:60]}" names no speaker: write it as "Ann: words"')
    return DialogueLine(speaker=match.group(1), text=match.group(2))


def _lines(text: str) -> list[str]:
    return [one_line(line) for line in text.splitlines() if line.strip()]
