"""An index in a folder: a manifest that names one generation of data files.

A new generation is written beside the old one and becomes current when its manifest replaces the old manifest, so a
process that is killed at any moment leaves the old index or the new one. JSON and npy only, no pickle.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from egosrag.errors import StoreError
from egosrag.rag.index.bm25 import Bm25
from egosrag.rag.index.fields import LEXICAL, indexed_sentences
from egosrag.rag.index.storage import IndexData, Manifest, check_version
from egosrag.schema import Page, Passage

if TYPE_CHECKING:
    from egosrag.rag.index.vectors import Vectors

MANIFEST = "manifest.json"
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

    def read_manifest(self) -> Manifest:
        """See :class:`egosrag.rag.index.storage.IndexStore`."""
        path = self._folder / MANIFEST
        if not path.is_file():
            raise StoreError(
                f"there is no index in {self._folder}: build one with egosrag index PATH --out {self._folder}"
            )
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if record.get("format") == "egosrag-index":
                check_version(f"the index in {self._folder}", record["version"])
            return Manifest.model_validate(record)
        except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
            raise StoreError(f"the index in {self._folder} is damaged ({MANIFEST}): build it again") from error

    def read(self, manifest: Manifest) -> IndexData:
        """See :class:`egosrag.rag.index.storage.IndexStore`."""
        data = self._folder / manifest.generation
        try:
            pages = [Page.model_validate_json(line) for line in _lines(data / "pages.jsonl")]
            page_text = {(page.source, page.page): page.text for page in pages}
            passages = []
            for line in _lines(data / "passages.jsonl"):
                record = json.loads(line)
                text = page_text[record["source"], record["page"]]
                passages.append(Passage(text=text[record["start"] : record["end"]], **record))
            lexical = {name: Bm25.load(analyzer, data / name) for name, analyzer in LEXICAL.items()}
            index = IndexData.in_memory(pages, passages, lexical, _vectors(data, manifest, len(passages)))
        except (OSError, ValueError, KeyError, TypeError) as error:
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
                name = json.loads((self._folder / MANIFEST).read_text(encoding="utf-8")).get("generation")
            except (ValueError, AttributeError):
                return None
            return name if isinstance(name, str) and name.startswith("data-") and "/" not in name else None
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
        lines = (row.model_dump_json(exclude={"text"} if name == "passages" else None) for row in rows)
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, index in data.lexical.items():
        index.save(folder / name)
    if data.dense is not None:
        np.save(folder / "vectors.npy", data.dense.vectors, allow_pickle=False)


def _expected_counts(pages: list[Page], passages: list[Passage]) -> dict[str, int]:
    """The number of documents that each lexical index must have."""
    sizes = {"windows": len(passages), "pages": len(pages), "titles": len(pages)}
    sizes["sentences"] = sum(map(len, indexed_sentences(pages, passages)))
    return {name: sizes[name.split("-")[0]] for name in LEXICAL}


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]


def _vectors(folder: Path, manifest: Manifest, count: int) -> Vectors | None:
    import numpy as np

    if manifest.embedder is None:
        return None
    vectors: Vectors = np.load(folder / "vectors.npy", allow_pickle=False)
    if vectors.shape != (count, manifest.embedder.dimension) or vectors.dtype != np.float32:
        raise ValueError("vectors do not belong to the passages")
    return vectors
