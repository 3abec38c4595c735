"""Files that visitors upload: within limits, stored under a hash of their content, in a folder for each visitor."""

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
    """An uploaded file: where it is stored, and the visitor's name for it (for display only, never a path)."""

    path: Path
    name: str


def save_upload(visitor: Visitor, name: str, data: bytes, extensions: Collection[str]) -> Upload:
    """Store a file; a second upload of the same content gets the same path.

    Args:
        visitor: the owner.
        name: file name that the browser sends; only its extension becomes part of the path.
        data: content.
        extensions: supported ones, such as ``{"pdf", "txt"}``.

    Raises:
        SourceError: the file is empty, too large (packed or unpacked) or of another type, or the visitor has too many.
    """
    name = display_name(name)
    extension = name.rpartition(".")[2].lower()
    if extension not in extensions:
        raise SourceError(f"{name} has none of the supported types ({', '.join(sorted(extensions))}): convert it first")
    if not data:
        raise SourceError(f"{name} is empty: choose a file with content")
    if len(data) > UPLOAD_BYTES:
        limit = f"{UPLOAD_BYTES // 2**20} MB"
        raise SourceError(f"{name} has {len(data) / 2**20:.0f} MB, more than the limit of {limit}: split it")
    if (unpacked := _unpacked_size(data)) > UPLOAD_UNPACKED_BYTES:
        limit = f"{UPLOAD_UNPACKED_BYTES // 2**20} MB"
        raise SourceError(f"{name} unpacks to {unpacked / 2**20:.0f} MB, more than the limit of {limit}: split it")
    folder = visitor.folder / "uploads"
    path = folder / f"{sha256(data).hexdigest()[:24]}.{extension}"
    if not path.is_file():
        sizes = [file.stat().st_size for file in _files(folder)]
        if len(sizes) >= VISITOR_FILES or sum(sizes) + len(data) > VISITOR_BYTES:
            raise SourceError(f"there is no space for {name} beside your other {len(sizes)} files: delete some first")
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    path.with_suffix(".name").write_text(name, encoding="utf-8")
    return Upload(path, name)


def list_uploads(visitor: Visitor, extensions: Collection[str]) -> list[Upload]:
    """The visitor's files with these extensions, the newest first."""
    files = [file for file in _files(visitor.folder / "uploads") if file.suffix[1:] in extensions]
    newest_first = sorted(files, key=lambda file: (file.stat().st_mtime, file.name), reverse=True)
    return [Upload(file, _stored_name(file)) for file in newest_first]


def delete_upload(visitor: Visitor, upload: Upload) -> None:
    """Delete one of the visitor's files; does nothing for a file of somebody else."""
    if upload.path.parent == visitor.folder / "uploads":
        upload.path.unlink(missing_ok=True)
        upload.path.with_suffix(".name").unlink(missing_ok=True)


@contextmanager
def display_names_in_errors(*uploads: Upload) -> Iterator[None]:
    """In errors raised inside, replace the paths of uploads by the names that the visitor knows."""
    try:
        yield
    except EgosRagError as error:
        message = str(error)
        for upload in uploads:
            for path in (str(upload.path.resolve()), str(upload.path), upload.path.name):
                message = message.replace(path, upload.name)
        raise type(error)(message) from error


def display_name(name: str) -> str:
    """A file name that is safe to show: no folders, no control characters, at most 80 characters."""
    base = name.replace("\\", "/").rpartition("/")[2]
    clean = "".join(c for c in base if unicodedata.category(c)[0] != "C").strip(" .")
    stem, dot, extension = clean.rpartition(".")
    return (f"{stem[:70]}.{extension[:9]}" if dot else clean[:80]) or "file"


def _unpacked_size(data: bytes) -> int:
    """Bytes that a ZIP file states it unpacks to (readers stop at the stated size); 0 for any other file."""
    try:
        with ZipFile(BytesIO(data)) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    except (BadZipFile, ValueError, NotImplementedError):
        return 0


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.glob("*.*") if file.suffix != ".name"]


def _stored_name(file: Path) -> str:
    try:
        return display_name(file.with_suffix(".name").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return file.name
