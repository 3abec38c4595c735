"""Citation verification: which sentences of an answer are supported by which quotes of the manual.

A sentence is supported by a quote of one or two neighbouring sentences of a page if the quote contains most of its
content, contains all of its numbers with their units, and is negated where, and only where, the sentence is. Words that
the sentence takes from the question and that no passage contains say nothing about the manual; a leading yes or no is
left to the model. Passage numbers that the model wrote ("[2]") only break ties: small models
confuse them, so none is believed without a quote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from egosrag.rag.answer.answer_types import verdict_of
from egosrag.rag.documents.splitting import section_at
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.lexical_overlap import Overlap
from egosrag.schema import Citation, Passage
from egosrag.text.numbers import LIST_MARKER, quantities_supported
from egosrag.text.sentences import sentence_spans
from egosrag.text.tables import header_above
from egosrag.text.words import pairs, without_question_words, words

#: minimum share of a sentence's content, weighted by idf, that its quote must contain
MIN_SUPPORT = 0.6
_PASSAGE_MARK = re.compile(r"\s*[\[【［]\s*(\d{1,2}(?:\s*[,，、]\s*\d{1,2})*)\s*[\]】］]")
_MARK_AFTER_STOP = re.compile(
    r"([。！？.!?]+[”’\"')）]*)((?:\s*[\[【［]\s*\d{1,2}(?:\s*[,，、]\s*\d{1,2})*\s*[\]】］])+)"
)
_QUESTION = re.compile(r"[？?][”’」』\"')）]*\s*$|^(?:如何|怎样|怎么|是否|how (?:do|to|can)\b)", re.IGNORECASE)
_CLAUSE_END = re.compile(r"[，,；;：:。！？!?\n]|\.(?=\s|$)|\b(?:and|but|or|when|while|if|because|so that)\b")
# Limits ("no more than") and idioms with a negation word that negate nothing.
_NO_NEGATION = re.compile(
    r"不(?:要|得|能|应|可)?(?:超过|超出|高于|低于|少于|大于|小于|多于)|不(?:仅|但|断|久|同|论|管|足)|没有(?=.{0,8}(?:时|的话))"
    r"|\b(?:not?|never) (?:\w+ ){0,4}?(?:more|less|\w+er) than\b",
    re.IGNORECASE,
)
_NEGATION = re.compile(
    r"[不勿未无没]|别[再让把将在去用]|禁止|严禁|\b(?:not|never|no|cannot|without|nor|neither)\b|n[’']t\b", re.IGNORECASE
)


class VerifiedSentence(NamedTuple):
    """One sentence of an answer with the citation that supports it; None where none does."""

    text: str
    citation: Citation | None


def answer_sentences(answer: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The sentences of an answer without their passage marks, each with the passage numbers that it was marked with."""
    moved = _MARK_AFTER_STOP.sub(lambda m: m.group(2) + m.group(1), answer)  # "yes.[1]" becomes "yes[1]."
    for start, end in sentence_spans(moved):
        raw = moved[start:end]
        marks = tuple(int(n) for group in _PASSAGE_MARK.findall(raw) for n in re.findall(r"\d+", group))
        text = _PASSAGE_MARK.sub("", raw).strip()
        if any(c.isalnum() for c in text):
            yield text, marks


def same_polarity(text: str, quote: str) -> bool:
    """Whether each clause of ``text`` is negated exactly if the most similar clause of ``quote`` is.

    "Never put a child seat there" contains all words of "Put a child seat there". Limits ("no more than") are no
    negations.
    """
    quoted = [(set(pairs(clause)), is_negated(clause)) for clause in _CLAUSE_END.split(quote)]
    for clause in _CLAUSE_END.split(text):
        terms = set(pairs(clause))
        most = max((len(terms & other) for other, _ in quoted), default=0)
        # Of several equally similar clauses, one of the same polarity is enough.
        if most and is_negated(clause) not in {negated for other, negated in quoted if len(terms & other) == most}:
            return False
    return True


def is_negated(clause: str) -> bool:
    """Whether ``clause`` contains a negation; a limit ("no more than") is none."""
    return bool(_NEGATION.search(_NO_NEGATION.sub("", clause)))


