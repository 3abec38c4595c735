"""Read and write the text chunks of a PNG file without an image library: pixels are never decoded.

PNG specification, third edition, 5.3 (chunk layout) and 11.3.3 (tEXt, zTXt and iTXt). Compressed text is inflated up to
a limit. A damaged file is read as far as possible: what is wrong with it is stated beside its texts.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_WIDTH, _HEIGHT, _GREY = 400, 600, 0x60  # the usual shape of character cards


class Chunk(NamedTuple):
    """A chunk of a PNG file: its type, its content and what is wrong with it (empty: nothing)."""

    kind: bytes
    content: bytes
    problem: str = ""


class Texts(NamedTuple):
    """The texts of a PNG file as (keyword in lower case, content), in file order, and what is wrong with the file."""

    texts: tuple[tuple[str, bytes], ...]
    problems: tuple[str, ...]


def chunks(data: bytes) -> Iterator[Chunk]:
    """The chunks up to IEND; bytes after it are not read.

    A wrong checksum is stated in the chunk. Where the file ends early, the last chunk has what is left of its content.

    Raises:
        ValueError: the data is not a PNG file.
    """
    if not data.startswith(SIGNATURE):
        raise ValueError("it is not a PNG file")
    at = len(SIGNATURE)
    while True:
        if at + 12 > len(data):
            yield Chunk(b"", b"", "it is truncated")
            return
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        end = at + 8 + length
        if end + 4 > len(data):
            yield Chunk(
                kind, data[at + 8 :], f"its chunk {kind!r} claims {length:,} bytes, more than the file has: truncated"
            )
            return
        wrong = struct.unpack_from(">I", data, end)[0] != zlib.crc32(data[at + 4 : end])
        yield Chunk(kind, data[at + 8 : end], f"the checksum of its chunk {kind!r} is wrong" if wrong else "")
        if kind == b"IEND":
            return
        at = end + 4


def texts(data: bytes, limit: int) -> Texts:
    """The texts in tEXt, zTXt and iTXt chunks.

    Args:
        data: a PNG file.
        limit: bytes that a compressed text may have after inflation; a longer one is left out and stated.

    Raises:
        ValueError: the data is not a PNG file.
    """
    found: list[tuple[str, bytes]] = []
    problems: list[str] = []
    for chunk in chunks(data):
        if chunk.problem:
            problems.append(chunk.problem)
        if chunk.kind not in _TEXT_CHUNKS:
            continue
        try:
            found.append((_keyword(chunk.content), _text(chunk, limit)))
        except ValueError as error:
            problems.append(f"its chunk {chunk.kind!r} cannot be read ({error})")
    return Texts(tuple(found), tuple(dict.fromkeys(problems)))


def with_texts(data: bytes, new: Mapping[str, str]) -> bytes:
    """The same picture with its text chunks of these keywords replaced, just before IEND.

    Args:
        data: a PNG file; wrong checksums are corrected.
        new: Latin-1 texts by keyword; a keyword has 1 to 79 Latin-1 characters.

    Raises:
        ValueError: the data is not a PNG file, or is truncated.
    """
    replaced = {keyword.lower() for keyword in new}
    kept: list[tuple[bytes, bytes]] = []
    for kind, content, problem in chunks(data):
        if "truncated" in problem:
            raise ValueError(problem)
        if kind != b"IEND" and not (kind in _TEXT_CHUNKS and _keyword(content) in replaced):
            kept.append((kind, content))
    added = [(b"tEXt", keyword.encode("latin-1") + b"\0" + text.encode("latin-1")) for keyword, text in new.items()]
    return _encode([*kept, *added, (b"IEND", b"")])


def blank() -> bytes:
    """A plain grey picture of 400 x 600 pixels, for a role without one."""
    header = struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, 8, 0, 0, 0, 0)  # 8-bit greyscale, not interlaced
    rows = (b"\0" + bytes([_GREY]) * _WIDTH) * _HEIGHT
    return _encode([(b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")])


def _keyword(content: bytes) -> str:
    return content.partition(b"\0")[0].decode("latin-1").strip().lower()


def _text(chunk: Chunk, limit: int) -> bytes:
    """The text of a text chunk, inflated where it is compressed."""
    text = chunk.content.partition(b"\0")[2]
    if chunk.kind == b"tEXt":
        return text
    if chunk.kind == b"zTXt":
        return _inflated(text[1:], limit)  # after the method
    compressed, rest = text[:1] == b"\1", text[2:].split(b"\0", 2)  # after flag and method: language, keyword, text
    if len(rest) < 3:
        raise ValueError("it is incomplete")
    return _inflated(rest[2], limit) if compressed else rest[2]


def _inflated(data: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(data, limit + 1)
    except zlib.error as error:
        raise ValueError(f"its compression is damaged: {error}") from error
    if len(text) > limit:
        raise ValueError(f"it unpacks to more than {limit / 2**20:.0f} MB")
    return text


def _encode(parts: Iterable[tuple[bytes, bytes]]) -> bytes:
    body = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in parts)
    return SIGNATURE + b"".join(body)
