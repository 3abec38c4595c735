"""How an index lies in a folder: a manifest that names one generation of data files, replaced as one.

A new generation is written beside the old one and comes to life when the manifest is renamed over the old
manifest, so a process that is killed at any moment leaves the old index or the new one. JSON and npy only.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from egosrag.errors import StoreError
from egosrag.postgres import is_postgres_url, redact_url
from egosrag.rag.index.bm25 import Bm25
from egosrag.schema import Page, Passage

if TYPE_CHECKING:
    from egosrag.rag.index.vectors import Vectors

VERSION = 2
MANIFEST = "manifest.json"
_STALE_S = 3600  # no build writes its files for so long


class EmbedderCard(BaseModel):
    """Which embedder made the vectors; another one's questions would be compared with nonsense."""

    model_config = ConfigDict(frozen=True)

    name: str
    dimension: int
    prompt: str = ""


class Manifest(BaseModel):
    """What an index was built from and with."""

    model_config = ConfigDict(frozen=True)

    format: str = "egosrag-index"
    version: int = VERSION
    generation: str = ""
    window: int = 300
    overlap: int = 100
    embedder: EmbedderCard | None = None
    files: dict[str, str] = {}  # source name -> SHA-256 of the file


class Data(BaseModel):
    """The parts of a generation, in memory."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    pages: list[Page]
    passages: list[Passage]
    lexical: dict[str, Any]
    vectors: Any = None


def in_database(where: object) -> bool:
    """Whether an index is in Postgres, and not in a folder.

    Raises:
        StoreError: it is in neither.
    """
    if "://" in str(where) and not is_postgres_url(where):
        raise StoreError(f"an index is a folder or in Postgres, and {redact_url(str(where))} is neither: give a path")
    return is_postgres_url(where)


class NewerError(StoreError):
    """A newer program wrote the index: it is not to be written over."""


def check_not_newer(what: str, version: int) -> None:
    """Finds out whether an index may be written over.

    Raises:
        NewerError: a newer program wrote it.
    """
    if version > VERSION:
        told = f"{what} has version {version}, this program knows {VERSION}"
        raise NewerError(f"{told}: use the newer program, or build the index elsewhere; nothing was changed")


def check_version(what: str, version: int) -> None:
    """Finds out whether an index can be read.

    Raises:
        StoreError: another version wrote it.
    """
    check_not_newer(what, version)
    if version != VERSION:
        raise StoreError(f"{what} has version {version}, this program reads {VERSION}: build it again")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an index folder.

    Raises:
        StoreError: there is none, it is damaged, or another version wrote it.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise StoreError(f"there is no index in {folder}: build one with egosrag index PATH --out {folder}")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.get("format") == "egosrag-index":
            check_version(f"the index in {folder}", record["version"])
        return Manifest.model_validate(record)
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise StoreError(f"the index in {folder} is damaged ({MANIFEST}): build it again") from error


def write(folder: Path, manifest: Manifest, data: Data) -> Manifest:
    """Write a new generation and make it the folder's index.

    Raises:
        StoreError: the folder cannot be written, or holds something that is no index.
    """
    generation = f"data-{uuid.uuid4().hex[:12]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        old = _old_generation(folder)
        _write_generation(folder / generation, data)
        manifest = manifest.model_copy(update={"generation": generation})
        temporary = folder / f"{MANIFEST}.{generation}"
        temporary.write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
        os.replace(temporary, folder / MANIFEST)
    except OSError as error:
        shutil.rmtree(folder / generation, ignore_errors=True)
        raise StoreError(f"the index cannot be written to {folder}: {error.strerror or error}") from error
    if old:
        shutil.rmtree(folder / old, ignore_errors=True)
    _sweep(folder, generation)
    return manifest


def _sweep(folder: Path, generation: str) -> None:
    """Takes out what killed builds left; what is young may be another build's that is being written."""
    for path in [*folder.glob("data-*"), *folder.glob(f"{MANIFEST}.*")]:
        with suppress(OSError):
            if generation not in path.name and time.time() - path.stat().st_mtime > _STALE_S:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _old_generation(folder: Path) -> str | None:
    if (folder / MANIFEST).is_file():
        try:
            name = json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("generation")
        except (ValueError, AttributeError):
            return None
        return name if isinstance(name, str) and name.startswith("data-") and "/" not in name else None
    if any(not entry.name.startswith(("data-", f"{MANIFEST}.")) for entry in folder.iterdir()):
        raise StoreError(f"{folder} holds other files and no index: give an empty or a new folder")
    return None


def _write_generation(folder: Path, data: Data) -> None:
    import numpy as np

    folder.mkdir()
    for name, rows in (("pages", data.pages), ("passages", data.passages)):
        lines = (row.model_dump_json(exclude={"text"} if name == "passages" else None) for row in rows)
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, index in data.lexical.items():
        index.save(folder / name)
    if data.vectors is not None:
        np.save(folder / "vectors.npy", data.vectors, allow_pickle=False)


def read(folder: Path, manifest: Manifest, analyzers: dict[str, str]) -> Data:
    """The generation that the manifest names.

    Args:
        folder: the index folder.
        manifest: what :func:`read_manifest` gave.
        analyzers: the analyzer of each lexical index, by its name.

    Raises:
        StoreError: a file of it is missing or does not fit the others.
    """
    place = folder / manifest.generation
    try:
        pages = [Page.model_validate_json(row) for row in _rows(place / "pages.jsonl")]
        text = {(page.source, page.page): page.text for page in pages}
        passages = []
        for row in _rows(place / "passages.jsonl"):
            record = json.loads(row)
            whole = text[record["source"], record["page"]]
            passages.append(Passage(text=whole[record["start"] : record["end"]], **record))
        lexical = {name: Bm25.load(analyzer, place / name) for name, analyzer in analyzers.items()}
        vectors = _vectors(place, manifest, len(passages))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"the index in {folder} is damaged ({type(error).__name__}): build it again") from error
    return Data(pages=pages, passages=passages, lexical=lexical, vectors=vectors)


def _rows(path: Path) -> list[str]:
    return [row for row in path.read_text(encoding="utf-8").split("\n") if row]


def _vectors(place: Path, manifest: Manifest, count: int) -> Vectors | None:
    import numpy as np

    if manifest.embedder is None:
        return None
    vectors: Vectors = np.load(place / "vectors.npy", allow_pickle=False)
    if vectors.shape != (count, manifest.embedder.dimension) or vectors.dtype != np.float32:
        raise ValueError("vectors do not belong to the passages")
    return vectors
