"""Role files in and out: our own JSON, and character cards V1, V2 and V3, as JSON or inside a PNG picture.

In a picture a card is base64 of JSON in UTF-8, in the tEXt chunk ``ccv3`` (V3) or ``chara`` (V2); both are written,
as SillyTavern does (src/character-card-parser.js), and of both the newer is read.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from egosrag.errors import RoleError
from egosrag.roles import cards, png
from egosrag.roles.files import decoded, read_bytes, read_json, write_bytes
from egosrag.schema import Persona, Role


def load_role(path: str | Path) -> Role:
    """The role at ``path``: ours as JSON (``{"name": ...}`` is enough), or a character card as JSON or PNG.

    Keys that are not known are kept in the role and written back by :func:`save_role`.

    Raises:
        RoleError: there is no such file, or it is not a role card.
    """
    path = Path(path)
    data = read_bytes(path, "role card")
    pictured = data.startswith(png.SIGNATURE)
    fields = read_json(_of_picture(data, path) if pictured else data, path, "role card")
    book = None
    if pictured or cards.is_card(fields):
        fields = _of_card(fields, path)
    elif isinstance(fields.get(cards.KEPT), dict) and "lorebook" not in fields:
        book = _of_card(fields[cards.KEPT], path)["lorebook"]
    try:
        return Role.model_validate(fields if book is None else fields | {"lorebook": book})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if where == "name":
            raise RoleError(f'the role card {path} has no name: add "name": "..."') from error
        raise RoleError(f"the role card {path} cannot be used: {where}: {first['msg']}; mend it there") from error


def save_role(
    role: Role, path: str | Path, *, version: cards.Version | None = None, picture: str | Path | None = None
) -> None:
    """Writes ``role`` in one go: a failure leaves what stood at ``path`` before.

    Args:
        role: what to write.
        path: ``*.png`` is written as a picture that holds a character card, anything else as JSON.
        version: JSON of a character card V2 or V3; our own JSON when None.
        picture: the PNG file whose picture a ``*.png`` shows; the one that stands at ``path`` already, or a plain one,
            when None.

    Raises:
        RoleError: the file cannot be written, or the picture is no PNG.
    """
    path = Path(path)
    if path.suffix.lower() == ".png":
        write_bytes(path, _as_picture(role, path, Path(picture) if picture else None), "role card")
        return
    data = _plain(role) if version is None else cards.card_of(role, version)
    write_bytes(path, (json.dumps(data, ensure_ascii=False, indent=2) + "\n").encode(), "role card")


def with_greeting(role: Role, number: int) -> Role:
    """The role with another of its greetings: 0 is its own, from 1 on the alternate ones.

    Raises:
        RoleError: it has no such greeting.
    """
    if not 0 <= number <= len(role.alternate_greetings):
        raise RoleError(
            f"{role.name} has no greeting {number}: give 0 for the first, or up to {len(role.alternate_greetings)}"
        )
    return role.model_copy(update={"greeting": role.alternate_greetings[number - 1]}) if number else role


def load_persona(text: str) -> Persona:
    """Who talks with the role: ``NAME``, ``NAME: what the role knows of them``, or a file of that or of JSON.

    Raises:
        RoleError: the file cannot be read, or there is no name.
    """
    path = Path(text)
    with suppress(OSError, ValueError):  # a description is too long for a file's name, or holds a zero byte
        if path.is_file():
            data = read_bytes(path, "persona")
            if data.lstrip().startswith(b"{"):
                return _persona(read_json(data, path, "persona"))
            text = decoded(data, path, "persona")
    name, told = (*re.split("[:：]", text, maxsplit=1), "")[:2]
    return _persona({"name": " ".join(name.split()), "description": told.strip()})


def _persona(fields: dict[str, Any]) -> Persona:
    try:
        return Persona.model_validate(fields)
    except ValidationError as error:
        raise RoleError(
            'the persona needs a name of at most 80 letters: write it as "Ann: a sailor from Hull"'
        ) from error


def _of_card(card: dict[str, Any], path: Path) -> dict[str, Any]:
    try:
        return cards.fields_of(card)
    except ValueError as error:
        raise RoleError(f"the character card {path} cannot be used: {error}; export it again") from error


def _of_picture(data: bytes, path: Path) -> bytes:
    """The JSON inside a picture."""
    try:
        found = png.texts(data)
    except ValueError as error:
        raise RoleError(f"the picture {path} is damaged: {error}; get another copy") from error
    text = found.get("ccv3") or found.get("chara")
    if not text:
        raise RoleError(f"the picture {path} holds no character card: export the card as PNG once more, or as JSON")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RoleError(f"the character card in {path} is not base64 ({error}): export it again") from error


def _as_picture(role: Role, path: Path, picture: Path | None) -> bytes:
    shown = picture or (path if path.is_file() else None)
    versions: dict[str, cards.Version] = {"chara": 2, "ccv3": 3}
    held = {
        keyword: base64.b64encode(json.dumps(cards.card_of(role, version), ensure_ascii=False).encode()).decode()
        for keyword, version in versions.items()
    }
    try:
        return png.with_texts(read_bytes(shown, "picture") if shown else png.blank(), held)
    except ValueError as error:
        raise RoleError(f"the picture {shown} cannot be used: {error}; give another PNG file") from error


def _plain(role: Role) -> dict[str, Any]:
    """The card as JSON; a statement that has no evidence is written as the string that it may be read from."""
    extra = role.model_extra or {}
    data = role.model_dump(mode="json", exclude_defaults=True, exclude={"lorebook", *extra})
    for key in ("background", "personality", "speaking_style", "relations"):
        if key in data:
            data[key] = [s["text"] if set(s) == {"text"} else s for s in data[key]]
    kept = extra.get(cards.KEPT)
    own_book = Role.model_validate(cards.fields_of(kept)).lorebook if isinstance(kept, dict) else None
    if role.lorebook != own_book:  # the one of a kept card stands in it already
        data["lorebook"] = role.lorebook.model_dump(mode="json", exclude_unset=True) if role.lorebook else None
    return data | extra
