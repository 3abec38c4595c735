"""What belongs to each conversation of a visitor: persona, lorebooks, model; in one file of the visitor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from egosrag.errors import RoleError
from egosrag.host.visitors import Visitor
from egosrag.roles.data import parse_json, read_bytes, write_atomically

MAX_CHOICES = 1000  # conversations of one visitor; the choices that were made first are forgotten first
_FILE = "choices.json"


class Choices(NamedTuple):
    """The choices for a conversation.

    Attributes:
        persona: name of a saved persona; empty: none; None: the one that the conversation remembers.
        lorebooks: ids of lorebooks.
        model: the model that wrote its last reply; empty: not known.
        note: the author's note; None: the one that the conversation remembers.
        until: the point of the sources as of which the role speaks, empty: their end; None: as the conversation has it.
    """

    persona: str | None = None
    lorebooks: tuple[str, ...] = ()
    model: str = ""
    note: str | None = None
    until: str | None = None


def choices_of(visitor: Visitor, session: str) -> Choices:
    """The choices for a conversation; the defaults where there are none, or where their file cannot be read."""
    row = _read(visitor).get(session)
    if not isinstance(row, Mapping):
        return Choices()
    persona, lorebooks, model, note, until = (row.get(name) for name in Choices._fields)
    return Choices(
        persona if isinstance(persona, str) else None,
        tuple(name for name in lorebooks if isinstance(name, str)) if isinstance(lorebooks, list) else (),
        model if isinstance(model, str) else "",
        note if isinstance(note, str) else None,
        until if isinstance(until, str) else None,
    )


def store_choices(visitor: Visitor, session: str, choices: Choices | None) -> None:
    """Store the choices for a conversation; None removes them.

    Raises:
        RoleError: the file cannot be written.
    """
    rows = _read(visitor)
    before = rows.pop(session, None)
    if choices is not None and choices != Choices():
        rows[session] = choices._asdict()
    elif before is None:
        return
    visitor.folder.mkdir(parents=True, exist_ok=True)
    kept = dict(list(rows.items())[-MAX_CHOICES:])
    data = json.dumps({"sessions": kept}, ensure_ascii=False, indent=2) + "\n"
    write_atomically(visitor.folder / _FILE, data.encode(), "choices")


def _read(visitor: Visitor) -> dict[str, Any]:
    path = visitor.folder / _FILE
    try:
        rows = parse_json(read_bytes(path, "choices"), path, "choices").get("sessions") if path.is_file() else None
    except RoleError:  # choices are no reason to refuse a conversation
        return {}
    return dict(rows) if isinstance(rows, dict) else {}
