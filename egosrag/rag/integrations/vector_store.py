"""Our index as a LangChain ``VectorStore``: documents that LangChain loaded and split become an index of manuals.

As a vector store it finds documents by their vectors alone. What it is there for is ``index``: the same documents with
the lexical indexes beside the vectors, for :class:`egosrag.rag.answer.engine.ManualEngine`, which cites the source and
the page of a document's metadata.
"""

# ruff: noqa: A002 - LangChain's stores name an argument "filter"

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from egosrag.errors import ModelError, SourceError, StoreError
from egosrag.rag.index.fields import build_lexical, no_progress
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.index.storage import IndexData, Manifest
from egosrag.rag.index.vectors import Embedder, load_embedder
from egosrag.rag.integrations.langchain import metadata_of
from egosrag.schema import Page, Passage
from egosrag.text.encoding import without_surrogates

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from egosrag.rag.index.vectors import Vectors

#: which documents are searched: those for which it is true, or whose metadata has these values
Filter = Callable[[Document], bool] | Mapping[str, Any]
_BETWEEN = "\n\n"  # the documents of a page
_log = logging.getLogger(__name__)


class ManualVectorStore(VectorStore):
    """Documents with their vectors in memory; ``save`` writes them as an index, to a folder or to PostgreSQL.

    A document is a passage of the page that its metadata names by ``source`` and ``page``, counted from 1 (from 0 where
    there is a ``page_label``, as LangChain's PDF loaders do). One without a page is a page of its own, the next one of
    its source; one without a source is a source of its own, named by its id.

    Adding and deleting change the vectors alone. The lexical indexes, whose weights depend on all documents, are built
    when ``index`` or ``save`` needs them: add documents in large batches.

    Args:
        embedding: LangChain's embeddings, or what :meth:`ManualIndex.build` takes as an embedder.

    Raises:
        ModelError: the embedder cannot be loaded.
    """

    def __init__(self, embedding: Embeddings | str) -> None:
        embedder = load_embedder(embedding)
        if embedder is None:
            raise ModelError("a vector store needs embeddings: give LangChain embeddings, or the name of an embedder")
        self._embedder: Embedder = embedder
        self._embedding = embedding
        self._passages: dict[str, Passage] = {}
        self._vectors: dict[str, Vectors] = {}
        self._pages: dict[tuple[str, int], Page] = {}
        self._lock = threading.RLock()
        self._matrix: Vectors | None = None
        self._index: ManualIndex | None = None

    @property
    def embeddings(self) -> Embeddings | None:
        """The embeddings that were given; None where an embedder was named."""
        return None if isinstance(self._embedding, str) else self._embedding

    @property
    def index(self) -> ManualIndex:
        """The index of all documents, for a :class:`ManualEngine` or a :class:`Retriever`.

        Raises:
            SourceError: there are no documents.
        """
        with self._lock:
            if not self._passages:
                raise SourceError("there is nothing to search in: add documents first")
            if self._index is None:
                order = {place: row for row, place in enumerate(self._pages)}
                passages = sorted(self._passages.values(), key=lambda p: order[p.source, p.page])
                vectors = np.stack([self._vectors[passage.id] for passage in passages])
                pages = list(self._pages.values())
                data = IndexData.in_memory(pages, passages, build_lexical(pages, passages, no_progress), vectors)
                manifest = Manifest(embedder=self._embedder.card(vectors.shape[1]))
                self._index = ManualIndex(manifest, data, self._embedder)
            return self._index

    def save(self, where: str | Path) -> None:
        """Write the documents as an index, which :meth:`load` reads; also ``egosrag ask --index``, of a named embedder.

        Args:
            where: a folder, or ``postgresql://...#NAME``.

        Raises:
            SourceError: there are no documents.
            StoreError: it cannot be written, or the metadata of a document is not JSON.
        """
        with self._lock:
            for passage in self._passages.values():
                try:
                    passage.model_dump_json()
                except ValueError as error:
                    what = f"the metadata of document {passage.id!r}"
                    raise StoreError(f"{what} cannot be stored as JSON ({error}): leave it out") from error
            self.index.save(where)

    @classmethod
    def load(cls, where: str | Path, embedding: Embeddings | str) -> ManualVectorStore:
        """The documents of an index, whether :meth:`save` or ``egosrag index --embedder`` wrote it.

        Args:
            where: a folder, or ``postgresql://...#NAME``.
            embedding: the embedder that it was built with.

        Raises:
            StoreError: there is no index, it is damaged, of another embedder, or has no vectors.
            ModelError: the embedder cannot be loaded.
        """
        index = ManualIndex.load(where, embedding)
        if index.dense is None or index.embedder is None:
            raise StoreError(f"the index in {where} has no vectors: build it with an embedder")
        store = cls(embedding)
        store._pages = {(page.source, page.page): page for page in index.pages}
        store._passages = {passage.id: passage for passage in index.passages}
        store._vectors = dict(zip(store._passages, index.dense.vectors, strict=True))
        return store

    # --- documents ---------------------------------------------------------------------------------------------------

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add documents, or replace those of the same ids; one without text is left out, with a line in the log.

        Args:
            texts: of the documents.
            metadatas: of each document.
            ids: of each document; None: a new one.
            **kwargs: nothing is read of it.

        Returns:
            The ids.

        Raises:
            ValueError: there are more or fewer metadatas or ids than texts.
        """
        given = list(texts)
        names = [name or uuid.uuid4().hex for name in ids or [None] * len(given)]
        rows = zip(names, given, metadatas or [{}] * len(given), strict=True)
        documents = {name: (without_surrogates(text), dict(metadata)) for name, text, metadata in rows}
        for name in [name for name, (text, _) in documents.items() if not text.strip()]:
            _log.warning("document %r is left out: it has no text", name)
            del documents[name]
        vectors = self._embedder.passages([text for text, _ in documents.values()]) if documents else ()
        with self._lock:
            self._change(names, documents)
            self._vectors |= dict(zip(documents, vectors, strict=True))
        return names

    def delete(self, ids: Sequence[str] | None = None, **kwargs: Any) -> bool:
        """Delete documents; ids that no document has are ignored.

        Args:
            ids: of the documents; None: all.
            **kwargs: nothing is read of it.
        """
        with self._lock:
            self._change(list(self._passages) if ids is None else ids, {})
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents with these ids, in their order; ids that no document has are ignored."""
        with self._lock:
            return [_document(self._passages[name]) for name in ids if name in self._passages]

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | str,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> ManualVectorStore:
        """A store with these documents; see :meth:`add_texts`."""
        store = cls(embedding)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def _change(self, removed: Iterable[str], added: Mapping[str, tuple[str, dict[str, Any]]]) -> None:
        """Remove documents, add others, and write the pages anew of which they are."""
        self._matrix = self._index = None
        before = {name: self._passages[name] for name in removed if name in self._passages}
        changed = dict.fromkeys((passage.source, passage.page) for passage in before.values())  # a set has no order
        for name in before.keys() - added.keys():
            del self._passages[name], self._vectors[name]
        last: dict[str, int] = {}
        for source, number in self._pages:
            last[source] = max(number, last.get(source, 0))
        for name, (text, metadata) in added.items():
            source, page = str(metadata.get("source") or name), _page_number(metadata)
            old = before.get(name)
            if page is None and old and old.source == source:
                page = old.page
            number = page or last.get(source, 0) + 1
            last[source] = max(number, last.get(source, 0))
            changed[source, number] = None
            self._passages[name] = Passage(
                id=name, source=source, page=number, start=0, end=len(text), text=text, metadata=metadata
            )
        texts: dict[tuple[str, int], list[str]] = {place: [] for place in changed}
        ends = dict.fromkeys(changed, -len(_BETWEEN))
        for name, passage in self._passages.items():
            at = passage.source, passage.page
            if at in changed:
                start = ends[at] + len(_BETWEEN)
                ends[at] = start + len(passage.text)
                self._passages[name] = passage.model_copy(update={"start": start, "end": ends[at]})
                texts[at].append(passage.text)
        for place, of_page in texts.items():
            if of_page:
                self._pages[place] = Page(source=place[0], page=place[1], text=_BETWEEN.join(of_page))
            else:
                self._pages.pop(place, None)

    # --- search ------------------------------------------------------------------------------------------------------

    def similarity_search(self, query: str, k: int = 4, filter: Filter | None = None, **kwargs: Any) -> list[Document]:
        """The documents nearest to a query, best first.

        Args:
            query: any text.
            k: how many.
            filter: which documents are searched.
            **kwargs: nothing is read of it.
        """
        return [document for document, _ in self.similarity_search_with_score(query, k, filter)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """See :meth:`similarity_search`; the score is the cosine, 1 for the same direction."""
        return [(document, score) for document, score, _ in self._nearest(self._embedder.question(query)[0], k, filter)]

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[Document]:
        """See :meth:`similarity_search`, with the query's vector."""
        vector = np.asarray(embedding, dtype=np.float32)
        return [found[0] for found in self._nearest(vector / max(float(np.linalg.norm(vector)), 1e-12), k, filter)]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Documents that are near to a query and far from each other.

        Args:
            query: any text.
            k: how many.
            fetch_k: among so many of the nearest.
            lambda_mult: 1: near to the query alone; 0: far from each other alone.
            filter: which documents are searched.
            **kwargs: nothing is read of it.
        """
        vector = self._embedder.question(query)[0]
        found = self._nearest(vector, fetch_k, filter)
        chosen = maximal_marginal_relevance(vector, [row.tolist() for _, _, row in found], lambda_mult, k)
        return [found[n][0] for n in chosen]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda cosine: min(max(cosine, 0.0), 1.0)

    def _nearest(self, vector: Vectors, k: int, chosen: Filter | None) -> list[tuple[Document, float, Vectors]]:
        """The documents nearest to a unit vector, shape (dimension,), with their cosines and vectors."""
        with self._lock:
            if not self._passages:
                return []
            if self._matrix is None:
                self._matrix = np.stack([self._vectors[name] for name in self._passages])
            matrix, passages = self._matrix, list(self._passages.values())
        cosine = matrix @ vector
        found: list[tuple[Document, float, Vectors]] = []
        for row in np.argsort(-cosine, kind="stable"):
            if len(found) >= k:
                break
            document = _document(passages[row])
            if chosen is None or _matches(document, chosen):
                found.append((document, float(cosine[row]), matrix[row]))
        return found


def _document(passage: Passage) -> Document:
    metadata = metadata_of(passage) if passage.metadata is None else dict(passage.metadata)
    return Document(id=passage.id, page_content=passage.text, metadata=metadata)


def _matches(document: Document, chosen: Filter) -> bool:
    if isinstance(chosen, Mapping):
        return all(document.metadata.get(key) == value for key, value in chosen.items())
    return chosen(document)


def _page_number(metadata: Mapping[str, Any]) -> int | None:
    """The number of the page of a document, from 1; None where it has none."""
    label, page = str(metadata.get("page_label", "")), metadata.get("page")
    if label.isascii() and label.isdecimal() and int(label) > 0:
        return int(label)
    if type(page) is not int:
        return None
    number = page + ("page_label" in metadata)
    return number if number > 0 else None
