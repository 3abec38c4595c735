"""Lexical overlap: the share of a question's content that a text contains, on which the confidence is based."""

from __future__ import annotations

from typing import Protocol

from egosrag.rag.index.bm25 import Bm25
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.page_references import without_page_request
from egosrag.rag.retrieval.thesaurus import synonyms
from egosrag.text.language import language_of
from egosrag.text.words import ANALYZERS, is_content_word, without_question_words, words


class Overlap(Protocol):
    """Measures texts against a question, or against several queries for it."""

    def of(self, text: str) -> float:
        """The share of the question's content that ``text`` contains, 0 to 1."""


class LexicalOverlap:
    """The overlap with one question, in which rare terms count more (inverse document frequency over the pages).

    A synonym in the text counts as ``SYNONYM_WEIGHT`` of the term. Words that name nothing (Chinese verbs and adverbs)
    count as ``FUNCTION_WEIGHT``: users word those in their own way, while a manual that does not contain the thing
    itself has no answer. Sample manuals, unanswerable questions against paraphrases, area under the curve: 0.60 without
    both, 0.80 with them; against direct questions and follow-ups 0.99 and 0.97 either way.
    """

    SYNONYM_WEIGHT = 0.8
    FUNCTION_WEIGHT = 0.25
    MIN_PAGES = 20  # for the document frequencies: in a leaflet of five pages a word on three of them may still be rare

    def __init__(self, index: ManualIndex, question: str) -> None:
        content = without_question_words(without_page_request(question))
        found = synonyms(question, language_of(question), index.lexical["pages-pairs"].contains_all)
        names = [word for word in words(content) if is_content_word(word)]
        self._parts: list[tuple[str, dict[str, float], list[tuple[set[str], list[set[str]]]]]] = []
        for analyzer, analyze in ANALYZERS.items():
            bm25: Bm25 = index.lexical[f"pages-{analyzer}"]
            weights = {
                term: 1.0 if any(term in name for name in names) else self.FUNCTION_WEIGHT
                for term in set(analyze(content))
            }
            terms = {term: weight * bm25.idf(term, self.MIN_PAGES) for term, weight in weights.items()}
            others = [(set(analyze(s.term)), [set(analyze(other)) for other in s.others]) for s in found]
            self._parts.append((analyzer, terms, others))

    def of(self, text: str) -> float:
        """The weighted share of the question's terms in ``text``, 0 to 1: the mean over words and character pairs."""
        shares = []
        for analyzer, terms, others in self._parts:
            present = set(ANALYZERS[analyzer](text))
            similar = {t for own, many in others if any(other <= present for other in many) for t in own} - present
            matched = sum(w * (1.0 if t in present else self.SYNONYM_WEIGHT * (t in similar)) for t, w in terms.items())
            total = sum(terms.values())
            shares.append(matched / total if total else 0.0)
        return sum(shares) / len(shares)


class MaxOverlap:
    """The overlap with the query that a text matches best."""

    def __init__(self, *overlaps: Overlap) -> None:
        self._overlaps = overlaps

    def of(self, text: str) -> float:
        """The largest share, 0 to 1; 0 without any query."""
        return max((overlap.of(text) for overlap in self._overlaps), default=0.0)


class MeanOverlap:
    """The mean overlap with several queries, so that the words of a follow-up count besides its standalone form."""

    def __init__(self, *overlaps: Overlap) -> None:
        self._overlaps = overlaps

    def of(self, text: str) -> float:
        """The mean share, 0 to 1."""
        return sum(overlap.of(text) for overlap in self._overlaps) / len(self._overlaps)
