"""From a question to passages: BM25 over windows, pages and titles, and dense vectors where there are any.

Each search's scores are divided by its best one and added; the weights are below. On the car manual's silver
questions this sum puts the right page first three times in four, reciprocal rank fusion (k 60) two points less often.
Vectors count twice: with e5 the right page of a paraphrase comes first for 0.64 of the questions to the Chinese sample
manual and 0.63 to the English one (counted once 0.54 and 0.55; words alone 0.52 and 0.48), and direct questions lose
nothing (car manual, silver: 0.75 by words alone and both ways).
A question in the owner's words is searched in the manual's too (:mod:`egosrag.rag.retrieval.thesaurus`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from egosrag.rag.index.bm25 import Bm25
from egosrag.rag.index.fields import searched_text
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.reranking import DEPTH, Reranker
from egosrag.rag.retrieval.thesaurus import Meaning, meanings
from egosrag.schema import Passage
from egosrag.text.language import language_of
from egosrag.text.words import ANALYZERS, is_content_word, without_question_words, words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Scores = NDArray[np.float32]

WEIGHTS = {
    "windows-words": 1.0,
    "windows-pairs": 1.0,
    "pages-words": 1.0,
    "pages-pairs": 1.0,
    "titles-pairs": 0.3,
    "sentences-words": 1.0,
    "dense": 2.0,
}
CONTINUES = 0.15  # what the score of the page before counts for a passage that is not the first
# What another term of the same meaning counts where the question's own stands in the manual, and where it does not.
OF_KNOWN = 0.1
OF_UNKNOWN = 1.0
_HEAD = 1000  # of more passages than a few times this, so many are sorted, and the rest only where they are asked for
_PAGE_NAMED = re.compile(r"第\s*(\d{1,4})\s*页|\b(?:pages?|p\.)\s*(\d{1,4})\b", re.IGNORECASE)
_PAGE_ASKED = re.compile(
    r"[，,]?(?:的?相关(?:内容|信息))?(?:这[一]?[个项](?:操作|内容))?在?(?:手册的?)?(?:第几页|哪一?页|几页)(?:可以找到相关内容)?"
    r"|\b(?:on\s+)?(?:which|what)\s+page\b",
    re.IGNORECASE,
)


class ScoredPassage(NamedTuple):
    """A passage and how well it fits the question, from 0 to 1 (1: the best in every search)."""

    passage: Passage
    score: float


def pages_named(question: str) -> set[int]:
    """The page numbers that a question names, as in “第307页讲什么”."""
    return {int(a or b) for a, b in _PAGE_NAMED.findall(question)}


def asks_for_page(question: str) -> bool:
    """Whether the answer to the question is a page number, as in “在第几页”."""
    return bool(_PAGE_ASKED.search(question))


class Retriever:
    """Searches one index; ``search`` is all of it.

    Args:
        index: what is searched.
        reranker: reads the first passages again.
        per_page: most passages that a page gives, so that one page cannot fill them all; None where the documents
            have no pages, as novels.
    """

    def __init__(self, index: ManualIndex, reranker: Reranker | None = None, *, per_page: int | None = 2) -> None:
        self.index = index
        self.reranker = reranker
        self.per_page = per_page

    def search(self, question: str, top_k: int = 5) -> list[ScoredPassage]:
        """The passages that fit best, best first; a page that the question names comes before all others.

        Args:
            question: any text; empty or unknown words give an empty list.
            top_k: most passages to give.

        Raises:
            StoreError, ModelError: the embedder of the index cannot be had.
        """
        if self.reranker is None:
            return self._search(question, top_k)
        first = self._search(question, max(top_k, DEPTH))
        named = pages_named(question)
        scores = self.reranker.scores(question, [searched_text(hit.passage) for hit in first[:DEPTH]])
        read = [ScoredPassage(hit.passage, score) for hit, score in zip(first, scores, strict=False)]
        read.sort(key=lambda hit: (hit.passage.page not in named, -hit.score))
        lowest = min((hit.score for hit in read), default=0.0)
        rest = [ScoredPassage(hit.passage, min(hit.score, lowest)) for hit in first[DEPTH:]]
        return [*read, *rest][:top_k]

    def _search(self, question: str, top_k: int) -> list[ScoredPassage]:
        import numpy as np

        scores = self._scores(_PAGE_ASKED.sub(" ", question) or question)
        named = pages_named(question)
        if named:
            at = np.array([number in named for _, number in self.index.places])[self._owner]
            scores = np.where(at, 1.0 + scores, scores)
        found, taken, told = list[ScoredPassage](), dict[int, int](), dict[str, str]()
        for i in self._order(scores):
            page = self.index.page_of[i]
            if scores[i] <= 0 or len(found) >= top_k:
                break
            if self.per_page is None or taken.get(page, 0) < self.per_page or self.index.places[page][1] in named:
                passage = self.index.passages[i]
                # What another document has word for word would only take a place away.
                if not passage.text or told.setdefault(passage.text, passage.source) == passage.source:
                    taken[page] = taken.get(page, 0) + 1
                    found.append(ScoredPassage(passage, min(float(scores[i]), 1.0)))
        return found

    @cached_property
    def _owner(self) -> NDArray[np.intp]:
        """For each passage the position of its page."""
        import numpy as np

        return np.asarray(self.index.page_of, dtype=np.intp)

    @cached_property
    def _by_page(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The passages' rows, those of a page together, and where each page's begin."""
        import numpy as np

        rows = np.argsort(self._owner, kind="stable")
        return rows, np.flatnonzero(np.diff(self._owner[rows], prepend=-1))

    @cached_property
    def _goes_on(self) -> NDArray[np.bool_]:
        """For each page whether the one before is of the same source."""
        import numpy as np

        sources = [source for source, _ in self.index.places]
        return np.array([False, *(a == b for a, b in zip(sources, sources[1:], strict=False))])

    @cached_property
    def _first_sentence(self) -> NDArray[np.intp]:
        import numpy as np

        return np.asarray(self.index.first_sentence, dtype=np.intp)

    def _order(self, scores: Scores) -> Iterator[int]:
        """The passages' rows, best first; after the first place, what continues a good page is lifted a little.

        A section runs over the page's end, and its title stands only where it begins.
        """
        import numpy as np

        best = np.zeros(len(self._goes_on), dtype=scores.dtype)
        rows, starts = self._by_page
        best[self._owner[rows[starts]]] = np.maximum.reduceat(scores[rows], starts)
        before = np.where(self._goes_on, np.roll(best, 1), np.float32(0))
        lifted = np.where(scores > 0, scores + np.float32(CONTINUES) * before[self._owner], np.float32(0))
        lifted[np.argmax(scores)] = np.inf
        return _best_first(lifted)

    def _scores(self, question: str) -> Scores:
        """One score a passage, 0 to 1: the weighted mean of all searches, each relative to its best."""
        import numpy as np

        owner = self._owner
        meant = meanings(question, language_of(question), self.index.lexical["pages-pairs"].has)
        total = np.zeros(len(owner), dtype=np.float32)
        weight = 0.0
        for name, bm25 in self.index.lexical.items():
            scores = _scores_by_meaning(bm25, question, meant)
            if name.startswith("sentences"):
                scores = np.maximum.reduceat(scores, self._first_sentence)
            weight += WEIGHTS[name]
            if scores.max(initial=0.0) > 0:
                part = scores / scores.max()
                total += WEIGHTS[name] * (part if name.startswith("windows") else part[owner])
        embedder = self.index.embedder
        if self.index.dense is not None and embedder is not None:
            total += WEIGHTS["dense"] * self.index.dense.nearness(embedder.question(question), total)
            weight += WEIGHTS["dense"]
        return total / weight


