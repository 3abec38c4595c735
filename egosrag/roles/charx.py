"""CHARX files (character card V3): a zip with the card as ``card.json`` and its assets beside it.

Specification: kwaroran/character-card-spec-v3, SPEC_V3.md, "CHARX". An asset of the card names its file as
``embeded://path`` (so spelled there; ``embedded://`` is read too). RisuAI also writes a zip behind a JPEG picture, and
who packs a zip by hand packs its folder. Archives of Backyard AI are read too (``byaf``). Names in the zip are never
used as paths of this machine.
"""

from __future__ import annotations

import json
import posixpath
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any
from urllib.parse import unquote

from egosrag.limits import CARD_BYTES, CARD_TEXT_BYTES, CHARX_BYTES
from egosrag.roles import byaf
from egosrag.roles.pictures import extension_of

SIGNATURE = b"PK\x03\x04"
CARD_NAME = "card.json"
_SCHEMES = ("embeded://", "embedded://", "__asset:")
_MAX_FILES = 10_000


class Charx:
    """An open CHARX file, or an archive of Backyard AI.

    Args:
        data: the content of the file, whatever is in front of the zip.

    Attributes:
        kind: "charx" or "byaf".

    Raises:
        ValueError: it is no zip, or contains no card.
    """

    def __init__(self, data: bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(BytesIO(data))
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError) as error:
            raise ValueError(f"it is not a zip file ({error})") from error
        members = self._zip.infolist()
        if len(members) > _MAX_FILES:
            raise ValueError(f"it contains {len(members):,} files, more than {_MAX_FILES:,}")
        self._members = {info.filename: info for info in members if not info.is_dir()}
        self._names = {name.lower(): name for name in self._members}
        self._card_name = self._outermost(CARD_NAME)
        self.kind = "charx" if self._card_name else "byaf"
        self._card_name = self._card_name or self._outermost(byaf.MANIFEST)
        if not self._card_name:
            raise ValueError(f"it contains no {CARD_NAME}")
        self._folder = posixpath.dirname(self._card_name)
        self._objects: dict[str, dict[str, Any]] = {}
        self._unread = CARD_TEXT_BYTES  # bytes that the objects may still have

    @property
    def card(self) -> bytes:
        """The card's JSON.

        Raises:
            ValueError: it is damaged, encrypted or too large.
        """
        if self.kind == "charx":
            return self._read(self._card_name, CARD_TEXT_BYTES)
        try:
            return json.dumps(byaf.card_of(self._manifest(), self._object)).encode()
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error

    def picture(self, card: Mapping[str, Any]) -> bytes | None:
        """The main picture: of the assets of type "icon" the one with the name "main", else the first."""
        for path in self._picture_paths(card):
            if name := self._member(path):
                try:
                    content = self._read(name, CARD_BYTES)
                except ValueError:
                    continue
                if extension_of(content):
                    return content
        return None

    def _picture_paths(self, card: Mapping[str, Any]) -> Iterator[str]:
        if self.kind == "byaf":
            path = byaf.character_path(self._manifest())
            yield from byaf.picture_paths(path, self._object(path))
            return
        data = card.get("data")
        assets = data.get("assets") if isinstance(data, dict) else None
        icons = [asset for asset in assets or () if isinstance(asset, dict) and asset.get("type") == "icon"]
        for asset in sorted(icons, key=lambda asset: asset.get("name") != "main"):
            yield asset_path(asset.get("uri"))

    def assets(self) -> dict[str, bytes]:
        """Every other file in the zip by its path from the card.

        Raises:
            ValueError: one is damaged, or all together are larger than CHARX_BYTES.
        """
        names = [name for name in self._members if name != self._card_name]
        if sum(self._members[name].file_size for name in names) > CHARX_BYTES:
            raise ValueError(f"its assets unpack to more than {CHARX_BYTES // 2**20} MB")
        folder = f"{self._folder}/" if self._folder else ""
        return {name.removeprefix(folder): self._read(name, CHARX_BYTES) for name in names}

    def __len__(self) -> int:
        return len(self._members) - 1

    def _outermost(self, name: str) -> str:
        """The file of that name in any case, in the outermost folder that has one; empty where there is none."""
        found = [path for path in self._members if posixpath.basename(path).lower() == name]
        return min(found, key=lambda path: (path.count("/"), path != name), default="")

    def _member(self, path: str) -> str:
        """The name in the zip of a path beside the card, also with ``%20`` or in another case; empty: not there."""
        wanted = [posixpath.normpath(posixpath.join(self._folder, text)) for text in (path, unquote(path)) if text]
        found = (text if text in self._members else self._names.get(text.lower()) for text in wanted)
        return next(filter(None, found), "")

    def _manifest(self) -> dict[str, Any]:
        return self._object(posixpath.basename(self._card_name))

    def _object(self, path: str) -> dict[str, Any]:
        """The JSON object in a file; empty where there is none."""
        name = self._member(path)
        if name and name not in self._objects:
            if self._members[name].file_size > self._unread:
                raise ValueError(f"its assets unpack to more than {CARD_TEXT_BYTES // 2**20} MB")
            content = self._read(name, CARD_TEXT_BYTES)
            self._unread -= len(content)
            try:
                value = json.loads(content)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"its file {name[:80]!r} is not JSON ({error})") from error
            self._objects[name] = value if isinstance(value, dict) else {}
        return self._objects.get(name, {})

    def _read(self, name: str, limit: int) -> bytes:
        try:
            with self._zip.open(self._members[name]) as file:
                content = file.read(limit + 1)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError, ValueError, zlib.error) as e:
            raise ValueError(f"its file {name[:80]!r} cannot be read ({e})") from e
        if len(content) > limit:
            raise ValueError(f"its file {name[:80]!r} unpacks to more than {limit // 2**20} MB")
        return content


def write_charx(card: dict[str, Any], picture: bytes | None, assets: Mapping[str, bytes]) -> bytes:
    """A CHARX file.

    Args:
        card: a card V3; a picture that it does not name becomes its main icon.
        picture: the main picture.
        assets: further files by their names in the zip.
    """
    files = dict(assets)
    names = {asset_path(asset.get("uri")) for asset in card["data"].get("assets") or () if isinstance(asset, dict)}
    if picture and not any(files.get(str(name)) == picture for name in names):
        extension = extension_of(picture) or "png"
        name = f"assets/icon/images/main.{extension}"
        files[name] = picture
        icon = {"type": "icon", "uri": f"embeded://{name}", "name": "main", "ext": extension}
        others = [
            asset | {"name": "other"} if (asset.get("type"), asset.get("name")) == ("icon", "main") else asset
            for asset in card["data"].get("assets") or ()
            if isinstance(asset, dict) and asset.get("uri") != "ccdefault:"
        ]
        card = card | {"data": card["data"] | {"assets": [icon, *others]}}
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CARD_NAME, json.dumps(card, ensure_ascii=False, indent=2))
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def asset_path(uri: Any) -> str:
    """The path in the zip of an asset's address; empty for an address that is not in the zip."""
    text = uri.strip() if isinstance(uri, str) else ""
    for scheme in _SCHEMES:
        if text.lower().startswith(scheme):
            return text[len(scheme) :].lstrip("/")
    return ""
