"""CHARX files (character card V3): a zip with the card as ``card.json`` and its assets beside it.

Specification: kwaroran/character-card-spec-v3, SPEC_V3.md, "CHARX". An asset of the card names its file as
``embeded://path`` (so spelled there; ``embedded://`` is read too). RisuAI also writes a zip behind a JPEG picture.
Names in the zip are never used as paths of this machine.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from egosrag.limits import CARD_BYTES, CARD_TEXT_BYTES, CHARX_BYTES
from egosrag.roles.pictures import extension_of

SIGNATURE = b"PK\x03\x04"
CARD_NAME = "card.json"
_SCHEMES = ("embeded://", "embedded://", "__asset:")
_MAX_FILES = 10_000


class Charx:
    """An open CHARX file.

    Args:
        data: the content of the file, whatever is in front of the zip.

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
        if CARD_NAME not in self._members:
            raise ValueError(f"it contains no {CARD_NAME}")

    @property
    def card(self) -> bytes:
        """The card's JSON.

        Raises:
            ValueError: it is damaged, encrypted or too large.
        """
        return self._read(CARD_NAME, CARD_TEXT_BYTES)

    def picture(self, card: Mapping[str, Any]) -> bytes | None:
        """The main picture: of the assets of type "icon" the one with the name "main", else the first."""
        data = card.get("data")
        assets = data.get("assets") if isinstance(data, dict) else None
        icons = [asset for asset in assets or () if isinstance(asset, dict) and asset.get("type") == "icon"]
        for asset in sorted(icons, key=lambda asset: asset.get("name") != "main"):
            name = _member(asset.get("uri"))
            if name in self._members:
                try:
                    content = self._read(name, CARD_BYTES)
                except ValueError:
                    continue
                if extension_of(content):
                    return content
        return None

    def assets(self) -> dict[str, bytes]:
        """Every other file in the zip by its name in the zip.

        Raises:
            ValueError: one is damaged, or all together are larger than CHARX_BYTES.
        """
        names = [name for name in self._members if name != CARD_NAME]
        if sum(self._members[name].file_size for name in names) > CHARX_BYTES:
            raise ValueError(f"its assets unpack to more than {CHARX_BYTES // 2**20} MB")
        return {name: self._read(name, CHARX_BYTES) for name in names}

    def __len__(self) -> int:
        return len(self._members) - 1

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
    names = {_member(asset.get("uri")) for asset in card["data"].get("assets") or () if isinstance(asset, dict)}
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


def _member(uri: Any) -> str:
    """The name in the zip of an asset's address; empty for an address that is not in the zip."""
    text = uri.strip() if isinstance(uri, str) else ""
    for scheme in _SCHEMES:
        if text.lower().startswith(scheme):
            return text[len(scheme) :].lstrip("/")
    return ""