class CitationVerifier:
    """Finds the supporting quotes for sentences of an answer.

    Args:
        index: the index of the manual.
        passages: the passages that the model read, numbered from 1 as in its prompt.
        question: the question that is answered.
        overlap: measures quotes against the question: of several with equal support, which a short answer often has,
            the one about the question is cited.
    """

    def __init__(
        self, index: ManualIndex, passages: Sequence[Passage], question: str = "", overlap: Overlap | None = None
    ) -> None:
        self._index = index
        self._bm25 = [index.lexical["pages-words"], index.lexical["pages-pairs"]]
        # Quotes of one and of two sentences, with the number of the passage that they are in.
        found = [(n, p, *quote) for n, p in enumerate(passages, 1) for quote in self._quotes_of(p)]
        self._quotes = [(n, passage, quote) for n, passage, quote, _ in found]
        self._terms = [
            (frozenset(words(f"{header}\n{quote}")), frozenset(pairs(f"{header}\n{quote}")))
            for _, _, quote, header in found
        ]
        self._overlap = overlap
        self._asked = [set(words(question)), set(pairs(question))]
        self._users_own = [
            terms.difference(*(present[n] for present in self._terms)) for n, terms in enumerate(self._asked)
        ]

    def _quotes_of(self, passage: Passage) -> list[tuple[str, str]]:
        """The quotes of a passage, those of table rows with the header of their table."""
        page = self._index.page(passage.source, passage.page).text
        spans = [
            (start, end)
            for start, end in sentence_spans(page)
            if end > passage.start and start < passage.end and page[start:end].strip()
        ]
        neighbours = [(a[0], b[1]) for a, b in zip(spans, spans[1:], strict=False)]
        return [(page[start:end].strip(), header_above(page, start)) for start, end in (*spans, *neighbours)]

    def in_context(self, source: str, number: int, quote: str) -> str:
        """A quote with what it is about: the headings above it, its table's header, or its list's introduction."""
        page = self._index.page(source, number)
        start = page.text.find(quote)
        before = header_above(page.text, start) or _list_introduction(page.text, start)
        return f"{section_at(page, start)}\n{before}\n{quote}"

    def verify(self, answer: str) -> list[VerifiedSentence]:
        """The sentences of an answer with their citations, in order."""
        return [VerifiedSentence(text, self.cite(text, marks)) for text, marks in answer_sentences(answer)]

    def cite(self, text: str, marks: Sequence[int] = ()) -> Citation | None:
        """The citation that supports a sentence best.

        Args:
            text: the sentence.
            marks: the passage numbers that the model wrote; they decide between quotes of equal support and relevance.

        Returns:
            The citation with its support as score, or None where no quote supports the sentence.
        """
        statement = LIST_MARKER.sub("", text)
        if verdict := verdict_of(statement):
            statement = verdict.rest
        if _QUESTION.search(statement):
            return None
        only_repeats = self._asked[0].issuperset(words(without_question_words(statement)))
        idf = [
            {term: bm25.idf(term) for term in set(analyze(statement)) - (set() if only_repeats else users_own)}
            for bm25, analyze, users_own in zip(self._bm25, (words, pairs), self._users_own, strict=True)
        ]
        best: tuple[float, float, bool, int, int] | None = None
        for i, ((n, _, quote), present) in enumerate(zip(self._quotes, self._terms, strict=True)):
            # The smaller share counts: by character pairs alone 儿童锁扣 would pass for 儿童锁.
            support = min(_share(terms, found) for terms, found in zip(idf, present, strict=True))
            if support < MIN_SUPPORT or (best is not None and round(support, 3) < best[0]):
                continue
            rank = (round(support, 3), self._relevance(i), n in marks, -len(quote), -i)
            if (best is None or rank > best) and quantities_supported(text, quote) and same_polarity(text, quote):
                best = rank
        if best is None:
            return None
        _, passage, quote = self._quotes[-best[-1]]
        return Citation(source=passage.source, page=passage.page, quote=quote, score=best[0])

    def _relevance(self, n: int) -> float:
        """The overlap of quote ``n`` in its context with the question."""
        if self._overlap is None:
            return 0.0
        _, passage, quote = self._quotes[n]
        return round(self._overlap.of(self.in_context(passage.source, passage.page, quote)), 3)


def _list_introduction(text: str, start: int) -> str:
    """The line ending in a colon above the list that has an item at ``start``; empty where there is none."""
    lines = text[:start].splitlines()
    if LIST_MARKER.match(text[start:]):
        while lines and LIST_MARKER.match(lines[-1]):
            lines.pop()
    return lines[-1] if lines and lines[-1].rstrip().endswith((":", "：")) else ""


def _share(weights: Mapping[str, float], present: frozenset[str]) -> float:
    total = sum(weights.values())
    return sum(weight for term, weight in weights.items() if term in present) / total if total else 0.0


def join_sentences(sentences: Sequence[str]) -> str:
    """Sentences as one text: list items on their own lines, a space after Latin script, none after Chinese."""
    text = ""
    for sentence in sentences:
        if not text:
            text = sentence
        elif LIST_MARKER.match(sentence):
            text += "\n" + sentence
        else:
            text += ("" if re.match(r"[\u3000-\u9fff\uff00-\uffef]", text[-1]) else " ") + sentence
    return text


def unique_citations(citations: Sequence[Citation]) -> tuple[Citation, ...]:
    """The citations without duplicates, in order; of equal quotes the one with the best score."""
    best: dict[tuple[str, int, str], Citation] = {}
    for citation in citations:
        key = (citation.source, citation.page, citation.quote)
        if key not in best or best[key].score < citation.score:
            best[key] = citation
    return tuple(best.values())
