"""Load and save role files and personas: our own JSON, and character cards V1, V2 and V3 as JSON or inside a PNG.

In a PNG a card is base64 of JSON in UTF-8, in the tEXt chunk ``ccv3`` (V3) or ``chara`` (V2). As in SillyTavern
(src/character-card-parser.js) both are written, and if both are present, ``ccv3`` is read.

These files come from strangers. Whatever is in them, the result is the data or one line of error.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from egosrag.errors import RoleError
from egosrag.limits import CARD_BYTES, CARD_DEPTH
from egosrag.roles import cards, png
from egosrag.samples import role_path
from egosrag.schema import Persona, Role


def load_role(path: str | Path) -> Role:
    """Load a role: our own JSON (``{"name": ...}`` is enough), a character card as JSON or PNG, or a sample by name.

    Unknown keys are kept in the role and written back by :func:`save_role`.

    Raises:
        RoleError: there is no such file, or it is not a role card.
    """
    path = role_path(path)
    data = read_bytes(path, "role card")
    is_png = data.startswith(png.SIGNATURE)
    fields = parse_json(_embedded_card(data, path) if is_png else data, path, "role card")
    if is_png or cards.is_character_card(fields):
        fields = _role_fields(fields, path)
    elif isinstance(fields.get(cards.ORIGINAL_CARD), dict) and "lorebook" not in fields:
        fields = fields | {"lorebook": _role_fields(fields[cards.ORIGINAL_CARD], path)["lorebook"]}
    try:
        return Role.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if where == "name":
            raise RoleError(f'the role card {path} has no name: add "name": "..."') from error
        raise RoleError(f"the role card {path} cannot be used: {where}: {first['msg']}; fix it there") from error


def save_role(
    role: Role, path: str | Path, *, version: cards.Version | None = None, picture: str | Path | None = None
) -> None:
    """Write ``role`` atomically: if that fails, the file that was at ``path`` before is unchanged.

    Args:
        role: the role to write.
        path: ``*.png`` is written as a picture with an embedded character card, anything else as JSON.
        version: write the JSON as a character card V2 or V3; None writes our own JSON.
        picture: the PNG file whose picture a ``*.png`` uses. None: the picture of the file already at ``path``, else a
            plain one.

    Raises:
        RoleError: the file cannot be written, or ``picture`` is not a PNG file.
    """
    path = Path(path)
    if path.suffix.lower() == ".png":
        write_atomically(path, _png_with_card(role, path, Path(picture) if picture else None), "role card")
        return
    data = _own_json(role) if version is None else cards.card_from_role(role, version)
    write_atomically(path, (json.dumps(data, ensure_ascii=False, indent=2) + "\n").encode(), "role card")


def with_greeting(role: Role, number: int) -> Role:
    """The role with another of its greetings selected: 0 is ``greeting``, from 1 on the alternate ones.

    Raises:
        RoleError: it has no such greeting.
    """
    if not 0 <= number <= len(role.alternate_greetings):
        raise RoleError(
            f"{role.name} has no greeting {number}: give 0 for the first, or up to {len(role.alternate_greetings)}"
        )
    return role.model_copy(update={"greeting": role.alternate_greetings[number - 1]}) if number else role


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
            text = decode_utf8(data, path, "persona")
    name, description = (*re.split("[:：]", text, maxsplit=1), "")[:2]
    return _persona({"name": " ".join(name.split()), "description": description.strip()})


def read_bytes(path: Path, kind: str) -> bytes:
    """The content of a file of at most ``CARD_BYTES``.

    Args:
        path: the file.
        kind: what the file should be ("role card", "lorebook", ...), for the error message.

    Raises:
        RoleError: it cannot be read, or is too large.
    """
    try:
        size = path.stat().st_size
        if size > CARD_BYTES:
            raise RoleError(
                f"the {kind} {path} has {size / 2**20:.0f} MB, the limit is {CARD_BYTES // 2**20}: "
                "make its picture smaller"
            )
        return path.read_bytes()
    except OSError as error:
        raise RoleError(
            f"the {kind} {path} cannot be read ({error.strerror}): give the path of a JSON or PNG file"
        ) from error


def decode_utf8(data: bytes, path: Path, kind: str) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Raises:
        RoleError: it is not UTF-8.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RoleError(f"the {kind} {path} is neither UTF-8 text nor PNG: save it as JSON or PNG") from error


def parse_json(data: bytes, path: Path, kind: str) -> dict[str, Any]:
    """The JSON object in ``data``.

    Raises:
        RoleError: it is not a JSON object, or not one that could be written back unchanged.
    """
    text = decode_utf8(data, path, kind)
    if not text.strip():
        raise RoleError(f'the {kind} {path} is empty: write at least {{"name": "..."}}')
    try:
        value = json.loads(text, parse_constant=_reject_constant, parse_float=_finite_float)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise RoleError(
            f"the {kind} {path} contains half of a character (a lone surrogate, \\ud800 to \\udfff): fix it there"
        ) from error
    except (ValueError, RecursionError) as error:
        raise RoleError(f"the {kind} {path} is not JSON ({error}): fix it there") from error
    if not isinstance(value, dict):
        raise RoleError(f'the {kind} {path} is not a JSON object: write at least {{"name": "..."}}')
    if _depth(value) > CARD_DEPTH:
        raise RoleError(f"the {kind} {path} is nested more than {CARD_DEPTH} levels deep: fix it there")
    return value


def write_atomically(path: Path, content: bytes, kind: str) -> None:
    """Write a file by way of a temporary one: if that fails, the file that was at ``path`` before is unchanged.

    Raises:
        RoleError: it cannot be written.
    """
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(
            "wb", dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False
        ) as file:
            temporary = file.name
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)
        raise RoleError(f"the {kind} {path} cannot be written ({error.strerror}): give another path") from error


def _reject_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")


def _finite_float(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _reject_constant(text)


def _depth(value: Any) -> int:
    """How many levels deep lists and objects are nested, counted without recursion."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return depth


