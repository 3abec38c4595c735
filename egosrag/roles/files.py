"""Load and save role files: our own JSON, and character cards of any version and program, alone or in a picture.

In a PNG a card is base64 of JSON in UTF-8, in the tEXt chunk ``ccv3`` (V3) or ``chara`` (V2). As in SillyTavern
(src/character-card-parser.js) both are written, and if both are present, ``ccv3`` is read. Read are compressed chunks,
base64 without padding or plain JSON, pictures with the card in EXIF, CHARX, BYAF, JSON in other encodings, and YAML.

These files come from strangers. Whatever is in them, the result is the data or one line of error.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from egosrag.errors import RoleError
from egosrag.limits import CARD_BYTES, CARD_TEXT_BYTES, CHARX_BYTES
from egosrag.roles import cards, charx, pictures, png
from egosrag.roles.data import Notify, parse_json, parse_yaml, read_bytes, write_atomically
from egosrag.samples import role_path
from egosrag.schema import Role

_log = logging.getLogger(__name__)
_KEYWORDS = ("ccv3", "chara")  # of the chunks of a PNG, the one that is preferred first
_DATA_URI = re.compile(r"data:[\w/+.-]*;base64,", re.IGNORECASE)
_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif")
YAML_SUFFIXES = (".yaml", ".yml")
"""Of the files that are YAML and not JSON."""
EXTENSIONS = ("json", "png", "apng", "webp", "jpg", "jpeg", "avif", "charx", "byaf", "yaml", "yml")
"""Extensions of the files that a card can be in."""


@dataclass(frozen=True)
class RoleFile:
    """A role with what else its file contains.

    Attributes:
        role: the role.
        format: the format of the card and of the file around it, such as "character card V3 in png".
        picture: the picture that the card is in, or the main one of its assets; of a JSON or YAML file the picture of
            the same name beside it. None: there is none.
        assets: number of other files that a CHARX contains.
        notes: what was wrong and was read in spite of it, one line each.
    """

    role: Role
    format: str
    picture: bytes | None = None
    assets: int = 0
    notes: tuple[str, ...] = ()


def load_role(path: str | Path, *, notify: Notify = _log.warning) -> Role:
    """Load a role: our own JSON (``{"name": ...}`` is enough), a character card, or a sample by name.

    Unknown keys are kept in the role and written back by :func:`save_role`.

    Args:
        path: the file, or the name of a sample.
        notify: receives, in one line, what is wrong with the file and was read in spite of it; the log by default.

    Raises:
        RoleError: there is no such file, or it is not a role card.
    """
    file = read_role_file(path)
    for note in file.notes:
        notify(f"{path}: {note}")
    return file.role


def read_role_file(path: str | Path) -> RoleFile:
    """Load a role with its picture and the notes on its file; see :func:`load_role`.

    Raises:
        RoleError: there is no such file, or it is not a role card.
    """
    path = role_path(path)
    is_charx = path.suffix.lower() in (".charx", ".byaf", ".zip")
    data = read_bytes(path, "role card", CHARX_BYTES if is_charx else CARD_BYTES)
    notes: list[str] = []
    content = _content(data, path, notes)
    for number, (place, text) in enumerate(content.cards, 1):
        try:
            card = _parsed(text, path, place, notes.append)
            role = _role(card, path, place, notes)
        except RoleError as error:
            if number == len(content.cards):
                raise RoleError(_with_damage(str(error), notes)) from error
            notes.append(f"the card in {place} cannot be read, the next one is")
            continue
        if any(_texts_of(*other, path) not in ((), cards.texts_of(card)) for other in content.cards[number:]):
            notes.append(f"it contains cards that differ: the one in {place} is read")
        picture = content.picture or (content.archive.picture(card) if content.archive else None)
        return RoleFile(
            role=role,
            format=cards.format_of(card) + (f" in {content.kind}" if content.kind else ""),
            picture=picture or (None if content.kind else _picture_beside(path)),
            assets=len(content.archive) if content.archive else 0,
            notes=tuple(dict.fromkeys(notes)),
        )
    raise AssertionError("a file has at least one card, or is an error")


def save_role(
    role: Role, path: str | Path, *, version: cards.Version | None = None, picture: str | Path | None = None
) -> None:
    """Write ``role`` atomically: if that fails, the file that was at ``path`` before is unchanged.

    Args:
        role: the role to write.
        path: ``*.png`` is written as a picture with an embedded character card, ``*.charx`` as a CHARX file with the
            assets of ``picture`` if that is one, anything else as JSON.
        version: write the JSON as a character card V2 or V3; None writes our own JSON.
        picture: a file whose picture is used: PNG, JPEG, WebP or CHARX. None: the picture of the file already at
            ``path``, else a plain one.

    Raises:
        RoleError: the file cannot be written, or ``picture`` has no picture.
    """
    path = Path(path)
    source = Path(picture) if picture else (path if path.is_file() else None)
    suffix = path.suffix.lower()
    if suffix == ".png":
        content = _png_with_card(role, source)
    elif suffix == ".charx":
        content = _charx(role, source)
    else:
        content = json_of(role, version)
    write_atomically(path, content, "role card")


def json_of(role: Role, version: cards.Version | None = None) -> bytes:
    """The content of a JSON file of a role: our own format, or a character card V2 or V3."""
    data = _own_json(role) if version is None else cards.card_from_role(role, version)
    return (json.dumps(data, ensure_ascii=False, indent=2) + "\n").encode()


def with_greeting(role: Role, number: int) -> Role:
    """The role with another of its greetings first: 0 is ``greeting``, from 1 on the alternate ones.

    The greeting that was first takes the place of the other one, so that none is lost.

    Raises:
        RoleError: it has no such greeting.
    """
    others = list(role.alternate_greetings)
    if not 0 <= number <= len(others):
        raise RoleError(f"{role.name} has no greeting {number}: give 0 for the first, or up to {len(others)}")
    if not number:
        return role
    first, others[number - 1] = others[number - 1], role.greeting or ""
    return role.model_copy(update={"greeting": first, "alternate_greetings": tuple(filter(None, others))})


# --- what is in a file -----------------------------------------------------------------------------------------------


class _Content(NamedTuple):
    """What a file contains.

    Attributes:
        kind: "png", "webp", "jpg", "charx", ...; empty for a file that is a card itself.
        cards: the cards in it as (place, content), the preferred one first.
        picture: the file, if it is a picture.
        archive: the CHARX file.
    """

    kind: str
    cards: tuple[tuple[str, bytes], ...]
    picture: bytes | None = None
    archive: charx.Charx | None = None


def _content(data: bytes, path: Path, notes: list[str]) -> _Content:
    """The cards in a file, by its first bytes; ``notes`` receives what is wrong with it."""
    kind = pictures.extension_of(data)
    if data.startswith(charx.SIGNATURE) or (kind != "png" and path.suffix.lower() in (".charx", ".byaf")):
        return _charx_content(data, path)
    if kind == "png":
        texts, problems = png.texts(data, CARD_TEXT_BYTES)
        notes += problems
        found = [(f"its chunk {word}", text) for word in _KEYWORDS for keyword, text in texts if keyword == word]
        found = found or _exif_texts(data, path)
    elif kind:
        if kind == "jpg" and charx.SIGNATURE in data:  # RisuAI writes a CHARX file behind the picture
            try:
                return _charx_content(data, path)._replace(kind=kind, picture=data)
            except RoleError as error:
                notes.append(str(error))
        found = _exif_texts(data, path)
    else:
        return _Content("", (("the file", data),))
    found = [(place, text) for place, text in found if text.strip(b" \0")]
    if found:
        return _Content(kind, tuple(found), data)
    if notes:
        raise RoleError(f"the picture {path} is damaged: {notes[-1]}; get another copy")
    raise RoleError(f"the picture {path} contains no character card: export the card as PNG again, or as JSON")


def _exif_texts(data: bytes, path: Path) -> list[tuple[str, bytes]]:
    try:
        return [("its EXIF data", text) for text in pictures.exif_texts(data)]
    except ValueError as error:
        raise RoleError(f"the picture {path} is damaged: {error}; get another copy") from error


def _charx_content(data: bytes, path: Path) -> _Content:
    try:
        archive = charx.Charx(data)
        return _Content(archive.kind, (("card.json", archive.card),), None, archive)
    except ValueError as error:
        raise RoleError(f"the CHARX file {path} cannot be used: {error}; export it again") from error


def _parsed(text: bytes, path: Path, place: str, notify: Notify) -> dict[str, Any]:
    """The card's object: of base64, of JSON or of YAML."""
    if place != "the file":
        return parse_json(from_base64(text, path), path, "role card", notify)
    if path.suffix.lower() in YAML_SUFFIXES:
        return parse_yaml(text, path, "role card", notify)
    return parse_json(text, path, "role card", notify)


