"""BM25 over the words, or the character pairs, of documents."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egosrag.rag.index.safe_files import read_array, read_object
from egosrag.text.words import ANALYZERS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PROGRESS_STEP = 500  # documents
_K1, _B = 1.2, 0.75
# The files of an index: those of bm25s.
_ARRAYS = {"data.csc.index.npy": "data", "indices.csc.index.npy": "indices", "indptr.csc.index.npy": "indptr"}
_PARAMETERS, _VOCABULARY = "params.index.json", "vocab.index.json"
_SAVED_AT_ONCE = 50_000  # terms
_EMPTY = "\x00"  # the term of an empty document: bm25s needs one, and no query contains it


def idf(count: int, containing: int) -> float:
    """The inverse document frequency of a term that ``containing`` of ``count`` documents contain."""
    return math.log1p((count - containing + 0.5) / (containing + 0.5))


class Bm25:
    """BM25 (Lucene's variant and defaults, k1 1.2, b 0.75) over documents analyzed into "words" or "pairs"."""

    def __init__(self, analyzer: str, engine: Any) -> None:
        self.analyzer = analyzer
        self._engine = engine

    @classmethod
    def build(cls, analyzer: str, documents: Iterable[str], progress: Callable[[int], None] | None = None) -> Bm25:
        """An index over the documents, in their order.

        Args:
            analyzer: of ``ANALYZERS``.
            documents: read once, one after the other.
            progress: called now and then with a number of documents; half of the work is to analyze them.
        """
        analyze = ANALYZERS[analyzer]
        vocabulary: dict[str, int] = {}
        # The terms of all documents, and where each document ends: two blocks, which are given back as a whole.
        ids, ends = array("i"), array("q")
        for text in documents:
            ids.extend([vocabulary.setdefault(term, len(vocabulary)) for term in analyze(text) or [_EMPTY]])
            ends.append(len(ids))
            if progress and len(ends) % _PROGRESS_STEP == 0:
                progress(len(ends) // 2)
        return cls(analyzer, _engine(*_weights(ids, ends, len(vocabulary), progress), len(ends), vocabulary))

    @property
    def count(self) -> int:
        """Number of documents."""
        return int(self._engine.scores["num_docs"])

    def contains(self, term: str) -> bool:
        """Whether any document contains the term."""
        return term in self._engine.vocab_dict

    def contains_all(self, text: str) -> bool:
        """Whether ``text`` has terms, and the documents contain each of them."""
        terms = ANALYZERS[self.analyzer](text)
        return bool(terms) and all(map(self.contains, terms))

    def idf(self, term: str, min_count: int = 0) -> float:
        """The inverse document frequency of a term, ln(1 + (N - n + 0.5) / (n + 0.5)), N at least ``min_count``."""
        row = self._engine.vocab_dict.get(term)
        pointers = self._engine.scores["indptr"]
        n = 0 if row is None or row + 1 >= len(pointers) else int(pointers[row + 1] - pointers[row])
        return idf(max(self.count, min_count), n)

    def terms(self) -> Iterator[tuple[str, NDArray[np.int32], NDArray[np.float32]]]:
        """Each term with the rows of the documents that contain it, and its BM25 weight in each of them."""
        scores = self._engine.scores
        for term, row in self._engine.vocab_dict.items():
            start, end = scores["indptr"][row : row + 2] if row + 1 < len(scores["indptr"]) else (0, 0)
            if term != _EMPTY and end > start:
                yield term, scores["indices"][start:end], scores["data"][start:end]

    def scores(self, query: str) -> NDArray[np.float32]:
        """The score of each document, shape (documents,); zeros if no document contains a term of the query."""
        import numpy as np

        terms: Sequence[str] = [t for t in ANALYZERS[self.analyzer](query) if t in self._engine.vocab_dict]
        if not terms:
            return np.zeros(self.count, dtype=np.float32)
        scores: NDArray[np.float32] = self._engine.get_scores(list(terms))
        return scores

    def save(self, folder: Path) -> None:
        """Write the index as npy arrays and JSON, without pickle."""
        import numpy as np

        folder.mkdir(parents=True, exist_ok=True)
        scores, vocabulary = self._engine.scores, self._engine.vocab_dict
        for file, part in _ARRAYS.items():
            np.save(folder / file, scores[part], allow_pickle=False)
        (folder / _PARAMETERS).write_text(json.dumps({"num_docs": self.count}), encoding="utf-8")
        terms = iter(vocabulary.items())
        with (folder / _VOCABULARY).open("w", encoding="utf-8") as out:
            mark = "{"
            while batch := dict(islice(terms, _SAVED_AT_ONCE)):  # the text of all would take as much as the index
                out.write(mark + json.dumps(batch, ensure_ascii=False)[1:-1])
                mark = ", "
            out.write("}" if vocabulary else "{}")

    @classmethod
    def load(cls, analyzer: str, folder: Path) -> Bm25:
        """Read an index that :meth:`save` wrote.

        Raises:
            ValueError, KeyError: it is damaged.
            OSError: it cannot be read.
        """
        import numpy as np

        # bm25s.BM25.load would believe what the files state, the backend that it is to import included.
        count = read_object(folder / _PARAMETERS)["num_docs"]
        vocabulary = read_object(folder / _VOCABULARY)
        weights = read_array(folder / "data.csc.index.npy", "float32", 1)
        rows = read_array(folder / "indices.csc.index.npy", "int32", 1)
        pointers = read_array(folder / "indptr.csc.index.npy", "int64", 1)
        terms = len(pointers) - 1
        if (
            type(count) is not int
            or not 0 <= count < 2**31
            or terms < 0
            or not len(rows) == len(weights) == pointers[-1]
        ):
            raise ValueError("the parts of an index of words differ")
        if pointers[0] != 0 or np.any(np.diff(pointers) < 0) or not np.all(np.isfinite(weights)):
            raise ValueError("an index of words has wrong counts or weights")
        if len(rows) and not (rows.min() >= 0 and rows.max() < count):
            raise ValueError("an index of words names documents that it does not have")
        if not all(type(row) is int and 0 <= row <= terms for row in vocabulary.values()):
            raise ValueError("an index of words has terms without a row")
        return cls(analyzer, _engine(weights, rows, pointers, count, vocabulary))


def _engine(
    weights: NDArray[np.float32],
    rows: NDArray[np.int32],
    pointers: NDArray[np.int64],
    count: int,
    vocabulary: dict[str, int],
) -> Any:
    """The engine over weights by term: those of term t are ``weights[pointers[t]:pointers[t + 1]]``, as their rows."""
    import bm25s

    engine = bm25s.BM25(k1=_K1, b=_B)
    engine.scores = {"data": weights, "indices": rows, "indptr": pointers, "num_docs": count}
    engine.vocab_dict, engine.unique_token_ids_set = vocabulary, set(vocabulary.values())
    engine.nonoccurrence_array = None
    return engine


def _weights(
    ids: array[int], ends: array[int], terms: int, progress: Callable[[int], None] | None
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64]]:
    """The weights of terms by their ids in documents, with the documents and the pointers of each term.

    The same as ``bm25s.BM25.index`` computes, which needs four times the memory: it sorts the weights by term, and
    here each is written where it belongs.

    Args:
        ids: the terms of all documents, one after the other.
        ends: where each document ends in ``ids``.
        terms: number of different terms.
        progress: see :meth:`Bm25.build`.
    """
    import numpy as np

    whole, bounds = np.frombuffer(ids, dtype=np.int32), [0, *ends]
    pointers = np.zeros(terms + 1, dtype=np.int64)
    for start, end in pairwise(bounds):
        pointers[np.unique(whole[start:end]) + 1] += 1
    frequency = pointers[1:].copy()
    np.cumsum(pointers, out=pointers)
    inverse = np.log(1 + (len(ends) - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
    average = np.float64(len(ids) / max(1, len(ends)))  # float64, so that the weights are rounded once
    weights, rows = np.empty(pointers[-1], dtype=np.float32), np.empty(pointers[-1], dtype=np.int32)
    free = pointers[:-1].copy()  # the next place of each term
    for n, (start, end) in enumerate(pairwise(bounds)):
        if progress and n % _PROGRESS_STEP == 0:
            progress((len(ends) + n) // 2)
        found, counts = np.unique(whole[start:end], return_counts=True)
        places = free[found]
        share = counts.astype(np.float32)
        weights[places] = inverse[found] * (share / (_K1 * ((1 - _B) + _B * (end - start) / average) + share))
        rows[places] = n
        free[found] += 1
    return weights, rows, pointers
