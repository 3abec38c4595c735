"""The index of one or more manuals: pages, passages, BM25 and, with an embedder, dense vectors (report 6.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from egosrag.errors import SourceError, StoreError
from egosrag.rag.documents.load import file_hash, find_files
from egosrag.rag.documents.splitting import split_pages
from egosrag.rag.index import storage as store
from egosrag.rag.index.bm25 import Bm25
from egosrag.rag.index.bulk import Bulk
from egosrag.rag.index.fields import (
    LEXICAL,
    Progress,
    build_lexical,
    searched_pages,
    searched_text,
    sentences_of,
    silent,
)
from egosrag.rag.index.storage import Data, EmbedderCard, Manifest
from egosrag.rag.index.vectors import DenseIndex, Embedder, load_embedder
from egosrag.schema import Page, Passage

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from egosrag.rag.index.postgres_search import VectorRows
    from egosrag.rag.index.vectors import Vectors


class ManualIndex:
    """What retrieval searches. Make one with :meth:`build`, :meth:`load` or :meth:`cached`."""

    def __init__(self, manifest: Manifest, data: Data, embedder: Embedder | None = None) -> None:
        self.manifest = manifest
        self.pages: Sequence[Page] = data.pages
        self.passages: Sequence[Passage] = data.passages
        self.lexical: Mapping[str, Bm25] = data.lexical
        self.dense: DenseIndex | VectorRows | None = DenseIndex(data.vectors) if data.vectors is not None else None
        self._data = data
        self._embedder = embedder
        self._page = {(page.source, page.page): i for i, page in enumerate(self.pages)}
        #: the source and the number of each page
        self.places = list(self._page)
        #: for each passage the position of its page in ``pages``
        self.page_of = [self._page[p.source, p.page] for p in self.passages]
        #: for each page the row of its first sentence in the index of sentences; a page has at least one
        self.first_sentence = [0]
        for sentences in sentences_of(self.pages, self.passages)[:-1]:
            self.first_sentence.append(self.first_sentence[-1] + len(sentences))

    def page(self, source: str, number: int) -> Page:
        """The page with that number (KeyError where there is none)."""
        return self.pages[self._page[source, number]]

    @property
    def embedder(self) -> Embedder | None:
        """The embedder of the questions, loaded when it is first needed.

        Raises:
            StoreError: it is not the one that made the index's vectors.
            ModelError: it cannot be loaded.
        """
        card = self.manifest.embedder
        if card and self._embedder is None:
            self._embedder = load_embedder(card.name)
        if card and self._embedder and (self._embedder.name, self._embedder.prompt) != (card.name, card.prompt):
            raise StoreError(
                f"the index was built with the embedder {card.name}, not {self._embedder.name}: "
                "use that one, or build the index again"
            )
        return self._embedder if card else None

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
        bulk: Bulk | None = None,
    ) -> ManualIndex:
        """Index documents; where ``out_dir`` holds an index, only what changed is read and embedded again.

        Words are indexed anew for all passages, for their weights depend on all; where nothing at all has changed,
        the old index is given as it is, and nothing is written.

        Args:
            paths: files and folders (see :func:`egosrag.rag.documents.load.load_pages`); a file that the old index had
                and that is not among them is taken out.
            out_dir: folder or ``postgresql://...#NAME`` to write the index to; absent: it stays in memory.
            embedder: hub id or folder of a sentence-transformers model, ``minilm``, or a LangChain ``Embeddings``.
            progress: is told (what, done, total).
            window: longest passage, in Chinese characters (see :mod:`egosrag.rag.documents.splitting`).
            overlap: what neighbouring passages share, in the same unit.
            on_skip: is told, in one line, which pages had no text and were skipped.
            bulk: where documents are read and passages embedded, and what is kept of it should the build be killed.

        Raises:
            SourceError: a document cannot be read.
            ModelError: the embedder cannot be loaded.
            StoreError: the folder or the database cannot be written.
        """
        import numpy as np

        report = progress or silent
        files = find_files(paths)
        hashes = {source: file_hash(path) for source, path in files.items()}
        model = load_embedder(embedder)
        old = cls._old(out_dir)
        if old and old._made_from(hashes, window, overlap, model):
            return old
        same = {s for s in hashes if old and old.manifest.files.get(s) == hashes[s]}
        kept: dict[str, list[Page]] = {}
        for page in old.pages if old and same else ():
            if page.source in same:
                kept.setdefault(page.source, []).append(page)
        bulk = bulk or Bulk()
        read = bulk.read({s: path for s, path in files.items() if s not in kept}, hashes, report)
        if on_skip:
            for note in read.notes:
                on_skip(note)
        pages = [page for source in files for page in kept.get(source) or read.pages[source]]
        passages = split_pages(searched_pages(pages), window=window, overlap=overlap)
        if not passages:
            raise SourceError(f"{', '.join(files)}: nothing to search in: give a document with more text")
        data = Data(pages=pages, passages=passages, lexical=build_lexical(pages, passages, report))
        card = None
        if model:
            texts = [searched_text(p) for p in passages]
            known = old._known(model) if old else {}
            made = bulk.embed(list(dict.fromkeys(t for t in texts if t not in known)), model, embedder, report)
            data.vectors = np.stack([made[text] if text in made else known[text] for text in texts])
            card = EmbedderCard(name=model.name, dimension=data.vectors.shape[1], prompt=model.prompt)
        index = cls(Manifest(window=window, overlap=overlap, embedder=card, files=hashes), data, model)
        if out_dir is not None:
            index.save(out_dir)
        bulk.forget()
        return index

    @classmethod
    def _old(cls, folder: str | Path | None) -> ManualIndex | None:
        """The index that is there, or none where it is damaged or of another version: it is built anew then."""
        if store.in_database(folder):
            from egosrag.rag.index.postgres_write import old

            return old(str(folder))
        if folder is None or not (Path(folder) / store.MANIFEST).is_file():
            return None
        try:
            return cls.load(folder)
        except store.NewerError:
            raise
        except StoreError:
            return None

    def _made_from(self, hashes: Mapping[str, str], window: int, overlap: int, model: Embedder | None) -> bool:
        """Whether a build from these would give this very index; it is handed the embedder then."""
        built = self.manifest
        card = (built.embedder.name, built.embedder.prompt) if built.embedder else None
        given = (model.name, model.prompt) if model else None
        order = list(dict.fromkeys(source for source, _ in self.places))
        if (built.files, order, built.window, built.overlap, card) != (hashes, list(hashes), window, overlap, given):
            return False
        self._embedder = model
        return True

    def _known(self, model: Embedder) -> dict[str, Vectors]:
        card = self.manifest.embedder
        if self.dense is None or card is None or (card.name, card.prompt) != (model.name, model.prompt):
            return {}
        return {searched_text(p): v for p, v in zip(self.passages, self.dense.vectors, strict=True)}

    def save(self, folder: str | Path) -> None:
        """Write the index; it is there whole or not at all.

        Raises:
            StoreError: the folder cannot be written, or holds something that is no index.
        """
        if store.in_database(folder):
            from egosrag.rag.index.postgres_write import write

            write(str(folder), self)
        else:
            self.manifest = store.write(Path(folder), self.manifest, self._data)

    @classmethod
    def load(cls, folder: str | Path, embedder: str | Embeddings | None = None) -> ManualIndex:
        """Read an index.

        Args:
            folder: where :meth:`save` or ``egosrag index --out`` wrote it: a folder, or ``postgresql://...#NAME``.
            embedder: the embedder that it was built with, where it was an object; else it is loaded by its name.

        Raises:
            StoreError: there is none, it is damaged, of another version, or of another embedder.
        """
        if store.in_database(folder):
            from egosrag.rag.index.postgres import PostgresIndex

            return PostgresIndex(str(folder), embedder)
        manifest = store.read_manifest(Path(folder))
        cls.check_embedder(folder, manifest, embedder)
        made = None if isinstance(embedder, str) else load_embedder(embedder)
        index = cls(manifest, store.read(Path(folder), manifest, LEXICAL), made)
        counts = {name: bm25.count for name, bm25 in index.lexical.items()}
        sizes = {"windows": len(index.passages), "pages": len(index.pages), "titles": len(index.pages)}
        sizes["sentences"] = sum(map(len, sentences_of(index.pages, index.passages)))
        expected = {name: sizes[name.split("-")[0]] for name in LEXICAL}
        if counts != expected:
            raise StoreError(f"the index in {folder} is damaged (its parts differ): build it again")
        return index

    @staticmethod
    def check_embedder(where: object, manifest: Manifest, embedder: object) -> None:
        """Finds out whether an embedder that is named is the index's own.

        Raises:
            StoreError: it is not.
        """
        given = embedder if isinstance(embedder, str) else None
        if given and (manifest.embedder is None or manifest.embedder.name != given):
            had = f"the embedder {manifest.embedder.name}" if manifest.embedder else "no embedder"
            raise StoreError(f"the index in {where} was built with {had}, not {given}: build it again")

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
        """The index of these very documents and settings from ``cache_dir``, built there on the first call.

        Raises:
            SourceError, ModelError, StoreError: see :meth:`build`.
        """
        files = find_files(paths)
        named = embedder if isinstance(embedder, str) or embedder is None else type(embedder).__qualname__
        key = repr((store.VERSION, window, overlap, named, sorted((s, file_hash(p)) for s, p in files.items())))
        folder = Path(cache_dir) / "indexes" / sha256(key.encode()).hexdigest()[:24]
        if (folder / store.MANIFEST).is_file():
            try:
                return cls.load(folder, None if isinstance(embedder, str) else embedder)
            except StoreError:
                pass  # a cache is only a saving: what cannot be read is built again
        return cls.build(paths, folder, embedder, progress, window=window, overlap=overlap, on_skip=on_skip)
