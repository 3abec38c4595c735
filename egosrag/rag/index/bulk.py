"""The long parts of a build in shards: documents are read and passages embedded, here or on a cluster.

With a checkpoint folder the result of each shard is kept until the index is written, so that an interrupted build
continues with the next shard. A checkpoint's name is a digest of everything that the result depends on.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from egosrag.errors import SourceError
from egosrag.parallel import Executor, run_serially
from egosrag.rag.documents.load import file_hash, load_document
from egosrag.rag.index.fields import Progress
from egosrag.rag.index.safe_files import DAMAGED, read_array
from egosrag.rag.index.storage import VERSION
from egosrag.rag.index.vectors import Embedder, load_embedder
from egosrag.schema import Page

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from egosrag.rag.index.vectors import Vectors

SHARD_BYTES = 4_000_000  # of documents that are read as one shard
_GIVEN_UP_S = 30 * 24 * 3600  # seconds after which the checkpoints of an interrupted build are deleted
_ATTEMPTS = 3  # to read a file that somebody is writing
SHARD_TEXTS = 512  # passages that are embedded as one shard


class ReadPages(NamedTuple):
    """The pages of each source of a shard of documents.

    Attributes:
        pages: of the sources that can be read.
        notes: one line about each part that was not read.
        failed: the error of each source that cannot be read.
        hashes: the SHA-256 of what was read of each source.
    """

    pages: dict[str, list[Page]]
    notes: list[str]
    failed: dict[str, str] = {}
    hashes: dict[str, str] = {}


def read_shard(files: Mapping[str, Path], progress: Progress | None = None) -> ReadPages:
    """Read some documents.

    Args:
        files: the path of each source.
        progress: called with (step, done, total) pages of each document; None on another machine.
    """
    notes: list[str] = []
    pages: dict[str, list[Page]] = {}
    failed: dict[str, str] = {}
    hashes: dict[str, str] = {}
    for source, path in files.items():
        try:
            pages[source], found, hashes[source] = _read_unchanged(path, source, progress)
            notes += found
        except SourceError as error:
            failed[source] = str(error)
    return ReadPages(pages, notes, failed, hashes)


def _read_unchanged(path: Path, source: str, progress: Progress | None) -> tuple[list[Page], list[str], str]:
    """The pages of a file that did not change while it was read, the notes about it, and its hash.

    Raises:
        SourceError: it cannot be read, or somebody writes it all the time.
    """
    for _ in range(_ATTEMPTS):
        notes: list[str] = []
        digest = file_hash(path)
        step = partial(progress, "reading pages") if progress else None
        pages = load_document(path, source, on_skip=notes.append, progress=step)
        if file_hash(path) == digest:
            return pages, notes, digest
    raise SourceError(f"{path} is being written: index it when it is complete")


def embed_shard(texts: Sequence[str], embedder: str | Embeddings | Embedder) -> Vectors:
    """The vectors of some passages, shape (texts, dimension).

    Raises:
        ModelError: the embedder cannot be loaded.
    """
    model = _cached_embedder(embedder) if isinstance(embedder, str) else load_embedder(embedder)
    assert model is not None
    return model.passages(texts)


_cached_embedder = lru_cache(maxsize=1)(load_embedder)  # a worker embeds many shards


class ShardedBuild:
    """Reads and embeds in shards.

    Args:
        executor: runs the work on the shards, here or on a cluster.
        checkpoints: the folder for the shards' results; None: an interrupted build starts over.
    """

    def __init__(self, executor: Executor = run_serially, checkpoints: Path | None = None) -> None:
        self._executor = executor
        self._checkpoints = checkpoints
        self._written: list[Path] = []

    def read(self, files: Mapping[str, Path], hashes: Mapping[str, str], progress: Progress) -> ReadPages:
        """The pages of all documents, in their order.

        Args:
            files: the path of each source.
            hashes: the SHA-256 of each source.
            progress: called with (step, done, total).
        """
        shards = list(_file_shards(files))
        keys = [_digest("pages", [(source, hashes[source]) for source in shard]) for shard in shards]
        results: dict[int, ReadPages] = {}
        done = 0
        progress("reading", done, len(files))
        work = partial(read_shard, progress=progress) if self._executor is run_serially else read_shard
        for i, result in self._results(work, shards, keys, _PagesCheckpoint()):
            results[i] = result
            done += len(shards[i])
            progress("reading", done, len(files))
        ordered = [results[i] for i in range(len(shards))]
        pages = {source: pages for result in ordered for source, pages in result.pages.items()}
        failed = {source: error for result in ordered for source, error in result.failed.items()}
        read_hashes = {source: digest for result in ordered for source, digest in result.hashes.items()}
        return ReadPages(pages, [note for result in ordered for note in result.notes], failed, read_hashes)

    def embed(
        self, texts: Sequence[str], model: Embedder, given: str | Embeddings | Embedder, progress: Progress
    ) -> dict[str, Vectors]:
        """The vector of each text.

        Args:
            texts: distinct texts.
            model: the loaded embedder.
            given: what it was loaded from; a worker on another machine loads it from this.
            progress: called with (step, done, total).

        Raises:
            ModelError: the embedder cannot be loaded.
        """
        by_length = sorted(texts, key=len)  # a batch is padded to its longest text
        shards = [by_length[start : start + SHARD_TEXTS] for start in range(0, len(by_length), SHARD_TEXTS)]
        keys = [_digest("vectors", [model.key, *shard]) for shard in shards]
        work = partial(embed_shard, embedder=model if self._executor is run_serially else given)
        vectors: dict[str, Vectors] = {}
        for i, result in self._results(work, shards, keys, _VectorsCheckpoint()):
            vectors.update(zip(shards[i], result, strict=True))
            progress("embedding", len(vectors), len(by_length))
        return vectors

    def delete_checkpoints(self) -> None:
        """Delete the results of this build's shards, as the index is written, and those of builds long given up."""
        for path in self._written:
            path.unlink(missing_ok=True)
        for path in self._checkpoints.iterdir() if self._checkpoints and self._checkpoints.is_dir() else ():
            with suppress(OSError):
                if path.name.startswith(("pages-", "vectors-")) and time.time() - path.stat().st_mtime > _GIVEN_UP_S:
                    path.unlink()

    def _results(
        self, work: Callable[[Any], Any], shards: Sequence[Any], keys: Sequence[str], checkpoint: _Checkpoint
    ) -> Iterator[tuple[int, Any]]:
        """The result of each shard with its index: first those with a checkpoint, then the others as they are done."""
        missing = []
        for i, key in enumerate(keys):
            result = checkpoint.read(path) if (path := self._path(key)) else None
            if result is None:
                missing.append(i)
            else:
                yield i, result
        for n, result in self._executor(work, [shards[i] for i in missing]):
            if path := self._path(keys[missing[n]]):
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary = path.with_suffix(f".{os.getpid()}")
                checkpoint.write(temporary, result)
                os.replace(temporary, path)
            yield missing[n], result

    def _path(self, key: str) -> Path | None:
        if self._checkpoints is None:
            return None
        self._written.append(self._checkpoints / key)
        return self._written[-1]


