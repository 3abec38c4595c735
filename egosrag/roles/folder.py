"""Import a folder of cards: each becomes a role file with its picture beside it, and a table says what was read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from egosrag.errors import RoleError
from egosrag.prompts import render
from egosrag.roles import cards
from egosrag.roles.data import write_atomically
from egosrag.roles.files import EXTENSIONS, RoleFile, json_of, read_role_file
from egosrag.roles.pictures import extension_of
from egosrag.schema import Role

SMALL_WINDOW = 768
"""Tokens of a prompt to the embedded model, the smallest window that a card is likely to meet."""
LONG_SHARE = 0.65  # of the window: with the instructions, a longer card is looked up in part
_UNSAFE = re.compile(r'[\x00-\x1f<>:"/\\|?*]+')


class Row(NamedTuple):
    """What became of one file.

    Attributes:
        file: its path in the folder.
        name: the role's name.
        format: the format of the card.
        out: the role file that was written; empty: none.
        greetings: number of greetings.
        lore: number of entries of its lorebook.
        tokens: length of the card in a prompt.
        picture: extension of its picture; empty: none.
        notes: what was wrong, or why it was not read.
    """

    file: str
    name: str = ""
    format: str = ""
    out: str = ""
    greetings: int = 0
    lore: int = 0
    tokens: int = 0
    picture: str = ""
    notes: str = ""


def import_folder(
    folder: Path, out: Path, count: Callable[[str], int], version: cards.Version | None = None
) -> list[Row]:
    """Import every card in a folder and its subfolders into another folder, which is made where it is missing.

    A role file is named after its role; two of one name get numbers, and a file of that name that is there already and
    says something else stays. A picture that belongs to a card beside it is no card of its own.

    Args:
        folder: the folder of cards.
        out: the folder of the role files.
        count: number of tokens of a text.
        version: write character cards V2 or V3; None writes our own JSON.

    Raises:
        RoleError: ``out`` cannot be written, or the folder has no file that could be a card.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RoleError(f"the folder {out} cannot be made ({error.strerror}): give another path") from error
    rows: list[Row] = []
    taken: set[str] = set()
    for path in _files(folder, out):
        name = str(path.relative_to(folder))
        try:
            rows.append(_imported(name, read_role_file(path), out, version, taken, count))
        except RoleError as error:
            if "contains no character card" in str(error) and _has_card_beside(path):
                continue
            rows.append(Row(name, notes=" ".join(str(error).replace(str(path), name).split())))
    if not rows:
        raise RoleError(f"the folder {folder} has no cards: give one with files such as {', '.join(EXTENSIONS)}")
    return rows


def fit_note(tokens: int) -> list[str]:
    """What is said of a card of so many tokens: whether it is long for the embedded model."""
    if tokens <= SMALL_WINDOW * LONG_SHARE:
        return []
    return [
        f"{tokens} tokens are long for a window of {SMALL_WINDOW} (pocket): the most important statements are in every "
        "prompt there, the others are looked up for each line"
    ]


def table(rows: Sequence[Row]) -> str:
    """The rows as aligned columns, and a line that counts them."""
    header = ("file", "role", "format", "greetings", "lore", "tokens", "picture", "written as", "notes")
    cells: list[tuple[str, ...]] = [header]
    for row in rows:
        numbers = (str(row.greetings), str(row.lore), str(row.tokens)) if row.out else ("", "", "")
        cells.append((row.file, row.name or "-", row.format or "not read", *numbers, row.picture, row.out, row.notes))
    cells = [tuple("".join(c for c in text if unicodedata.category(c)[0] != "C") for text in line) for line in cells]
    widths = [max(_width(line[n]) for line in cells) for n in range(len(header) - 1)]
    lines = [
        "  ".join([text + " " * (widths[n] - _width(text)) for n, text in enumerate(line[:-1])] + [line[-1]]).rstrip()
        for line in cells
    ]
    read = sum(bool(row.out) for row in rows)
    return "\n".join([*lines, f"{read} of {len(rows)} files were read"])


def _imported(
    name: str,
    file: RoleFile,
    out: Path,
    version: cards.Version | None,
    taken: set[str],
    count: Callable[[str], int],
) -> Row:
    role = file.role
    content = json_of(role, version)
    stem = _free_name(role.name, taken, out, content)
    tokens = count(render.card(role, role.language or "en"))
    write_atomically(out / f"{stem}.json", content, "role card")
    extension = extension_of(file.picture) if file.picture else ""
    if file.picture:
        write_atomically(out / f"{stem}.{extension}", file.picture, "picture")
    return Row(
        file=name,
        name=role.name,
        format=file.format,
        out=f"{stem}.json",
        greetings=bool(role.greeting) + len(role.alternate_greetings),
        lore=len(role.lorebook.entries) if role.lorebook else 0,
        tokens=tokens,
        picture=extension,
        notes="; ".join([*file.notes, *_unknown_macros(role), *fit_note(tokens)]),
    )


def _unknown_macros(role: Role) -> list[str]:
    names = render.unknown_macros(role)
    return [f"macros that are not known stay as they are: {', '.join(names)[:200]}"] if names else []


def _files(folder: Path, out: Path) -> Iterator[Path]:
    inside_out = out.resolve()
    for path in sorted(folder.rglob("*")):
        if path.suffix[1:].lower() in EXTENSIONS and path.is_file() and inside_out not in path.resolve().parents:
            yield path


def _has_card_beside(path: Path) -> bool:
    return any(path.with_suffix(f".{kind}").is_file() for kind in ("json", "yaml", "yml", "charx"))


def _free_name(name: str, taken: set[str], out: Path, content: bytes) -> str:
    """A file name for a role, never a path, that neither a role of this import nor a file with other content has."""
    base = _UNSAFE.sub("_", unicodedata.normalize("NFC", name)).strip(" ._")[:80] or "role"
    stem, number = base, 1
    while stem.casefold() in taken or not _is_free(out / f"{stem}.json", content):
        number += 1
        stem = f"{base} {number}"
    taken.add(stem.casefold())
    return stem


def _is_free(path: Path, content: bytes) -> bool:
    try:
        return not path.exists() or path.read_bytes() == content
    except OSError:
        return False


def _width(text: str) -> int:
    """Columns of a text on a terminal: Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
