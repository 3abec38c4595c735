"""Names of the samples in the package, for wherever a role or a document is given by its path.

A role is named as it is: ``--role edda``. A document has a prefix, ``--doc sample:manual.en``, as any word could be a
path. ``egosrag/data/README.md`` describes the samples. A file of the same name wins.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from importlib.resources import files
from pathlib import Path

from egosrag.errors import RoleError, SourceError

FOLDER = Path(str(files("egosrag") / "data" / "samples"))
PREFIX = "sample:"
_CARDS = (".json", ".png")
_DOCUMENTS = (".pdf", ".html", ".txt")  # of a text in several formats, the first one is the sample


def role_path(path: str | Path) -> Path:
    """The file of a role card: of the sample, if ``path`` is the name of one and no file.

    Raises:
        RoleError: ``path`` is a bare name, and there is neither a file nor a sample of that name.
    """
    path = Path(path)
    name = str(path).removeprefix(PREFIX)
    if path.is_file() or path.suffix in _CARDS or len(path.parts) != 1:
        return path
    if name not in roles():
        raise RoleError(f"there is no role {path}: give the path of a JSON or PNG file, or a sample: {_short(roles())}")
    return roles()[name]


def document_path(path: str | Path) -> Path:
    """The path of a document: of the sample, if ``path`` is ``sample:NAME`` and no file.

    Raises:
        SourceError: there is no sample of that name.
    """
    path = Path(path)
    if not str(path).startswith(PREFIX) or path.exists():
        return path
    name = str(path).removeprefix(PREFIX)
    if name not in documents():
        raise SourceError(f"there is no {path}: the samples are {PREFIX}{_short(documents(), f', {PREFIX}')}")
    return documents()[name]


@cache
def roles() -> dict[str, Path]:
    """The role cards by name: with the language (``edda.en``), and without where that is clear (``edda``)."""
    return _by_name([path for path in FOLDER.glob("*.json") if not path.stem.endswith(".questions")])


@cache
def documents() -> dict[str, Path]:
    """The documents by name: with the language (``manual.en``), and without where that is clear (``edda``)."""
    found: dict[str, Path] = {}
    for suffix in _DOCUMENTS:
        for path in FOLDER.glob(f"*{suffix}"):
            found.setdefault(path.stem, path)
    return _by_name(list(found.values()))


def _by_name(paths: list[Path]) -> dict[str, Path]:
    languages = Counter(path.stem.partition(".")[0] for path in paths)
    short = {path.stem.partition(".")[0]: path for path in sorted(paths)}
    return {path.stem: path for path in sorted(paths)} | {n: path for n, path in short.items() if languages[n] == 1}


def _short(names: dict[str, Path], separator: str = ", ") -> str:
    """The shortest name of each sample."""
    return separator.join(sorted({min((n for n in names if names[n] == path), key=len) for path in names.values()}))
