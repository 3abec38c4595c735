"""What a question reads of an index in PostgreSQL: rows of pages, of its own terms, and of vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from egosrag.rag.index import vectors as dense
from egosrag.rag.index.bm25 import Bm25, rarity
from egosrag.text.words import ANALYZERS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from egosrag.rag.index.vectors import Vectors

    Postings = tuple[NDArray[np.int32], NDArray[np.float32]]

T = TypeVar("T")
_BATCH = 1000
_REMEMBERED = 4096  # pages, passages and terms that are not read again
_SAMPLE = 1000  # vectors that tell where the median of more than dense.EXACT lies


class Rows(Sequence[T], Generic[T]):
    """Rows of a table that are read when they are asked for.

    Args:
        count: of rows.
        read: gives those from a first one to before a last one.
    """

    def __init__(self, count: int, read: Callable[[int, int], list[T]]) -> None:
        self._count, self._read = count, read
        self._one = lru_cache(_REMEMBERED)(lambda row: read(row, row + 1)[0])

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
    """BM25 over the rows of terms: the scores of the folder, read term by term.

    Args:
        analyzer: of the texts.
        count: of documents.
        read: gives the documents of each term that any has, and what it gives each of them.
    """

    def __init__(self, analyzer: str, count: int, read: Callable[[list[str]], dict[str, Postings]]) -> None:
        super().__init__(analyzer, None)
        self._count = count
        self._read = read
        self._known: dict[str, Postings | None] = {}

    @property
    def count(self) -> int:
        """See :class:`Bm25`."""
        return self._count

    def _postings(self, terms: Sequence[str]) -> list[Postings | None]:
        known = self._known  # another thread may begin a new one
        new = [term for term in dict.fromkeys(terms) if term not in known]
        if new:
            found = self._read(new)
            if len(known) > _REMEMBERED:
                known = self._known = {term: known[term] for term in terms if term in known}
            known.update((term, found.get(term)) for term in new)
        return [known[term] for term in terms]

    def knows(self, term: str) -> bool:
        """See :class:`Bm25`."""
        return self._postings([term])[0] is not None

    def rarity(self, term: str, least: int = 0) -> float:
        """See :class:`Bm25`."""
        found = self._postings([term])[0]
        return rarity(max(self._count, least), len(found[0]) if found else 0)

    def scores(self, question: str) -> NDArray[np.float32]:
        """See :class:`Bm25`."""
        import numpy as np

        scores = np.zeros(self._count, dtype=np.float32)
        for found in self._postings(ANALYZERS[self.analyzer](question)):
            if found:
                scores[found[0]] += found[1]
        return scores


class VectorRows:
    """Dense search by pgvector: by every vector, or by its graph where there are more than ``dense.EXACT``.

    Args:
        ask: runs a query on the rows of one generation, with its values and a command for it alone.
        generation: whose rows they are.
        count: of passages.
        width: of a vector.
    """

    def __init__(self, ask: Callable[..., list[Any]], generation: int, count: int, width: int) -> None:
        self._ask, self._generation, self._count, self._width = ask, generation, count, width

    @property
    def vectors(self) -> Vectors:
        """All vectors, shape (passages, dimension)."""
        query = "SELECT v::real[] FROM egosrag_vector WHERE generation = %s ORDER BY row"
        return _floats([row[0] for row in self._ask(query, self._generation)])

    def nearness(self, question: Vectors, lexical: Vectors) -> Vectors:
        """As :meth:`egosrag.rag.index.vectors.DenseIndex.nearness`."""
        import numpy as np

        asked = "[" + ",".join(map(str, question[0].tolist())) + "]"
        if self._count <= dense.EXACT:
            query = "SELECT -(v <#> %s::vector) FROM egosrag_vector WHERE generation = %s ORDER BY row"
            cosine = _floats([row[0] for row in self._ask(query, asked, self._generation)])
            return dense.relative(cosine, float(np.median(cosine)))
        sample = range(0, self._count, max(1, self._count // _SAMPLE))
        best = np.argpartition(lexical, -dense.NEAR)[-dense.NEAR :].tolist()
        query = "SELECT row, -(v <#> %s::vector) FROM egosrag_vector WHERE generation = %s AND row = ANY(%s)"
        cosines = dict(self._ask(query, asked, self._generation, [*best, *sample]))
        low = float(np.median([cosines[row] for row in sample]))
        found = {row: cosines[row] for row in best} | dict(self._nearest(asked))
        near = np.zeros(self._count, dtype=np.float32)
        near[list(found)] = dense.relative(_floats(list(found.values())), low)
        return near

    def _nearest(self, asked: str) -> list[tuple[int, float]]:
        vector = f"vector({self._width})"  # as the graph's own words, or it would not be used
        query = f"""SELECT row, -((v::{vector}) <#> %s::{vector}) FROM egosrag_vector
            WHERE generation = {self._generation} ORDER BY (v::{vector}) <#> %s::{vector} LIMIT {dense.NEAR}"""
        return self._ask(query, asked, asked, before=f"SET LOCAL hnsw.ef_search = {dense.NEAR}")


def _floats(values: list[Any]) -> Vectors:
    import numpy as np

    return np.asarray(values, dtype=np.float32)
