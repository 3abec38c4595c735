"""The user's personas: who talks with a role. Loaded from text or files, and kept by name in a file of the user."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from egosrag.errors import RoleError
from egosrag.roles.data import decode_text, parse_json, read_bytes, write_atomically
from egosrag.schema import Persona

FILE_NAME = "personas.json"
"""The file of the saved personas in the user's folder."""


def load_persona(text: str, saved: Sequence[Persona] = ()) -> Persona:
    """The user's persona: a saved one by name, ``NAME``, ``NAME: description``, or a file with either or with JSON.

    Args:
        text: the name, the persona or the path.
        saved: personas that may be called by name, in any case.

    Raises:
        RoleError: the file cannot be read, or there is no name.
    """
    called = " ".join(text.split()).casefold()
    for persona in saved:
        if persona.name.casefold() == called:
            return persona
    return load_personas(text)[0]


def load_personas(text: str) -> list[Persona]:
    """The personas in a text or a file, see :func:`load_persona`; a backup of SillyTavern's personas has several.

    Raises:
        RoleError: the file cannot be read, or a persona has no name.
    """
    path = Path(text)
    with suppress(OSError, ValueError):  # a description can be too long for a file name, or contain a zero byte
        if path.is_file():
            data = read_bytes(path, "persona")
            if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
                return _from_json(parse_json(data, path, "persona"))
            text = decode_text(data, path, "persona")
    name, description = (*re.split("[:：]", text, maxsplit=1), "")[:2]
    return [_persona({"name": " ".join(name.split()), "description": description.strip()})]


class SavedPersonas:
    """The personas of a user, in a JSON file.

    Args:
        path: the file; it is made when the first one is added.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def all(self) -> list[Persona]:
        """The saved personas, sorted by name.

        Raises:
            RoleError: the file cannot be read.
        """
        if not self.path.is_file():
            return []
        data = parse_json(read_bytes(self.path, "persona"), self.path, "persona")
        rows = data.get("personas")
        return (
            sorted((_persona(row) for row in rows if isinstance(row, dict)), key=_by_name)
            if (isinstance(rows, list))
            else []
        )

    def add(self, persona: Persona) -> None:
        """Saves a persona, in place of one of the same name.

        Raises:
            RoleError: the file cannot be written.
        """
        others = [other for other in self.all() if other.name.casefold() != persona.name.casefold()]
        self._write([*others, persona])

    def remove(self, name: str) -> None:
        """Removes the persona of a name, in any case.

        Raises:
            RoleError: there is none.
        """
        kept = [persona for persona in self.all() if persona.name.casefold() != name.casefold()]
        if len(kept) == len(self.all()):
            raise RoleError(f"there is no persona {name!r}: see egosrag personas list")
        self._write(kept)

    def _write(self, personas: list[Persona]) -> None:
        with suppress(OSError):  # writing says why it fails
            self.path.parent.mkdir(parents=True, exist_ok=True)
        data = {"personas": [persona.model_dump() for persona in sorted(personas, key=_by_name)]}
        write_atomically(self.path, (json.dumps(data, ensure_ascii=False, indent=2) + "\n").encode(), "persona")


def _by_name(persona: Persona) -> str:
    return persona.name.casefold()


def _from_json(data: dict[str, Any]) -> list[Persona]:
    """The persona in a JSON object, or all in SillyTavern's backup: names and descriptions by the picture's file."""
    names = data.get("personas")
    if not isinstance(names, dict):
        return [_persona(data)]
    described = data["persona_descriptions"] if isinstance(data.get("persona_descriptions"), dict) else {}
    found: list[Persona] = []
    for picture, name in names.items():
        about = described.get(picture)
        text = about.get("description") if isinstance(about, dict) else ""
        if isinstance(name, str) and name.strip():
            description = text if isinstance(text, str) else ""
            found.append(_persona({"name": " ".join(name.split())[:80], "description": description.strip()}))
    return found or [_persona({})]


def _persona(fields: dict[str, Any]) -> Persona:
    try:
        return Persona.model_validate({key: value for key, value in fields.items() if value is not None})
    except ValidationError as error:
        raise RoleError(
            'the persona needs a name of at most 80 letters: write it as "Ann: a sailor from Hull"'
        ) from error