class _Checkpoint(Protocol):
    """The file format of a shard's result."""

    def read(self, path: Path) -> Any:
        """The result, or None where there is none or it is damaged."""

    def write(self, path: Path, result: Any) -> None:
        """Write the result."""


class _PagesCheckpoint:
    def read(self, path: Path) -> ReadPages | None:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            pages = {source: [Page.model_validate(page) for page in pages] for source, pages in record["pages"].items()}
            return ReadPages(pages, record["notes"], record["failed"], record["hashes"])
        except DAMAGED:
            return None

    def write(self, path: Path, result: ReadPages) -> None:
        pages = {source: [page.model_dump(mode="json") for page in pages] for source, pages in result.pages.items()}
        record = {"pages": pages, "notes": result.notes, "failed": result.failed, "hashes": result.hashes}
        path.write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")


class _VectorsCheckpoint:
    def read(self, path: Path) -> Vectors | None:
        try:
            vectors: Vectors = read_array(path, "float32", 2)
            return vectors
        except DAMAGED:
            return None

    def write(self, path: Path, result: Vectors) -> None:
        import numpy as np

        with path.open("wb") as file:  # np.save would append .npy to a path
            np.save(file, result, allow_pickle=False)


def _digest(kind: str, content: Sequence[Any]) -> str:
    return f"{kind}-{sha256(repr((VERSION, content)).encode()).hexdigest()[:32]}"


def _file_shards(files: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Consecutive files of at most ``SHARD_BYTES`` together, or one larger file."""
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
