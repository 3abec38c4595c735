"""Files that visitors give: within limits, under names of our own, and each visitor's apart."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile, ZipFile

from egosrag.errors import EgosRagError, SourceError
from egosrag.host.visitors import Visitor
from egosrag.limits import UPLOAD_BYTES, UPLOAD_UNPACKED_BYTES, VISITOR_BYTES, VISITOR_FILES


class Upload(NamedTuple):
    """A file that a visitor gave: where it is kept, and what he called it (to be shown, never used as a path)."""

    path: Path
    name: str


def keep(visitor: Visitor, name: str, data: bytes, endings: Collection[str]) -> Upload:
    """Keeps a file; the same content is kept once.

    Args:
        visitor: whose it is.
        name: what the browser says that it is called; of it only a known ending becomes part of the path.
        data: the content.
        endings: those that are taken, such as ``{"pdf", "txt"}``.

    Raises:
        SourceError: the file is empty, too large (packed or unpacked), of another ending, or the visitor has too many.
    """
    shown = shown_name(name)
    ending = shown.rpartition(".")[2].lower()
    if ending not in endings:
        raise SourceError(f"{shown} is no file of these kinds: {', '.join(sorted(endings))}; convert it first")
    if not data:
        raise SourceError(f"{shown} is empty: choose a file with content")
    if len(data) > UPLOAD_BYTES:
        raise SourceError(f"{shown} has {len(data) / 2**20:.0f} MB, and one may have {UPLOAD_BYTES // 2**20}: split it")
    if (unpacked := _unpacked(data)) > UPLOAD_UNPACKED_BYTES:
        most = UPLOAD_UNPACKED_BYTES // 2**20
        raise SourceError(f"{shown} unpacks to {unpacked / 2**20:.0f} MB, more than {most}: split it")
    folder = visitor.folder / "uploads"
    path = folder / f"{sha256(data).hexdigest()[:24]}.{ending}"
    if not path.is_file():
        sizes = [file.stat().st_size for file in _files(folder)]
        if len(sizes) >= VISITOR_FILES or sum(sizes) + len(data) > VISITOR_BYTES:
            raise SourceError(f"{shown} cannot be kept beside your other {len(sizes)} files: remove some of them first")
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    path.with_suffix(".name").write_text(shown, encoding="utf-8")
    return Upload(path, shown)


def uploads(visitor: Visitor, endings: Collection[str]) -> list[Upload]:
    """The visitor's files of these endings, the newest first."""
    files = [file for file in _files(visitor.folder / "uploads") if file.suffix[1:] in endings]
    newest = sorted(files, key=lambda file: (file.stat().st_mtime, file.name), reverse=True)
    return [Upload(file, _name_of(file)) for file in newest]


def remove(visitor: Visitor, upload: Upload) -> None:
    """Deletes one of the visitor's files; one that is not his stays."""
    if upload.path.parent == visitor.folder / "uploads":
        upload.path.unlink(missing_ok=True)
        upload.path.with_suffix(".name").unlink(missing_ok=True)


@contextmanager
def called(upload: Upload) -> Iterator[None]:
    """An error inside speaks of the file by the name that the visitor knows, and not of our folders."""
    try:
        yield
    except EgosRagError as error:
        told = str(error).replace(str(upload.path), upload.name).replace(upload.path.name, upload.name)
        raise type(error)(told) from error


def shown_name(name: str) -> str:
    """A file's name as it may be shown: no folders, no control characters, at most 80 characters."""
    base = name.replace("\\", "/").rpartition("/")[2]
    clean = "".join(c for c in base if unicodedata.category(c)[0] != "C").strip(" .")
    stem, dot, ending = clean.rpartition(".")
    return (f"{stem[:70]}.{ending[:9]}" if dot else clean[:80]) or "file"


def _unpacked(data: bytes) -> int:
    """Bytes that a ZIP says it unpacks to, and no reader takes more out of it; 0 for what is none."""
    try:
        with ZipFile(BytesIO(data)) as packed:
            return sum(part.file_size for part in packed.infolist())
    except (BadZipFile, ValueError, NotImplementedError):
        return 0


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.glob("*.*") if file.suffix != ".name"]


def _name_of(file: Path) -> str:
    try:
        return shown_name(file.with_suffix(".name").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return file.name
