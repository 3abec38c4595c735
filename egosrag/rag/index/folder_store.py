"""An index in a folder: a manifest that names one generation of data files.

A new generation is written beside the old one and becomes current when its manifest replaces the old manifest, so a
process that is killed at any moment leaves the old index or the new one. JSON and npy only, no pickle.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from egosrag.errors import StoreError
from egosrag.rag.index.bm25 import Bm25
from egosrag.rag.index.fields import LEXICAL, indexed_sentences
from egosrag.rag.index.safe_files import DAMAGED, read_array, read_object
from egosrag.rag.index.storage import IndexData, Manifest, check_version
from egosrag.schema import Page, Passage

if TYPE_CHECKING:
    from egosrag.rag.index.vectors import Vectors

MANIFEST = "manifest.json"
_GENERATION = re.compile("data-[0-9a-f]{12}")
_STALE_S = 3600  # seconds without a write after which an unfinished build is taken for killed


class FolderStore:
    """The index of a folder; see :class:`egosrag.rag.index.storage.IndexStore`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def where(self) -> str:
        """The folder."""
        return str(self._folder)

    def check_available(self) -> None:
        """A folder is checked when it is written."""

    def sweep(self) -> None:
        """See :class:`egosrag.rag.index.storage.IndexStore`."""
        current = self._current_generation() if (self._folder / MANIFEST).is_file() else None
        if current:  # nothing is deleted from a folder that is no index
            self._remove_stale(current)

    def read_manifest(self) -> Manifest:
        """See :class:`egosrag.rag.index.storage.IndexStore`."""
        path = self._folder / MANIFEST
        if not path.is_file():
            raise StoreError(
                f"there is no index in {self._folder}: build one with egosrag index PATH --out {self._folder}"
            )
        try:
            record = read_object(path)
            if record.get("format") == "egosrag-index":
                check_version(f"the index in {self._folder}", record["version"])
            return Manifest.model_validate(record)
        except DAMAGED as error:  # pydantic's ValidationError is a ValueError
            raise StoreError(f"the index in {self._folder} is damaged ({MANIFEST}): build it again") from error

    def read(self, manifest: Manifest) -> IndexData:
        """See :class:`egosrag.rag.index.storage.IndexStore`."""
        data = self._folder / manifest.generation
        try:
            pages = [Page.model_validate_json(line) for line in _lines(data / "pages.jsonl")]
            passages = _passages(pages, _lines(data / "passages.jsonl"))
            lexical = {name: Bm25.load(analyzer, data / name) for name, analyzer in LEXICAL.items()}
            index = IndexData.in_memory(pages, passages, lexical, _vectors(data, manifest, len(passages)))
        except DAMAGED as error:
            raise StoreError(
                f"the index in {self._folder} is damaged ({type(error).__name__}): build it again"
            ) from error
        if {name: bm25.count for name, bm25 in lexical.items()} != _expected_counts(pages, passages):
            raise StoreError(f"the index in {self._folder} is damaged (its parts differ): build it again")
        return index

    def write(self, manifest: Manifest, data: IndexData) -> Manifest:
        """See :class:`egosrag.rag.index.storage.IndexStore`; a folder with other files is not written to."""
        generation = f"data-{uuid.uuid4().hex[:12]}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            previous = self._current_generation()
            _write_generation(self._folder / generation, data)
            manifest = manifest.model_copy(update={"generation": generation})
            temporary = self._folder / f"{MANIFEST}.{generation}"
            temporary.write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
            os.replace(temporary, self._folder / MANIFEST)
        except OSError as error:
            shutil.rmtree(self._folder / generation, ignore_errors=True)
            raise StoreError(f"the index cannot be written to {self._folder}: {error.strerror or error}") from error
        if previous:
            shutil.rmtree(self._folder / previous, ignore_errors=True)
        self._remove_stale(generation)
        return manifest

    def _current_generation(self) -> str | None:
        """The generation that the manifest names; None if there is none, or the manifest is damaged."""
        if (self._folder / MANIFEST).is_file():
            try:
                name = read_object(self._folder / MANIFEST).get("generation")
            except ValueError:
                return None
            return name if isinstance(name, str) and _GENERATION.fullmatch(name) else None
        if any(not entry.name.startswith(("data-", f"{MANIFEST}.")) for entry in self._folder.iterdir()):
            raise StoreError(f"{self._folder} holds other files and no index: give an empty or a new folder")
        return None

    def _remove_stale(self, generation: str) -> None:
        """Remove the files of killed builds; recent ones may belong to another build that is still running."""
        for path in [*self._folder.glob("data-*"), *self._folder.glob(f"{MANIFEST}.*")]:
            with suppress(OSError):
                if generation not in path.name and time.time() - path.stat().st_mtime > _STALE_S:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _write_generation(folder: Path, data: IndexData) -> None:
    import numpy as np

    folder.mkdir()
    for name, rows in (("pages", data.pages), ("passages", data.passages)):
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8", newline="\n") as file:
            for row in rows:
                file.write(row.model_dump_json(exclude={"text"} if name == "passages" else None) + "\n")
    for name, index in data.lexical.items():
        index.save(folder / name)
    if data.dense is not None:
        np.save(folder / "vectors.npy", data.dense.vectors, allow_pickle=False)


def _expected_counts(pages: list[Page], passages: list[Passage]) -> dict[str, int]:
    """The number of documents that each lexical index must have."""
    sizes = {"windows": len(passages), "pages": len(pages), "titles": len(pages)}
    sizes["sentences"] = sum(map(len, indexed_sentences(pages, passages)))
    return {name: sizes[name.split("-")[0]] for name in LEXICAL}


def _passages(pages: list[Page], lines: list[str]) -> list[Passage]:
    """The passages of stored lines, each a part of one of the pages.

    Raises:
        ValueError, KeyError, TypeError: a line is no passage, or its page or its place does not exist.
    """
    texts = {(page.source, page.page): page.text for page in pages}
    if len(texts) != len(pages) or any(not 0 <= h.start <= len(page.text) for page in pages for h in page.headings):
        raise ValueError("pages occur twice, or headings are outside of their pages")
    passages = []
    for line in lines:
        record = json.loads(line)
        text, start, end = texts[record["source"], record["page"]], record["start"], record["end"]
        if not 0 <= start < end <= len(text) or type(start) is not int or type(end) is not int:
            raise ValueError("a passage is outside of its page")
        passages.append(Passage(text=text[start:end], **record))
    if len({passage.id for passage in passages}) != len(passages):
        raise ValueError("passages have the same id")
    return passages


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]


def _vectors(folder: Path, manifest: Manifest, count: int) -> Vectors | None:
    import numpy as np

    if manifest.embedder is None:
        return None
    vectors: Vectors = read_array(folder / "vectors.npy", "float32", 2)
    if vectors.shape != (count, manifest.embedder.dimension) or not np.all(np.isfinite(vectors)):
        raise ValueError("vectors do not belong to the passages")
    return vectors