def _best_first(scores: NDArray[np.floating[Any]]) -> Iterator[int]:
    """The rows in the order of a stable sort."""
    import numpy as np

    head = np.arange(len(scores))
    if len(scores) > 4 * _HEAD:
        least = max(np.partition(scores, -_HEAD)[-_HEAD], np.finfo(np.float32).tiny)
        head = np.flatnonzero(scores >= least)
    yield from head[np.argsort(-scores[head], kind="stable")]
    if len(head) < len(scores):
        rest = np.flatnonzero(scores < least)
        yield from rest[np.argsort(-scores[rest], kind="stable")]


def _scores_by_meaning(bm25: Bm25, question: str, meant: Sequence[Meaning]) -> Scores:
    """BM25 in which a term also stands where another of its meaning does, at a discount."""
    import numpy as np

    scores = bm25.scores(question)
    for term, others in meant:
        discount = OF_KNOWN if bm25.has(term) else OF_UNKNOWN
        own = bm25.scores(term)
        scores = scores + discount * np.maximum(np.max([bm25.scores(other) for other in others], axis=0) - own, 0)
    return scores


class Coverage:
    """How much of a question's content some text covers: rare terms count more (their inverse page frequency).

    A term also counts, as ``MEANT`` of itself, where the text has one that means much the same. What names nothing
    (Chinese verbs, adverbs) counts as ``LIGHT`` of itself: owners put those in their own words, and a manual that does
    not know the thing itself has no answer. Sample manuals, hopeless questions against paraphrases, area under the
    curve: 0.60 without both, 0.80 with them; against direct questions and follow-ups it stays at 0.99 and 0.97.
    """

    MEANT = 0.8
    LIGHT = 0.25
    FEW = 20  # pages at least: in a leaflet of five a word that stands on three may still be a rare one

    def __init__(self, index: ManualIndex, question: str) -> None:
        asked = without_question_words(_PAGE_ASKED.sub(" ", question))
        meant = meanings(question, language_of(question), index.lexical["pages-pairs"].has)
        names = [word for word in words(asked) if is_content_word(word)]
        self._parts: list[tuple[str, dict[str, float], list[tuple[set[str], list[set[str]]]]]] = []
        for analyzer, analyse in ANALYZERS.items():
            bm25: Bm25 = index.lexical[f"pages-{analyzer}"]
            weights = {t: 1.0 if any(t in name for name in names) else self.LIGHT for t in set(analyse(asked))}
            terms = {t: weight * bm25.rarity(t, self.FEW) for t, weight in weights.items()}
            others = [(set(analyse(m.term)), [set(analyse(other)) for other in m.others]) for m in meant]
            self._parts.append((analyzer, terms, others))

    def of(self, text: str) -> float:
        """The share of the question's content that stands in ``text``: 0 to 1, the mean over words and pairs."""
        shares = []
        for analyzer, terms, meant in self._parts:
            there = set(ANALYZERS[analyzer](text))
            same = {t for own, others in meant if any(other <= there for other in others) for t in own} - there
            told = sum(w * (1.0 if t in there else self.MEANT * (t in same)) for t, w in terms.items())
            whole = sum(terms.values())
            shares.append(told / whole if whole else 0.0)
        return sum(shares) / len(shares)
