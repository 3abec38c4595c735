"""Role files in and out: our own JSON, and character cards V1, V2 and V3, as JSON or inside a PNG picture.

In a picture a card is base64 of JSON in UTF-8, in the tEXt chunk ``ccv3`` (V3) or ``chara`` (V2); both are written,
as SillyTavern does (src/character-card-parser.js), and of both the newer is read.
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

from egosrag.egos import cards, png
from egosrag.errors import RoleError
from egosrag.schema import Persona, Role

MOST_BYTES = 32 * 1024 * 1024  # of a role file: pictures of cards have one to ten million
_DEEPEST = 100  # lists and objects inside each other


def load_role(path: str | Path) -> Role:
    """The role at ``path``: ours as JSON (``{"name": ...}`` is enough), or a character card as JSON or PNG.

    Keys that are not known are kept in the role and written back by :func:`save_role`.

    Raises:
        RoleError: there is no such file, or it is not a role card.
    """
    path = Path(path)
    data = _content(path)
    pictured = data.startswith(png.SIGNATURE)
    fields = read_json(_of_picture(data, path) if pictured else data, path)
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
        _write(path, _as_picture(role, path, Path(picture) if picture else None))
        return
    data = _plain(role) if version is None else cards.card_of(role, version)
    _write(path, (json.dumps(data, ensure_ascii=False, indent=2) + "\n").encode())


def load_persona(text: str) -> Persona:
    """Who talks with the role: ``NAME``, ``NAME: what the role knows of them``, or a file of that or of JSON.

    Raises:
        RoleError: the file cannot be read, or there is no name.
    """
    path = Path(text)
    with suppress(OSError, ValueError):  # a description is too long for a file's name, or holds a zero byte
        if path.is_file():
            data = _content(path)
            if data.lstrip().startswith(b"{"):
                return _persona(read_json(data, path))
            text = _decoded(data, path)
    name, told = (*re.split("[:：]", text, maxsplit=1), "")[:2]
    return _persona({"name": " ".join(name.split()), "description": told.strip()})


def _persona(fields: dict[str, Any]) -> Persona:
    try:
        return Persona.model_validate(fields)
    except ValidationError as error:
        raise RoleError(
            'the persona needs a name of at most 80 letters: write it as "Ann: a sailor from Hull"'
        ) from error


def read_json(data: bytes, path: Path) -> dict[str, Any]:
    """The JSON object of a role file or lorebook.

    Raises:
        RoleError: it is none, or one that cannot be written back.
    """
    text = _decoded(data, path)
    if not text.strip():
        raise RoleError(f'the role card {path} is empty: write at least {{"name": "..."}}')
    try:
        found = json.loads(text, parse_constant=_no_number, parse_float=_number)
        found_text = json.dumps(found, ensure_ascii=False)
        found_text.encode()
    except UnicodeEncodeError as error:
        raise RoleError(
            f"the role card {path} holds half of a character (a lone \\ud800 to \\udfff): mend it"
        ) from error
    except (ValueError, RecursionError) as error:
        raise RoleError(f"the role card {path} is not JSON ({error}): mend it there") from error
    if not isinstance(found, dict):
        raise RoleError(f'the role card {path} is not a JSON object: write at least {{"name": "..."}}')
    if _depth(found) > _DEEPEST:
        raise RoleError(f"the role card {path} is nested more than {_DEEPEST} deep: no card is; get another copy")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


def _number(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _depth(value: Any) -> int:
    """How deep lists and objects stand inside each other, counted without recursion."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return depth


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise RoleError(
                f"the role card {path} has {size / 2**20:.0f} MB, and one may have {MOST_BYTES // 2**20}: "
                "make its picture smaller"
            )
        return path.read_bytes()
    except OSError as error:
        raise RoleError(
            f"the role card {path} cannot be read ({error.strerror}): give the path of a JSON or PNG file"
        ) from error


def _decoded(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RoleError(f"the role card {path} is neither UTF-8 text nor PNG: save it as JSON or PNG") from error


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
    held = {
        keyword: base64.b64encode(json.dumps(cards.card_of(role, version), ensure_ascii=False).encode()).decode()
        for keyword, version in (("chara", 2), ("ccv3", 3))
    }
    try:
        return png.with_texts(_content(shown) if shown else png.blank(), held)
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


def _write(path: Path, content: bytes) -> None:
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
        raise RoleError(f"the role card {path} cannot be written ({error.strerror}): give another path") from error
