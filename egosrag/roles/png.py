"""Read and write the text chunks of a PNG file without an image library: pixels are never decoded.

PNG specification, third edition, 5.3 (chunk layout) and 11.3.3.2 (tEXt: keyword, zero byte, Latin-1 text). Compressed
text (zTXt, iTXt) is never decompressed: no tool writes character cards that way, and a few bytes of it can expand to
gigabytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_WIDTH, _HEIGHT, _GREY = 400, 600, 0x60  # the usual shape of character cards


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The (type, content) of each chunk up to IEND; bytes after it are not read.

    Raises:
        ValueError: the data is not a PNG file, is truncated, or a checksum is wrong; the message says which.
    """
    if not data.startswith(SIGNATURE):
        raise ValueError("it is not a PNG file")
    at = len(SIGNATURE)
    while True:
        if at + 12 > len(data):
            raise ValueError("it is truncated")
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        end = at + 8 + length
        if end + 4 > len(data):
            raise ValueError(f"its chunk {kind!r} claims {length:,} bytes, more than the file has")
        if struct.unpack_from(">I", data, end)[0] != zlib.crc32(data[at + 4 : end]):
            raise ValueError(f"the checksum of its chunk {kind!r} is wrong")
        yield kind, data[at + 8 : end]
        if kind == b"IEND":
            return
        at = end + 4


def texts(data: bytes) -> dict[str, str]:
    """The tEXt chunks by keyword in lower case; the first of several with the same keyword.

    Raises:
        ValueError: see :func:`chunks`.
    """
    by_keyword: dict[str, str] = {}
    for kind, content in chunks(data):
        if kind == b"tEXt":
            by_keyword.setdefault(_keyword(content), content.partition(b"\0")[2].decode("latin-1"))
    return by_keyword


def with_texts(data: bytes, new: Mapping[str, str]) -> bytes:
    """The same picture with its text chunks of these keywords replaced, just before IEND.

    Args:
        data: a PNG file.
        new: Latin-1 texts by keyword; a keyword has 1 to 79 Latin-1 characters.

    Raises:
        ValueError: see :func:`chunks`.
    """
    replaced = {keyword.lower() for keyword in new}
    others = [(k, c) for k, c in chunks(data) if not (k in _TEXT_CHUNKS and _keyword(c) in replaced) and k != b"IEND"]
    added = [(b"tEXt", keyword.encode("latin-1") + b"\0" + text.encode("latin-1")) for keyword, text in new.items()]
    return _encode([*others, *added, (b"IEND", b"")])


def blank() -> bytes:
    """A plain grey picture of 400 x 600 pixels, for a role without one."""
    header = struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, 8, 0, 0, 0, 0)  # 8-bit greyscale, not interlaced
    rows = (b"\0" + bytes([_GREY]) * _WIDTH) * _HEIGHT
    return _encode([(b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")])


def _keyword(content: bytes) -> str:
    return content.partition(b"\0")[0].decode("latin-1").lower()


def _encode(parts: Iterable[tuple[bytes, bytes]]) -> bytes:
    body = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in parts)
    return SIGNATURE + b"".join(body)
