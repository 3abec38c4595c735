"""The pictures of cards: the card in the EXIF data of a WebP, JPEG, AVIF or PNG file, and conversion to PNG.

SillyTavern, Backyard AI and image tools write the card into EXIF's ``UserComment`` (EXIF 2.32, 4.6.5: eight bytes of
character code, then the text), some into ``ImageDescription`` or Windows' ``XPComment``; JPEG has comments (COM) too.
Pixels are decoded only for a conversion.
"""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from egosrag.limits import PICTURE_PIXELS
from egosrag.roles.png import SIGNATURE, chunks

JPEG, _WEBP, _GIF = b"\xff\xd8\xff", b"WEBP", b"GIF8"
_EXIF_IFD, _USER_COMMENT, _DESCRIPTION, _XP_COMMENT = 0x8769, 0x9286, 0x010E, 0x9C9C
_CODES = (b"ASCII\0\0\0", b"UNICODE\0", b"JIS\0\0\0\0\0", b"\0" * 8)
_NUMBERS = re.compile(rb"\s*\d{1,3}(?:\s*,\s*\d{1,3}){8,}\s*")  # bytes as a list of numbers, as SillyTavern wrote once


def extension_of(data: bytes) -> str:
    """The extension of a picture's file, by its first bytes: png, jpg, webp, gif or avif; empty for anything else."""
    if data.startswith(SIGNATURE):
        return "png"
    if data.startswith(JPEG):
        return "jpg"
    if data[:4] == b"RIFF" and data[8:12] == _WEBP:
        return "webp"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "avif"
    return "gif" if data.startswith(_GIF) else ""


def exif_texts(data: bytes) -> list[bytes]:
    """The texts of a picture in which a card can be: EXIF's user comment and description, and JPEG's comments.

    Raises:
        ValueError: the picture is damaged.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damage: what can be read is
        found = [_without_code(text) for text in _exif(data)]
    if data.startswith(JPEG):
        found += _jpeg_comments(data)
    return [text for text in found if text.strip(b" \0")]


def as_png(data: bytes) -> bytes:
    """A picture in any format that Pillow reads, as PNG.

    Raises:
        ValueError: it cannot be read, or has more than PICTURE_PIXELS pixels.
    """
    if extension_of(data) == "png":
        return data
    from PIL import Image

    with _opened(data) as image:
        if image.width * image.height > PICTURE_PIXELS:
            raise ValueError(f"it has more than {PICTURE_PIXELS:,} pixels")
        out = BytesIO()
        try:
            image.convert("RGBA" if "A" in image.getbands() else "RGB").save(out, "PNG")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(str(error) or type(error).__name__) from error
    return out.getvalue()


def _opened(data: bytes) -> Any:
    """The picture, of which Pillow has read only the header."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its size, which is checked before pixels are decoded
            return Image.open(BytesIO(data))
    except (OSError, ValueError, SyntaxError, OverflowError, Image.DecompressionBombError, struct.error) as error:
        raise ValueError(f"it is no picture that can be read ({type(error).__name__})") from error


def _exif(data: bytes) -> Iterator[bytes]:
    if data.startswith(SIGNATURE):
        values = _exif_of_png(data)
    else:
        with _opened(data) as image:
            try:
                values = _texts_of(image.getexif())
            except Exception as error:  # Pillow's EXIF reader raises whatever its parts do
                raise ValueError(f"its EXIF data cannot be read ({type(error).__name__})") from error
    for value in values:
        if isinstance(value, bytes):
            yield value
        elif isinstance(value, str):
            yield value.encode("latin-1") if value.isascii() else value.encode("utf-8", "replace")


def _exif_of_png(data: bytes) -> list[Any]:
    """The texts in the chunk ``eXIf``, without its pixels; none where it cannot be read."""
    from PIL import Image

    exif = Image.Exif()
    try:
        exif.load(next((chunk.content for chunk in chunks(data) if chunk.kind == b"eXIf"), b""))
        return _texts_of(exif)
    except Exception:  # as above; few pictures have it for a card
        return []


def _texts_of(exif: Any) -> list[Any]:
    values = [exif.get_ifd(_EXIF_IFD).get(_USER_COMMENT), exif.get(_USER_COMMENT), exif.get(_DESCRIPTION)]
    return [*values, _utf_16(exif.get(_XP_COMMENT))]


def _utf_16(value: Any) -> str:
    """The text of Windows' own tags: bytes, or a tuple of them."""
    raw = bytes(value) if isinstance(value, tuple) else value
    return raw.decode("utf-16-le", "ignore") if isinstance(raw, bytes) else ""


def _without_code(text: bytes) -> bytes:
    """A user comment as UTF-8 or as it is, without its character code."""
    if text[:8] == b"UNICODE\0":
        body = text[8:]
        for encoding in ("utf-16", "utf-16-be", "utf-16-le"):
            decoded = body.decode(encoding, "ignore")
            if decoded.lstrip("\ufeff \0")[:1].isascii() and decoded.strip("\0"):
                return decoded.strip("\ufeff\0").encode("utf-8", "replace")
    for code in _CODES:
        if text.startswith(code):
            text = text[8:]
            break
    text = text.strip(b"\0")
    if _NUMBERS.fullmatch(text):
        return bytes(min(int(number), 255) for number in text.split(b","))
    return text


def _jpeg_comments(data: bytes) -> list[bytes]:
    comments, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:  # up to the pixels
        (length,) = struct.unpack_from(">H", data, at + 2)
        if data[at + 1] == 0xFE:
            comments.append(data[at + 4 : at + 2 + length])
        at += 2 + max(length, 2)
    return comments
