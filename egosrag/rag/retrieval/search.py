"""Search: the top-k passages for a query, by BM25 over several fields and by dense vectors where an index has them.

The scores of each field are divided by its best score and added with ``FIELD_WEIGHTS``. docs/notes/retrieval.md has
what each field, weight and feature gains on six sets of questions.
Synonyms bridge the user's words and the manual's (:mod:`egosrag.rag.retrieval.thesaurus`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from egosrag.rag.index.bm25 import Bm25
from egosrag.rag.index.fields import searched_text
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.page_references import asks_for_page, named_pages, without_page_request
from egosrag.rag.retrieval.reranking import Reranks
from egosrag.rag.retrieval.thesaurus import Synonyms, synonyms
from egosrag.schema import Passage
from egosrag.text.language import language_of
from egosrag.text.words import without_question_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Scores = NDArray[np.float32]

FIELD_WEIGHTS = {
    "windows-pairs": 1.0,
    "pages-words": 1.0,
    "pages-pairs": 1.0,
    "titles-pairs": 0.3,
    "sentences-words": 1.0,
    "dense": 3.0,
}
# For a question on which page, or in which chapter, something is.
PLACE_WEIGHTS = FIELD_WEIGHTS | {"titles-pairs": 1.0}
# Weight of synonyms of a term that the manual contains, and of one that it does not contain.
SYNONYM_WEIGHT_OF_CONTAINED = 0.1
SYNONYM_WEIGHT_OF_MISSING = 1.0
# Weight of the words that form a question and name nothing: "how often should I".
QUESTION_WORD_WEIGHT = 0.3
_SORTED_AT_ONCE = 1000  # rows: of many more passages these are sorted, and the rest only if they are needed


class ScoredPassage(NamedTuple):
    """A passage and its relevance to the query, 0 to 1 (1: the best in every field)."""

    passage: Passage
    score: float


class Retriever:
    """Search over one index.

    Args:
        index: the index to search.
        reranker: reorders the first passages.
        per_page: maximum number of passages of one page, so that no page takes all places; None for documents
            without pages, such as novels.
    """

    def __init__(self, index: ManualIndex, reranker: Reranks | None = None, *, per_page: int | None = 2) -> None:
        self.index = index
        self.reranker = reranker
        self.per_page = per_page

    def search(self, query: str, top_k: int = 5) -> list[ScoredPassage]:
        """The most relevant passages, best first; those of a page that the query names come before all others.

        Args:
            query: any text; empty or unknown words give an empty list.
            top_k: maximum number of passages.

        Raises:
            StoreError, ModelError: the embedder of the index cannot be loaded.
        """
        if self.reranker is None:
            return self._search(query, top_k)
        reads = self.reranker.reads
        hits = self._search(query, max(top_k, reads))
        named = named_pages(query)
        scores = self.reranker.scores(query, [searched_text(hit.passage) for hit in hits[:reads]])
        reranked = [ScoredPassage(hit.passage, score) for hit, score in zip(hits, scores, strict=False)]
        reranked.sort(key=lambda hit: (hit.passage.page not in named, -hit.score))
        lowest = min((hit.score for hit in reranked), default=0.0)
        rest = [ScoredPassage(hit.passage, min(hit.score, lowest)) for hit in hits[reads:]]
        return [*reranked, *rest][:top_k]

    def _search(self, query: str, top_k: int) -> list[ScoredPassage]:
        import numpy as np

        weights = PLACE_WEIGHTS if asks_for_page(query) else FIELD_WEIGHTS
        scores = self._scores(without_page_request(query) or query, weights)
        named = named_pages(query)
        if named:
            on_named = np.array([number in named for _, number in self.index.places])[self._page_of]
            scores = np.where(on_named, 1.0 + scores, scores)
        hits, per_page, source_of = list[ScoredPassage](), dict[int, int](), dict[str, str]()
        for row in best_first(scores):
            page = self.index.page_of[row]
            if scores[row] <= 0 or len(hits) >= top_k:
                break
            if self.per_page is None or per_page.get(page, 0) < self.per_page or self.index.places[page][1] in named:
                passage = self.index.passages[row]
                # A verbatim duplicate from another document would only take a place.
                if not passage.text or source_of.setdefault(passage.text, passage.source) == passage.source:
                    per_page[page] = per_page.get(page, 0) + 1
                    hits.append(ScoredPassage(passage, min(float(scores[row]), 1.0)))
        return hits

    @cached_property
    def _page_of(self) -> NDArray[np.intp]:
        """The row of each passage's page, shape (passages,)."""
        import numpy as np

        return np.asarray(self.index.page_of, dtype=np.intp)

    @cached_property
    def _first_sentence(self) -> NDArray[np.intp]:
        import numpy as np

        return np.asarray(self.index.first_sentence, dtype=np.intp)

    def _scores(self, query: str, weights: Mapping[str, float]) -> Scores:
        """The score of each passage, 0 to 1, shape (passages,): the weighted mean of all fields, each over its best."""
        import numpy as np

        found = synonyms(query, language_of(query), self.index.lexical["pages-pairs"].contains_all)
        content = without_question_words(query)
        content = content if content.strip() else query
        total = np.zeros(len(self._page_of), dtype=np.float32)
        weight = 0.0
        for field, bm25 in self.index.lexical.items():
            scores = QUESTION_WORD_WEIGHT * bm25.scores(query) + (1 - QUESTION_WORD_WEIGHT) * bm25.scores(content)
            scores = _with_synonyms(scores, bm25, found)
            if field.startswith("sentences"):
                scores = np.maximum.reduceat(scores, self._first_sentence)
            weight += weights[field]
            if scores.max(initial=0.0) > 0:
                part = scores / scores.max()
                total += weights[field] * (part if field.startswith("windows") else part[self._page_of])
        embedder = self.index.embedder
        if self.index.dense is not None and embedder is not None:
            total += weights["dense"] * self.index.dense.nearness(embedder.question(query), total)
            weight += weights["dense"]
        return total / weight


def best_first(scores: NDArray[np.floating[Any]], at_once: int = _SORTED_AT_ONCE) -> Iterator[int]:
    """The rows in descending order of their scores, as by a stable sort.

    Args:
        scores: shape (rows,).
        at_once: rows that are sorted first; the others are sorted when the iteration gets there.
    """
    import numpy as np

    head = np.arange(len(scores))
    if len(scores) > 4 * at_once:
        least = max(np.partition(scores, -at_once)[-at_once], np.finfo(np.float32).tiny)
        head = np.flatnonzero(scores >= least)
    yield from head[np.argsort(-scores[head], kind="stable")]
    if len(head) < len(scores):
        rest = np.flatnonzero(scores < least)
        yield from rest[np.argsort(-scores[rest], kind="stable")]


def _with_synonyms(scores: Scores, bm25: Bm25, found: Sequence[Synonyms]) -> Scores:
    """BM25 scores in which synonyms of the query's terms count too, at a discount."""
    import numpy as np

    for term, others in found:
        weight = SYNONYM_WEIGHT_OF_CONTAINED if bm25.contains_all(term) else SYNONYM_WEIGHT_OF_MISSING
        own = bm25.scores(term)
        scores = scores + weight * np.maximum(np.max([bm25.scores(other) for other in others], axis=0) - own, 0)
    return scores
