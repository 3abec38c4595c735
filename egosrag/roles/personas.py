"""The user's personas: who talks with a role. Loaded from text or files, and kept by name."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from egosrag.errors import RoleError
from egosrag.roles.data import decode_text, parse_json, read_bytes
from egosrag.schema import Persona


def load_persona(text: str) -> Persona:
    """The user's persona, from ``NAME``, ``NAME: description``, or the path of a file with either or with JSON.

    Raises:
        RoleError: the file cannot be read, or there is no name.
    """
    path = Path(text)
    with suppress(OSError, ValueError):  # a description can be too long for a file name, or contain a zero byte
        if path.is_file():
            data = read_bytes(path, "persona")
            if data.lstrip().startswith(b"{"):
                return _persona(parse_json(data, path, "persona"))
            text = decode_text(data, path, "persona")
    name, description = (*re.split("[:：]", text, maxsplit=1), "")[:2]
    return _persona({"name": " ".join(name.split()), "description": description.strip()})


def _persona(fields: dict[str, Any]) -> Persona:
    try:
        return Persona.model_validate(fields)
    except ValidationError as error:
        raise RoleError(
            'the persona needs a name of at most 80 letters: write it as "Ann: a sailor from Hull"'
        ) from error
