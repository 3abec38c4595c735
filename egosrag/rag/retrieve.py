"""From a question to passages: BM25 over windows, pages and titles, and dense vectors where there are any.

Each search's scores are divided by its best one and added; the weights are below. On the car manual's 301
silver questions this sum gives hit@1 0.72, reciprocal rank fusion (k 60) of the same searches 0.70.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from egosrag.rag.index import ManualIndex
from egosrag.rag.lexical import ANALYZERS, Bm25, content, pairs, words
from egosrag.schema import Passage

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
    "dense": 1.0,
}
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
    """Searches one index; ``search`` is all of it."""

    def __init__(self, index: ManualIndex) -> None:
        self.index = index

    def search(self, question: str, top_k: int = 5) -> list[ScoredPassage]:
        """The passages that fit best, best first; a page that the question names comes before all others.

        Args:
            question: any text; empty or unknown words give an empty list.
            top_k: most passages to give. A page gives at most two, so that one page cannot fill them all.

        Raises:
            StoreError, ModelError: the embedder of the index cannot be had.
        """
        import numpy as np

        scores = self._scores(_PAGE_ASKED.sub(" ", question) or question)
        named = pages_named(question)
        if named:
            at = np.array([passage.page in named for passage in self.index.passages])
            scores = np.where(at, 1.0 + scores, scores)
        found, taken = list[ScoredPassage](), dict[int, int]()
        for i in np.argsort(-scores, kind="stable"):
            page = self.index.page_of[i]
            if scores[i] <= 0 or len(found) >= top_k:
                break
            if taken.get(page, 0) < 2 or self.index.pages[page].page in named:
                taken[page] = taken.get(page, 0) + 1
                found.append(ScoredPassage(self.index.passages[i], min(float(scores[i]), 1.0)))
        return found

    def _scores(self, question: str) -> Scores:
        """One score a passage, 0 to 1: the weighted mean of all searches, each relative to its best."""
        import numpy as np

        owner = np.asarray(self.index.page_of)
        total = np.zeros(len(owner), dtype=np.float32)
        weight = 0.0
        for name, bm25 in self.index.lexical.items():
            scores = bm25.scores(question)
            weight += WEIGHTS[name]
            if scores.max(initial=0.0) > 0:
                part = scores / scores.max()
                total += WEIGHTS[name] * (part if name.startswith("windows") else part[owner])
        embedder = self.index.embedder
        if self.index.dense is not None and embedder is not None:
            cosine = self.index.dense.scores(embedder.question(question))
            low, high = float(np.median(cosine)), float(cosine.max())
            total += WEIGHTS["dense"] * np.clip((cosine - low) / max(high - low, 1e-6), 0, 1)
            weight += WEIGHTS["dense"]
        return total / weight


class Coverage:
    """How much of a question's content some text covers: rare terms count more (their inverse page frequency)."""

    def __init__(self, index: ManualIndex, question: str) -> None:
        self._parts: list[tuple[str, dict[str, float]]] = []
        asked = content(_PAGE_ASKED.sub(" ", question))
        for analyzer in ("words", "pairs"):
            bm25: Bm25 = index.lexical[f"pages-{analyzer}"]
            self._parts.append((analyzer, {t: bm25.rarity(t) for t in set(ANALYZERS[analyzer](asked))}))

    def of(self, text: str) -> float:
        """The share of the question's content that stands in ``text``: 0 to 1, the mean over words and pairs."""
        shares = []
        for analyzer, terms in self._parts:
            whole = sum(terms.values())
            there = set(words(text) if analyzer == "words" else pairs(text))
            shares.append(sum(w for t, w in terms.items() if t in there) / whole if whole else 0.0)
        return sum(shares) / len(shares)
