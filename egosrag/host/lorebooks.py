"""A visitor's lorebooks: uploaded, edited, downloaded and deleted; a conversation may use several."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from egosrag.errors import RoleError
from egosrag.host.escape import unique_labels
from egosrag.host.uploads import Upload, display_name, display_names_in_errors
from egosrag.host.visitors import Visitor
from egosrag.roles import files
from egosrag.roles.lorebook import load_lorebook, save_lorebook
from egosrag.schema import Lorebook, LoreEntry

__all__ = [
    "EXTENSIONS",
    "LoreEntry",
    "Lorebook",
    "StoredLorebook",
    "add_upload",
    "delete",
    "entry_labels",
    "find",
    "labels",
    "list_lorebooks",
    "load",
    "save",
    "with_entry",
    "without_entry",
]
EXTENSIONS = (*files.EXTENSIONS, "lorebook")
MAX_LOREBOOKS = 100  # of one visitor
_ID = re.compile(r"[0-9a-f]{12}")


class StoredLorebook(NamedTuple):
    """A stored lorebook.

    Attributes:
        id: names it on the pages and in the settings of a conversation.
        name: its own name, or that of the file that it came in.
        path: its file.
        entries: number of its entries.
    """

    id: str
    name: str
    path: Path
    entries: int


def list_lorebooks(visitor: Visitor) -> list[StoredLorebook]:
    """The visitor's lorebooks, the newest first."""
    files = (visitor.folder / "lorebooks").glob("*.json")
    return [_stored(path) for path in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)]


def labels(visitor: Visitor) -> dict[str, str]:
    """The label of each lorebook in a select box, by id; no two are the same."""
    return unique_labels({book.id: book.name for book in list_lorebooks(visitor)})


def entry_labels(book: Lorebook) -> dict[int, str]:
    """The label of each entry in a select box, by index; no two are the same."""
    names = unique_labels({str(number): entry.label for number, entry in enumerate(book.entries)})
    return {int(number): name for number, name in names.items()}


def find(visitor: Visitor, lorebook_id: str) -> StoredLorebook:
    """The lorebook with this id.

    Raises:
        RoleError: the visitor has no such lorebook.
    """
    path = visitor.folder / "lorebooks" / f"{lorebook_id}.json"
    if not _ID.fullmatch(lorebook_id) or not path.is_file():
        raise RoleError("this lorebook no longer exists: choose another one, or upload it again")
    return _stored(path)


def add_upload(visitor: Visitor, upload: Upload) -> StoredLorebook:
    """Store an uploaded lorebook, or the one in an uploaded card.

    Raises:
        RoleError: the file contains none, or the visitor has too many.
    """
    with display_names_in_errors(upload):
        book = load_lorebook(upload.path)
    name = (book.model_extra or {}).get("name")
    if not isinstance(name, str) or not name.strip():
        book = book.model_copy(update={"name": display_name(upload.name).rpartition(".")[0]})
    return save(visitor, book)


def save(visitor: Visitor, book: Lorebook, lorebook_id: str | None = None) -> StoredLorebook:
    """Store a lorebook, as a new one or in place of one.

    Raises:
        RoleError: the visitor has too many, there is no such lorebook, or it cannot be written.
    """
    folder = visitor.folder / "lorebooks"
    if lorebook_id is None and len(list(folder.glob("*.json"))) >= MAX_LOREBOOKS:
        raise RoleError(f"you have {MAX_LOREBOOKS} lorebooks, which is the limit: delete one of them first")
    folder.mkdir(parents=True, exist_ok=True)
    path = find(visitor, lorebook_id).path if lorebook_id else folder / f"{uuid.uuid4().hex[:12]}.json"
    save_lorebook(book, path)
    return _stored(path)


def with_entry(book: Lorebook, number: int | None, fields: Mapping[str, Any]) -> Lorebook:
    """A lorebook with an edited entry, or a further one.

    Args:
        book: the lorebook.
        number: index of the entry; None: a new one at the end.
        fields: fields of the entry; keys as one text are separated by commas, as a list they may contain commas. Those
            that are missing do not change.

    Raises:
        RoleError: there is no such entry, or a field has the wrong type.
    """
    entries = list(book.entries)
    if number is not None and not 0 <= number < len(entries):
        raise RoleError(f"the lorebook has no entry {number + 1}: it has {len(entries)}")
    values = dict(fields)
    for key in ("keys", "secondary_keys"):
        if isinstance(values.get(key), str):
            values[key] = re.split("[,，]", values[key])
        if isinstance(values.get(key), list | tuple):
            values[key] = [part for text in values[key] if (part := str(text).strip())]
    before = entries[number].model_dump(exclude_unset=True) if number is not None else {}
    try:
        entry = LoreEntry.model_validate(before | values)
    except ValidationError as error:
        first = error.errors()[0]
        raise RoleError(f"the entry cannot be stored: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if number is None:
        entries.append(entry)
    else:
        entries[number] = entry
    return book.model_copy(update={"entries": tuple(entries)})


def without_entry(book: Lorebook, number: int) -> Lorebook:
    """A lorebook without one of its entries."""
    return book.model_copy(update={"entries": (*book.entries[:number], *book.entries[number + 1 :])})


def load(stored: StoredLorebook) -> Lorebook:
    """Read a lorebook.

    Raises:
        RoleError: it cannot be read.
    """
    return load_lorebook(stored.path)


def delete(visitor: Visitor, stored: StoredLorebook) -> None:
    """Delete one of the visitor's lorebooks; conversations go on without it."""
    if stored.path.parent == visitor.folder / "lorebooks":
        stored.path.unlink(missing_ok=True)


def _stored(path: Path) -> StoredLorebook:
    book = load_lorebook(path)
    name = (book.model_extra or {}).get("name")
    return StoredLorebook(path.stem, name if isinstance(name, str) and name.strip() else "-", path, len(book.entries))