def _persona(fields: dict[str, Any]) -> Persona:
    try:
        return Persona.model_validate(fields)
    except ValidationError as error:
        raise RoleError(
            'the persona needs a name of at most 80 letters: write it as "Ann: a sailor from Hull"'
        ) from error


def _role_fields(card: dict[str, Any], path: Path) -> dict[str, Any]:
    try:
        return cards.role_fields(card)
    except ValueError as error:
        raise RoleError(f"the character card {path} cannot be used: {error}; export it again") from error


def _embedded_card(data: bytes, path: Path) -> bytes:
    """The JSON of the character card in a PNG file."""
    try:
        texts = png.texts(data)
    except ValueError as error:
        raise RoleError(f"the picture {path} is damaged: {error}; get another copy") from error
    text = texts.get("ccv3") or texts.get("chara")
    if not text:
        raise RoleError(f"the picture {path} contains no character card: export the card as PNG again, or as JSON")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RoleError(f"the character card in {path} is not base64 ({error}): export it again") from error


def _png_with_card(role: Role, path: Path, picture: Path | None) -> bytes:
    source = picture or (path if path.is_file() else None)
    versions: dict[str, cards.Version] = {"chara": 2, "ccv3": 3}
    texts = {
        keyword: base64.b64encode(json.dumps(cards.card_from_role(role, version), ensure_ascii=False).encode()).decode()
        for keyword, version in versions.items()
    }
    try:
        return png.with_texts(read_bytes(source, "picture") if source else png.blank(), texts)
    except ValueError as error:
        raise RoleError(f"the picture {source} cannot be used: {error}; give another PNG file") from error


def _own_json(role: Role) -> dict[str, Any]:
    """The role as our own JSON; a statement without evidence is written as a plain string."""
    extra = role.model_extra or {}
    data = role.model_dump(mode="json", exclude_defaults=True, exclude={"lorebook", *extra})
    for key in ("background", "personality", "speaking_style", "relations"):
        if key in data:
            data[key] = [s["text"] if set(s) == {"text"} else s for s in data[key]]
    original = extra.get(cards.ORIGINAL_CARD)
    own_book = Role.model_validate(cards.role_fields(original)).lorebook if isinstance(original, dict) else None
    if role.lorebook != own_book:  # the original card already contains its own lorebook
        data["lorebook"] = role.lorebook.model_dump(mode="json", exclude_unset=True) if role.lorebook else None
    return data | extra
