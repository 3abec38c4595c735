"""Parts of an index in PostgreSQL that are read on demand: rows of pages and passages, terms, and vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from egosrag.rag.index import vectors as dense
from egosrag.rag.index.bm25 import Bm25, idf
from egosrag.rag.index.postgres_checks import checked_cosines, damaged_rows
from egosrag.text.words import ANALYZERS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from egosrag.rag.index.vectors import Vectors

    Postings = tuple[NDArray[np.int32], NDArray[np.float32]]

T = TypeVar("T")
_BATCH = 1000  # rows of one query when all are read
_CACHED = 4096  # pages, passages and terms that are kept in memory
_SAMPLE = 1000  # vectors from which the median of more than EXACT_SEARCH is estimated


class Rows(Sequence[T], Generic[T]):
    """Rows of a table, each read when it is used.

    Args:
        count: number of rows.
        read: reads the rows from a start to an end, exclusive.
    """

    def __init__(self, count: int, read: Callable[[int, int], list[T]]) -> None:
        self._count, self._read = count, read
        self._one = lru_cache(_CACHED)(lambda row: read(row, row + 1)[0])

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(self._count))]
        if not -self._count <= row < self._count:
            raise IndexError(row)
        return self._one(int(row) % self._count)

    def __iter__(self) -> Iterator[T]:
        for start in range(0, self._count, _BATCH):
            yield from self._read(start, min(start + _BATCH, self._count))


class TermRows(Bm25):
    """BM25 over the rows of terms, with the scores of an index in memory.

    Args:
        analyzer: the analyzer of the texts.
        count: number of documents.
        read: for each term that any document contains, the rows of those documents and its weights in them.
    """

    def __init__(self, analyzer: str, count: int, read: Callable[[list[str]], dict[str, Postings]]) -> None:
        super().__init__(analyzer, None)
        self._count = count
        self._read = read
        self._cache: dict[str, Postings | None] = {}

    @property
    def count(self) -> int:
        """See :class:`Bm25`."""
        return self._count

    def _postings(self, terms: Sequence[str]) -> list[Postings | None]:
        cache = self._cache  # another thread may replace it
        new = [term for term in dict.fromkeys(terms) if term not in cache]
        if new:
            found = self._read(new)
            if len(cache) > _CACHED:
                cache = self._cache = {term: cache[term] for term in terms if term in cache}
            cache.update((term, found.get(term)) for term in new)
        return [cache[term] for term in terms]

    def contains(self, term: str) -> bool:
        """See :class:`Bm25`."""
        return self._postings([term])[0] is not None

    def idf(self, term: str, min_count: int = 0) -> float:
        """See :class:`Bm25`."""
        postings = self._postings([term])[0]
        return idf(max(self._count, min_count), len(postings[0]) if postings else 0)

    def scores(self, query: str) -> NDArray[np.float32]:
        """See :class:`Bm25`."""
        import numpy as np

        scores = np.zeros(self._count, dtype=np.float32)
        for postings in self._postings(ANALYZERS[self.analyzer](query)):
            if postings:
                documents, weights = postings
                scores[documents] += weights
        return scores


class VectorRows:
    """Dense search by pgvector: exact, or by its HNSW graph for more than ``vectors.EXACT_SEARCH`` passages.

    Args:
        ask: runs a query over the rows of one generation, with its values and a command that applies to it alone.
        generation: the id of the generation.
        count: number of passages.
        width: dimensions of a vector.
        where: the address of the index, for errors.
    """

    def __init__(self, ask: Callable[..., list[Any]], generation: int, count: int, width: int, where: str) -> None:
        self._ask, self._generation, self._count, self._width, self._where = ask, generation, count, width, where

    @property
    def vectors(self) -> Vectors:
        """All vectors, shape (passages, dimension)."""
        import numpy as np

        query = "SELECT v::real[] FROM egosrag_vector WHERE generation = %s ORDER BY row"
        rows = self._ask(query, self._generation)
        with damaged_rows(self._where):
            matrix = np.asarray([row[0] for row in rows], dtype=np.float32)
            if matrix.shape != (self._count, self._width) or not np.isfinite(matrix).all():
                raise ValueError("vectors are missing, of another dimension or no numbers")
        return matrix

    def nearness(self, question: Vectors, lexical: Vectors) -> Vectors:
        """See :meth:`egosrag.rag.index.vectors.DenseIndex.nearness`."""
        import numpy as np

        with damaged_rows(self._where):
            if question.shape[1] != self._width:
                raise ValueError("vectors are of another dimension than the question's")
        vector = "[" + ",".join(map(str, question[0].tolist())) + "]"
        if self._count <= dense.EXACT_SEARCH:
            query = "SELECT -(v <#> %s::vector) FROM egosrag_vector WHERE generation = %s ORDER BY row"
            rows = self._ask(query, vector, self._generation)
            with damaged_rows(self._where):
                cosine = checked_cosines([row[0] for row in rows], self._count)
            return dense.relative(cosine, float(np.median(cosine)))
        sample = range(0, self._count, max(1, self._count // _SAMPLE))
        best = np.argpartition(lexical, -dense.CANDIDATES)[-dense.CANDIDATES :].tolist()
        query = "SELECT row, -(v <#> %s::vector) FROM egosrag_vector WHERE generation = %s AND row = ANY(%s)"
        cosines, nearest = dict(self._ask(query, vector, self._generation, [*best, *sample])), self._nearest(vector)
        near = np.zeros(self._count, dtype=np.float32)
        with damaged_rows(self._where):
            median = float(np.median(checked_cosines([cosines[row] for row in sample], len(sample))))
            candidates = {row: cosines[row] for row in best} | dict(nearest)
            values = checked_cosines(list(candidates.values()), len(candidates))
            if not 0 <= min(candidates) <= max(candidates) < self._count:
                raise ValueError("vectors are of no passage")
            near[list(candidates)] = dense.relative(values, median)
        return near

    def _nearest(self, vector: str) -> list[tuple[int, float]]:
        cast = f"vector({self._width})"  # exactly as in the definition of the graph, or it would not be used
        query = f"""SELECT row, -((v::{cast}) <#> %s::{cast}) FROM egosrag_vector
            WHERE generation = {self._generation} ORDER BY (v::{cast}) <#> %s::{cast} LIMIT {dense.CANDIDATES}"""
        return self._ask(query, vector, vector, before=f"SET LOCAL hnsw.ef_search = {dense.CANDIDATES}")
