"""Load documents as clean pages (report 6.3.4: data extraction and cleaning as a module of its own)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import file_digest
from pathlib import Path

from egosrag.errors import SourceError
from egosrag.rag.documents.cleaning import UNREADABLE, clean
from egosrag.rag.documents.raw import RawDocument
from egosrag.rag.documents.readers import READERS, read
from egosrag.samples import document_path
from egosrag.schema import Page


def find_files(paths: Sequence[str | Path]) -> dict[str, Path]:
    """The files of ``paths`` by their source names; a folder gives all supported files in it, sorted.

    ``sample:NAME`` is a sample of the package (see :mod:`egosrag.samples`).
    The name of a source is its file name, or as much of the end of its path as distinguishes it from the others.

    Raises:
        SourceError: a path does not exist, its format is not supported, or a folder has no supported file.
    """
    files: list[Path] = []
    for path in map(document_path, [paths] if isinstance(paths, (str, Path)) else paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in READERS and p.is_file())
            inside = [p for p in inside if not any(part.startswith(".") for part in p.relative_to(path).parts)]
            if not inside:
                raise SourceError(f"{path} has no file to read: supported are {', '.join(READERS)}")
            files += inside
        elif path.suffix.lower() not in READERS and path.exists():
            raise SourceError(f"{path} has a format that is not supported: give one of {', '.join(READERS)}")
        elif not path.is_file():
            raise SourceError(f"there is no file {path}: check the path")
        else:
            files.append(path)
    unique = list(dict.fromkeys(p.resolve() for p in files))
    if not unique:
        raise SourceError("no document was given: name at least one file or folder")
    names = _source_names(unique)
    return {names[path]: path for path in unique}


def _source_names(files: Sequence[Path]) -> dict[Path, str]:
    r"""The shortest end of each path that no other has; one pass for each depth, as there may be 100,000 files.

    Bytes of a path that are not UTF-8 are written as ``\xe9``.
    """
    names: dict[Path, str] = {}
    parts = {path: Path(os.fsencode(path).decode("utf-8", "backslashreplace")).parts for path in files}
    ambiguous = list(files)
    depth = 0
    while ambiguous:
        depth += 1
        count = Counter(parts[path][-depth:] for path in ambiguous)
        names |= {path: "/".join(parts[path][-depth:]) for path in ambiguous if count[parts[path][-depth:]] == 1}
        ambiguous = [path for path in ambiguous if path not in names]
        if ambiguous and depth > max(len(parts[path]) for path in ambiguous):
            raise SourceError(f"the names of two files read the same, {'/'.join(parts[ambiguous[0]])}: rename one")
    return names


def file_hash(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error


def load_document(
    path: Path,
    source: str,
    *,
    on_skip: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Page]:
    """The clean pages of one file.

    Args:
        path: the file.
        source: the source name of its pages.
        on_skip: called with one line about what of it was not read.
        progress: called with (done, total) pages; what it raises ends the reading.

    Raises:
        SourceError: see :func:`load_pages`.
    """
    raw = read(path)
    if on_skip:
        for note in _notes(raw):
            on_skip(f"{source}: {note}")
    pages = clean(raw, source, progress)
    if not pages:
        raise SourceError(f"{path} has no text but page numbers and running heads: give a file with text in it")
    return pages


def _notes(raw: RawDocument) -> Iterator[str]:
    """What of a document was not read, a line each."""
    if raw.skipped:
        numbers = ", ".join(map(str, raw.skipped))
        yield f"no text on page {numbers}: skipped; run OCR over them if they should count"
    yield from (f"not read: {note}" for note in raw.notes)
    if damaged := sum(len(UNREADABLE.findall(line.text)) for page in raw.pages for line in page.lines):
        yield f"{damaged} unreadable characters were replaced by \ufffd; save the file again as UTF-8"


def report_failures(failed: Mapping[str, str], count: int, on_skip: Callable[[str], None] | None = None) -> None:
    """Report the documents that cannot be read; the others are used without them.

    Args:
        failed: the error of each.
        count: number of all documents.
        on_skip: called with one line about each of ``failed``.

    Raises:
        SourceError: no document can be read: the first error.
    """
    if failed and len(failed) == count:
        raise SourceError(next(iter(failed.values())))
    for error in failed.values():
        if on_skip:
            on_skip(f"skipped: {error}")


def load_pages(paths: Sequence[str | Path], *, on_skip: Callable[[str], None] | None = None) -> list[Page]:
    """The clean pages of all documents, in the order of ``paths``.

    Args:
        paths: files (PDF, Markdown, HTML, DOCX, text, CSV, JSONL of ``{"page", "text"}``) and folders of them.
        on_skip: called with one line about each file that cannot be read, and about what of a file was not read.

    Raises:
        SourceError: no file can be read: it is missing, empty, encrypted, damaged, binary, in an unknown encoding or
            of a format that is not supported, or it has no text at all.
    """
    files = find_files(paths)
    pages: list[Page] = []
    failed: dict[str, str] = {}
    for source, path in files.items():
        try:
            pages += load_document(path, source, on_skip=on_skip)
        except SourceError as error:
            failed[source] = str(error)
    report_failures(failed, len(files), on_skip)
    return pages


def read_text(path: str | Path) -> str:
    """The clean text of one file, with blank lines between its pages; Extract reads a role from it.

    Raises:
        SourceError: see :func:`load_pages`.
    """
    ((source, file),) = find_files([path]).items()
    return "\n\n".join(page.text for page in load_document(file, source))
