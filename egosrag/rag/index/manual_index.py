"""The index of one or more manuals: pages, passages, BM25 and, with an embedder, dense vectors (report 6.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from egosrag.errors import SourceError, StoreError
from egosrag.postgres import is_postgres_url, redact_url
from egosrag.rag.documents.load import file_hash, find_files, report_failures
from egosrag.rag.documents.splitting import split_pages
from egosrag.rag.index.bulk import ShardedBuild
from egosrag.rag.index.fields import Progress, build_lexical, no_progress, searched_pages, searched_text
from egosrag.rag.index.folder_store import MANIFEST, FolderStore
from egosrag.rag.index.safe_files import weights_hash
from egosrag.rag.index.storage import (
    VERSION,
    IndexData,
    IndexStore,
    Manifest,
    NewerVersionError,
)
from egosrag.rag.index.vectors import PACKAGED, Embedder, embedder_folder, load_embedder
from egosrag.schema import Page, Passage

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from egosrag.rag.index.vectors import Vectors


def open_store(where: str | Path) -> IndexStore:
    """The store of an index: a folder, or PostgreSQL for ``postgresql://...#NAME``.

    Raises:
        StoreError: ``where`` is neither a path nor an address of PostgreSQL.
    """
    if is_postgres_url(where):
        from egosrag.rag.index.postgres_store import PostgresStore

        return PostgresStore(str(where))
    if "://" in str(where):
        raise StoreError(f"an index is a folder or in Postgres, and {redact_url(str(where))} is neither: give a path")
    return FolderStore(Path(where))


class ManualIndex:
    """The index that retrieval searches. Make one with :meth:`build`, :meth:`load` or :meth:`cached`.

    Attributes:
        manifest: the documents and settings that it was built from.
        pages: all pages, in the order of the documents.
        passages: all passages, in the order of the pages.
        lexical: the lexical indexes by name (see ``fields.LEXICAL``).
        dense: dense search over the passages; None without an embedder.
        places: the source and the number of each page.
        page_of: for each passage the row of its page.
        first_sentence: for each page the row of its first sentence in the index of sentences.
    """

    def __init__(self, manifest: Manifest, data: IndexData, embedder: Embedder | None = None) -> None:
        self.manifest = manifest
        self.pages = data.pages
        self.passages = data.passages
        self.lexical = data.lexical
        self.dense = data.dense
        self.places, self.page_of, self.first_sentence = data.layout
        self._data = data
        self._embedder = embedder
        self._embedder_name: str | None = None  # that the user gave, to be loaded when it is needed
        self._checked: Embedder | None = None  # the embedder that is known to have made the vectors
        self._page_row = {place: row for row, place in enumerate(self.places)}

    def page(self, source: str, number: int) -> Page:
        """The page of a source with that number.

        Raises:
            KeyError: there is none.
        """
        return self.pages[self._page_row[source, number]]

    @property
    def embedder(self) -> Embedder | None:
        """The embedder for questions, loaded on first use; None if the index has no vectors.

        Raises:
            StoreError: it is not the embedder that made the index's vectors.
            ModelError: it cannot be loaded.
        """
        card = self.manifest.embedder
        if card is None:
            return None
        if self._embedder is None:
            name = self._embedder_name or (card.name if card.name in PACKAGED else None)
            if name is None:
                raise StoreError(
                    f"the index was built with the embedder {card.name}: name it, for example with --embedder, as an "
                    "index does not decide which model is loaded"
                )
            self._embedder = load_embedder(name)
        if self._embedder and self._checked is not self._embedder:
            if not card.is_of(self._embedder):
                raise StoreError(
                    f"the index was built with the embedder {card.name}, not {self._embedder.name} as it is now: "
                    "use that one, or build the index again"
                )
            self._checked = self._embedder
        return self._embedder

    @classmethod
    def build(
        cls,
        paths: Sequence[str | Path],
        out_dir: str | Path | None = None,
        embedder: str | Embeddings | Embedder | None = None,
        progress: Progress | None = None,
        *,
        window: int = 300,
        overlap: int = 100,
        on_skip: Callable[[str], None] | None = None,
        sharding: ShardedBuild | None = None,
    ) -> ManualIndex:
        """Index documents; where ``out_dir`` holds an index, only changed documents are read and embedded again.

        The lexical indexes are always rebuilt, as their weights depend on all passages. If nothing has changed, the
        existing index is returned, and nothing is written.

        Args:
            paths: files and folders (see :func:`egosrag.rag.documents.load.load_pages`); documents of the existing
                index that are not among them are removed.
            out_dir: folder or ``postgresql://...#NAME`` to write the index to; None keeps it in memory.
            embedder: hub id or folder of a sentence-transformers model, ``minilm``, ``e5``, or a LangChain
                ``Embeddings``; None: lexical search only.
            progress: called with (step, done, total).
            window: maximum length of a passage, in Chinese characters (see :mod:`egosrag.rag.documents.splitting`).
            overlap: maximum overlap of neighbouring passages, in the same unit.
            on_skip: called with one line about each document that cannot be read, and about what of one was not read.
            sharding: where documents are read and passages embedded, and whether an interrupted build is continued.

        Raises:
            SourceError: no document can be read.
            ModelError: the embedder cannot be loaded.
            StoreError: the folder or the database cannot be written.
        """
        progress, sharding = progress or no_progress, sharding or ShardedBuild()
        files = find_files(paths)
        hashes = {source: file_hash(path) for source, path in files.items()}
        model = load_embedder(embedder)
        previous = cls._previous(out_dir) if out_dir is not None else None
        if previous and previous._is_built_from(hashes, window, overlap, model):
            return previous
        unchanged = previous._unchanged_pages(hashes) if previous else {}
        read = sharding.read({s: path for s, path in files.items() if s not in unchanged}, hashes, progress)
        if on_skip:
            for note in read.notes:
                on_skip(note)
        report_failures(read.failed, len(files), on_skip)
        hashes = {s: read.hashes.get(s, digest) for s, digest in hashes.items() if s not in read.failed}
        pages = [page for source in hashes for page in unchanged.get(source) or read.pages[source]]
        step = partial(progress, "splitting")
        passages = split_pages(searched_pages(pages), window=window, overlap=overlap, progress=step)
        if not passages:
            raise SourceError(f"{', '.join(files)}: nothing to search in: give a document with more text")
        lexical = build_lexical(pages, passages, progress)
        vectors, card = None, None
        if model:
            known = previous._known_vectors(model) if previous else {}
            vectors = _embed(passages, known, model, embedder, sharding, progress)
            card = model.card(vectors.shape[1])
        manifest = Manifest(window=window, overlap=overlap, embedder=card, files=hashes)
        index = cls(manifest, IndexData.in_memory(pages, passages, lexical, vectors), model)
        if out_dir is not None:
            index.save(out_dir)
        sharding.delete_checkpoints()
        return index

    @classmethod
    def _previous(cls, where: str | Path) -> ManualIndex | None:
        """The index to update; None if there is none, or it is damaged or of an older version and is rebuilt."""
        store = open_store(where)
        store.check_available()
        store.sweep()
        try:
            return cls._open(store)
        except NewerVersionError:
            raise
        except StoreError:
            return None

    def _is_built_from(self, hashes: Mapping[str, str], window: int, overlap: int, model: Embedder | None) -> bool:
        """Whether a build from these would give this index; if so, it takes over the loaded embedder."""
        built = self.manifest
        order = list(dict.fromkeys(source for source, _ in self.places))
        if (built.files, order, built.window, built.overlap) != (hashes, list(hashes), window, overlap):
            return False
        same = built.embedder.is_of(model) if built.embedder and model else built.embedder is None and model is None
        if not same:
            return False
        self._embedder = model
        return True

    def _unchanged_pages(self, hashes: Mapping[str, str]) -> dict[str, list[Page]]:
        """The pages of each source whose file is still the same."""
        unchanged = {source for source in hashes if self.manifest.files.get(source) == hashes[source]}
        pages: dict[str, list[Page]] = {}
        for page in self.pages if unchanged else ():
            if page.source in unchanged:
                pages.setdefault(page.source, []).append(page)
        return pages

    def _known_vectors(self, model: Embedder) -> dict[str, Vectors]:
        """The vector of each passage text, if this embedder made them."""
        card = self.manifest.embedder
        if self.dense is None or card is None or not card.is_of(model):
            return {}
        return {searched_text(p): v for p, v in zip(self.passages, self.dense.vectors, strict=True)}

    def save(self, where: str | Path) -> None:
        """Write the index as a whole: an interruption leaves what was there before.

        Args:
            where: a folder, or ``postgresql://...#NAME``.

        Raises:
            StoreError: it cannot be written, the folder holds other files, or this index is in a database itself.
        """
        if self._data.database:
            raise StoreError(f"the index at {self._data.database} is in its database: build another with egosrag index")
        self.manifest = open_store(where).write(self.manifest, self._data)

    @classmethod
    def load(cls, where: str | Path, embedder: str | Embeddings | None = None) -> ManualIndex:
        """Read an index.

        Args:
            where: where :meth:`save` or ``egosrag index --out`` wrote it: a folder, or ``postgresql://...#NAME``.
            embedder: the embedder that it was built with; one of ``vectors.PACKAGED`` need not be named.

        Raises:
            StoreError: there is no index, it is damaged, of another version, or of another embedder.
        """
        return cls._open(open_store(where), embedder)

    @classmethod
    def _open(cls, store: IndexStore, embedder: str | Embeddings | None = None) -> ManualIndex:
        manifest = store.read_manifest()
        name = manifest.embedder.name if manifest.embedder else None
        packaged = name in PACKAGED or embedder in PACKAGED if isinstance(embedder, str) else False
        if isinstance(embedder, str) and embedder and embedder != name and (packaged or name is None):
            built_with = f"the embedder {name}" if name else "no embedder"
            raise StoreError(f"the index in {store.where} was built with {built_with}, not {embedder}: build it again")
        index = cls(manifest, store.read(manifest), None if isinstance(embedder, str) else load_embedder(embedder))
        index._embedder_name = embedder if isinstance(embedder, str) and embedder else None
        return index

    def is_current(self, where: str | Path) -> bool:
        """Whether this index is still the one that is stored at ``where``.

        Raises:
            StoreError: there is no index any more, or the database does not answer.
        """
        return open_store(where).read_manifest().generation == self.manifest.generation

    @classmethod
    def cached(
        cls,
        paths: Sequence[str | Path],
        cache_dir: str | Path,
        embedder: str | Embeddings | None = None,
        progress: Progress | None = None,
        *,
        window: int = 300,
        overlap: int = 100,
        on_skip: Callable[[str], None] | None = None,
    ) -> ManualIndex:
        """The index of these documents with these settings from ``cache_dir``; built there on the first call.

        Raises:
            SourceError, ModelError, StoreError: see :meth:`build`.
        """
        files = find_files(paths)
        if isinstance(embedder, str):
            named: object = weights_hash(embedder_folder(embedder))
        else:
            named = type(embedder).__qualname__ if embedder else None
        key = repr((VERSION, window, overlap, named, sorted((s, file_hash(p)) for s, p in files.items())))
        folder = Path(cache_dir) / "indexes" / sha256(key.encode()).hexdigest()[:24]
        if (folder / MANIFEST).is_file():
            try:
                index = cls.load(folder, None if isinstance(embedder, str) else embedder)
                index._embedder_name = embedder if isinstance(embedder, str) else None
                if not isinstance(embedder, str):
                    _ = index.embedder  # raises for another object of the same class
                return index
            except StoreError:
                pass  # a cache that cannot be read is rebuilt
        return cls.build(paths, folder, embedder, progress, window=window, overlap=overlap, on_skip=on_skip)


def _embed(
    passages: Sequence[Passage],
    known: Mapping[str, Vectors],
    model: Embedder,
    given: str | Embeddings | Embedder | None,
    sharding: ShardedBuild,
    progress: Progress,
) -> Vectors:
    """The vectors of all passages, shape (passages, dimension); each text without a known vector is embedded once."""
    import numpy as np

    texts = [searched_text(passage) for passage in passages]
    new = sharding.embed(list(dict.fromkeys(t for t in texts if t not in known)), model, given or model, progress)
    return np.stack([new[text] if text in new else known[text] for text in texts])
