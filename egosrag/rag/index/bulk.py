"""The long parts of a build, in shards: documents are read and passages embedded here or on many machines.

Where there is a folder for it, each shard's result is kept there until the index is written, so that a build which
was killed goes on with the next shard. Its name is a digest of all that the result depends on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from egosrag.parallel import Executor, run_serially
from egosrag.rag.documents.load import load_document
from egosrag.rag.index import storage as store
from egosrag.rag.index.fields import Progress
from egosrag.rag.index.vectors import Embedder, load_embedder
from egosrag.schema import Page

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from egosrag.rag.index.vectors import Vectors

SHARD_BYTES = 4_000_000  # of documents that are read together
SHARD_TEXTS = 512  # passages that are embedded together


class Pages(NamedTuple):
    """What a shard of documents gives: the pages of each source, and what was said about them."""

    pages: dict[str, list[Page]]
    notes: list[str]


def read_shard(files: Mapping[str, Path]) -> Pages:
    """The pages of some documents.

    Raises:
        SourceError: one cannot be read.
    """
    notes: list[str] = []
    return Pages({source: load_document(path, source, on_skip=notes.append) for source, path in files.items()}, notes)


def embed_shard(texts: Sequence[str], embedder: str | Embeddings | Embedder) -> Vectors:
    """The vectors of some passages, shape (texts, dimension).

    Raises:
        ModelError: the embedder cannot be loaded.
    """
    model = _named(embedder) if isinstance(embedder, str) else load_embedder(embedder)
    assert model is not None
    return model.passages(texts)


_named = lru_cache(maxsize=1)(load_embedder)  # a worker embeds many shards


class Bulk:
    """Reads and embeds in shards.

    Args:
        spread: where the work is done.
        keep: the folder of the shards' results; None keeps none.
    """

    def __init__(self, spread: Executor = run_serially, keep: Path | None = None) -> None:
        self._spread = spread
        self._keep = keep
        self._made: list[Path] = []

    def read(self, files: Mapping[str, Path], hashes: Mapping[str, str], report: Progress) -> Pages:
        """The pages of all ``files``, in their order.

        Args:
            files: path of each source.
            hashes: SHA-256 of each.
            report: is told (what, done, total).

        Raises:
            SourceError: one cannot be read.
        """
        shards = list(_cut(files))
        keys = [_digest("pages", [(source, hashes[source]) for source in shard]) for shard in shards]
        found: dict[int, Pages] = {}
        done = 0
        report("reading", done, len(files))
        for place, part in self._each(read_shard, shards, keys, _Json):
            found[place] = part
            done += len(shards[place])
            report("reading", done, len(files))
        parts = [found[place] for place in range(len(shards))]
        pages = {source: pages for part in parts for source, pages in part.pages.items()}
        return Pages(pages, [note for part in parts for note in part.notes])

    def embed(self, texts: Sequence[str], model: Embedder, given: Any, report: Progress) -> dict[str, Vectors]:
        """The vector of each text.

        Args:
            texts: each once.
            model: the embedder.
            given: what it was loaded from, which is what a worker on another machine loads it from.
            report: is told (what, done, total).

        Raises:
            ModelError: the embedder cannot be loaded.
        """
        alike = sorted(texts, key=len)  # a batch is padded to its longest text
        shards = [alike[start : start + SHARD_TEXTS] for start in range(0, len(alike), SHARD_TEXTS)]
        keys = [_digest("vectors", [model.name, model.prompt, *shard]) for shard in shards]
        work = partial(embed_shard, embedder=model if self._spread is run_serially else given)
        found: dict[str, Vectors] = {}
        for place, vectors in self._each(work, shards, keys, _Npy):
            found.update(zip(shards[place], vectors, strict=True))
            report("embedding", len(found), len(alike))
        return found

    def forget(self) -> None:
        """Removes what was kept: the index is written."""
        for path in self._made:
            path.unlink(missing_ok=True)

    def _each(
        self, work: Callable[[Any], Any], shards: Sequence[Any], keys: Sequence[str], form: type[_Form]
    ) -> Iterator[tuple[int, Any]]:
        missing = []
        for place, key in enumerate(keys):
            kept = form.read(path) if (path := self._path(key)) else None
            if kept is None:
                missing.append(place)
            else:
                yield place, kept
        for n, made in self._spread(work, [shards[place] for place in missing]):
            if path := self._path(keys[missing[n]]):
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary = path.with_suffix(f".{os.getpid()}")
                form.write(temporary, made)
                os.replace(temporary, path)
            yield missing[n], made

    def _path(self, key: str) -> Path | None:
        if self._keep is None:
            return None
        self._made.append(self._keep / key)
        return self._made[-1]


class _Form:
    """How a shard's result lies in a file; what cannot be read is none, and made again."""

    @staticmethod
    def read(path: Path) -> Any: ...

    @staticmethod
    def write(path: Path, made: Any) -> None: ...


class _Json(_Form):
    @staticmethod
    def read(path: Path) -> Pages | None:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            pages = {source: [Page.model_validate(page) for page in pages] for source, pages in record["pages"].items()}
            return Pages(pages, record["notes"])
        except (OSError, ValueError, KeyError):
            return None

    @staticmethod
    def write(path: Path, made: Pages) -> None:
        pages = {source: [page.model_dump(mode="json") for page in pages] for source, pages in made.pages.items()}
        path.write_text(json.dumps({"pages": pages, "notes": made.notes}, ensure_ascii=False), encoding="utf-8")


class _Npy(_Form):
    @staticmethod
    def read(path: Path) -> Vectors | None:
        import numpy as np

        try:
            vectors: Vectors = np.load(path, allow_pickle=False)
            return vectors
        except (OSError, ValueError):
            return None

    @staticmethod
    def write(path: Path, made: Vectors) -> None:
        import numpy as np

        with path.open("wb") as file:  # a name would be given .npy
            np.save(file, made, allow_pickle=False)


def _digest(kind: str, what: Sequence[Any]) -> str:
    return f"{kind}-{sha256(repr((store.VERSION, what)).encode()).hexdigest()[:32]}"


def _cut(files: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Neighbouring files that are read together."""
    shard: dict[str, Path] = {}
    size = 0
    for source, path in files.items():
        size += path.stat().st_size
        if shard and size > SHARD_BYTES:
            yield shard
            shard, size = {}, path.stat().st_size
        shard[source] = path
    if shard:
        yield shard