def _texts_of(place: str, text: bytes, path: Path) -> tuple[str, ...]:
    """The texts of another card in the file; empty where it cannot be read."""
    try:
        return cards.texts_of(_parsed(text, path, place, lambda note: None))
    except RoleError:
        return ()


def from_base64(text: bytes, path: Path) -> bytes:
    """The content of base64 with or without padding and line breaks; JSON is returned as it is.

    Raises:
        RoleError: it is neither.
    """
    if text.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[") or b"\0{" in text[:4] or b"{\0" in text[:4]:
        return text
    compact = "".join(_DATA_URI.sub("", text.decode("latin-1"), count=1).replace("\0", "").split()).rstrip("=")
    compact = compact.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RoleError(f"the character card in {path} is not base64 ({error}): export it again") from error


def _role(card: dict[str, Any], path: Path, place: str, notes: list[str]) -> Role:
    """The role in a card's object."""
    fields = card
    if place != "the file" or (cards.ORIGINAL_CARD not in card and cards.is_character_card(card)):
        fields = _role_fields(card, path, notes)
        if not fields["name"] and (fields["background"] or fields["greeting"]):
            fields["name"] = path.stem
            notes.append("the card has no name: it gets that of its file")
    elif isinstance(card.get(cards.ORIGINAL_CARD), dict) and "lorebook" not in card:
        fields = card | {"lorebook": _role_fields(card[cards.ORIGINAL_CARD], path, notes)["lorebook"]}
    try:
        return Role.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if where == "name":
            raise RoleError(f'the role card {path} has no name: add "name": "..."') from error
        raise RoleError(f"the role card {path} cannot be used: {where}: {first['msg']}; fix it there") from error


def _role_fields(card: dict[str, Any], path: Path, notes: list[str]) -> dict[str, Any]:
    try:
        return cards.role_fields(card, notes.append)
    except ValueError as error:
        raise RoleError(f"the character card {path} cannot be used: {error}; export it again") from error


def _with_damage(message: str, notes: list[str]) -> str:
    return message + (f" (the file is damaged: {notes[0]})" if notes else "")


def _picture_beside(path: Path) -> bytes | None:
    """The picture of the same name beside a card, as folders of cards and our own imports have it."""
    for beside in _pictures_beside(path):
        try:
            data = read_bytes(beside, "picture")
        except RoleError:
            continue
        if pictures.extension_of(data):
            return data
    return None


def _pictures_beside(path: Path) -> Iterator[Path]:
    return (file for suffix in _PICTURE_SUFFIXES if (file := path.with_suffix(suffix)).is_file())


# --- writing ---------------------------------------------------------------------------------------------------------


def _png_with_card(role: Role, source: Path | None) -> bytes:
    versions: dict[str, cards.Version] = {"chara": 2, "ccv3": 3}
    texts = {
        keyword: base64.b64encode(json.dumps(cards.card_from_role(role, version), ensure_ascii=False).encode()).decode()
        for keyword, version in versions.items()
    }
    try:
        picture = _picture_of(source) if source else None
        return png.with_texts(pictures.as_png(picture) if picture else png.blank(), texts)
    except ValueError as error:
        raise RoleError(f"the picture {source} cannot be used: {error}; give another PNG file") from error


def _charx(role: Role, source: Path | None) -> bytes:
    card = cards.card_from_role(role, 3)
    try:
        picture = _picture_of(source) if source else None
        assets: dict[str, bytes] = {}
        if source and (data := read_bytes(source, "picture", CHARX_BYTES)).startswith(charx.SIGNATURE):
            archive = charx.Charx(data)
            assets = archive.assets() if archive.kind == "charx" else {}
        return charx.write_charx(card, picture, assets)
    except ValueError as error:
        raise RoleError(f"the picture {source} cannot be used: {error}; give another file") from error


def _picture_of(source: Path) -> bytes | None:
    """The picture in a file that is one, or is a CHARX file with one.

    Raises:
        ValueError: it is neither.
        RoleError: it cannot be read.
    """
    data = read_bytes(source, "picture", CHARX_BYTES)
    if pictures.extension_of(data):
        return data
    if data.startswith(charx.SIGNATURE):
        archive = charx.Charx(data)
        return archive.picture(json.loads(archive.card))
    raise ValueError("it is not a PNG file")


def _own_json(role: Role) -> dict[str, Any]:
    """The role as our own JSON; a statement without evidence is written as a plain string."""
    extra = role.model_extra or {}
    data = role.model_dump(mode="json", exclude_defaults=True, exclude={"lorebook", *extra})
    for key in ("background", "personality", "speaking_style", "relations"):
        if key in data:
            data[key] = [s["text"] if set(s) == {"text"} else s for s in data[key]]
    original = extra.get(cards.ORIGINAL_CARD)
    own_book = cards.role_fields(original)["lorebook"] if isinstance(original, dict) else None
    if role.lorebook != own_book:  # the original card already contains its own lorebook
        data["lorebook"] = role.lorebook.model_dump(mode="json", exclude_unset=True) if role.lorebook else None
    return data | extra
