"""Detect the encoding of a text file; an unknown one is an error, and never a page of wrong characters.

Tried in this order: a byte order mark; UTF-8, also with halves of surrogate pairs (CESU-8); UTF-16 if the result looks
like text; GB18030 if most of the Chinese characters are the common ones of GB 2312 level 1; UTF-8 with a few wrong
bytes, or with lines in GB18030, as logs and joined files have; the guess of charset-normalizer if it is confident. What
cannot be read becomes U+FFFD.
"""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Any

from egosrag.errors import SourceError

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_FEW = 20  # one of so many characters may be unreadable
_HAN = re.compile(r"[\u3400-\u9fff]")
_BINARY_SIGNATURES = (b"%PDF-", b"PK\x03\x04", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"\x1f\x8b", b"\x7fELF")


def decode(path: Path) -> str:
    """Decode a text file; a few bytes that cannot be read become U+FFFD.

    Raises:
        SourceError: the file is binary, or its encoding cannot be detected.
    """
    return decode_bytes(path.read_bytes(), path)


def decode_bytes(data: bytes, path: str | Path) -> str:
    """Decode the content of a text file.

    Args:
        data: the content.
        path: where it is from, for the error message.

    Raises:
        SourceError: the content is binary, or its encoding cannot be detected.
    """
    if data.startswith(_BINARY_SIGNATURES):
        raise SourceError(f"{path} is not text but binary data: name it with the suffix of its real format")
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return _marked(data, encoding, path)
    for attempt in (_utf8, _cesu8, _utf16, _gb18030, _mostly_utf8, _other):
        text = attempt(data)
        if text is not None:
            return text
    if b"\x00" in data:
        raise SourceError(f"{path} is not text but binary data: name it with the suffix of its real format")
    raise SourceError(f"{path} is in an unknown encoding: save it as UTF-8")


def _marked(data: bytes, encoding: str, path: str | Path) -> str:
    """The text of a file with a byte order mark."""
    text = data.decode(encoding, errors="replace")
    if text.count("\ufffd") * _FEW > len(text):
        raise SourceError(f"{path} is damaged {encoding}: save it again as UTF-8")
    return text


def _decoded(data: bytes, encoding: str) -> str | None:
    """The text, if the bytes are valid in the encoding and at most 2 % of its beginning are control characters."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return text if len(_CONTROL_CHARACTER.findall(text[:65536])) * 50 <= min(len(text), 65536) else None


def _utf8(data: bytes) -> str | None:
    text = _decoded(data, "utf-8")
    return None if text is None or text.count("\x00") * 50 > len(text) else text


def _cesu8(data: bytes) -> str | None:
    """UTF-8 with halves of surrogate pairs: pairs are joined, as CESU-8 means them; a half alone becomes U+FFFD."""
    try:
        text = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None
    return _utf8(without_surrogates(text).encode())


def _utf16(data: bytes) -> str | None:
    """UTF-16 without a byte order mark.

    It must have line ends or spaces of two bytes, and be 98 % printable and 80 % ASCII, Han or Chinese punctuation.
    """
    if len(data) % 2:
        return None
    for encoding, newline in (("utf-16-le", b"\n\x00"), ("utf-16-be", b"\x00\n")):
        text = _decoded(data, encoding) if newline in data or b" \x00" in data or b"\x00 " in data else None
        if text and sum(c.isalnum() or c.isspace() or c.isprintable() for c in text) >= 0.98 * len(text):
            common = sum(c.isascii() or bool(_HAN.match(c)) or c in "，。！？：；“”、" for c in text)
            if common >= 0.8 * len(text):
                return text
    return None


def _gb18030(data: bytes) -> str | None:
    text = _decoded(data, "gb18030")
    han = _HAN.findall(text or "")
    common = sum(len(b) == 2 and 0xB0 <= b[0] <= 0xD7 for b in (c.encode("gb18030") for c in han))
    non_ascii = sum(not c.isascii() for c in text or "")
    return text if han and common >= 0.7 * len(han) and len(han) * 2 >= non_ascii else None


def _mostly_utf8(data: bytes) -> str | None:
    """UTF-8 in which a few bytes are wrong, or some lines are in GB18030."""
    valid = sum(not character.isascii() for character in data.decode("utf-8", errors="ignore"))
    lines = []
    for line in data.split(b"\n"):
        try:
            lines.append(line.decode("utf-8"))
        except UnicodeDecodeError:
            chinese = _gb18030(line)
            lines.append(line.decode("utf-8", errors="replace") if chinese is None else chinese)
    text = "\n".join(lines)
    wrong = text.count("\ufffd")
    if wrong * _FEW > len(text) or not valid or valid < wrong:
        return None
    return text if len(_CONTROL_CHARACTER.findall(text[:65536])) * 50 <= min(len(text), 65536) else None


def _other(data: bytes) -> str | None:
    from charset_normalizer import from_bytes

    best = from_bytes(data).best()
    if best is None or best.percent_chaos > 5 or b"\x00" in data:
        return None
    text = str(best)
    return None if len(_CONTROL_CHARACTER.findall(text)) * 50 > len(text) else text


def is_text(value: Any) -> bool:
    """Whether all strings of a JSON value can be written as UTF-8: an escape can produce half of a surrogate pair."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def without_surrogates(text: str) -> str:
    """``text`` with U+FFFD in place of every half of a surrogate pair; two halves that belong together are joined.

    JSON can hold a half of one as an escape, and a string with it cannot be written as UTF-8.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
