"""Citation verification: which sentences of an answer are supported by which quotes of the manual.

A sentence is supported by a quote of one or two neighbouring sentences of a page if the quote contains most of its
content, contains all of its numbers with their units, says the opposite of none of its words, and is negated where, and
only where, the sentence is. Words that
the sentence takes from the question and that no passage contains say nothing about the manual; a leading yes or no is
left to the model. Passage numbers that the model wrote ("[2]") only break ties: small models
confuse them, so none is believed without a quote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from egosrag.rag.answer.answer_types import verdict_of
from egosrag.rag.answer.neighbouring_words import Match
from egosrag.rag.answer.number_check import match_numbers
from egosrag.rag.answer.opposites import match_opposites
from egosrag.rag.documents.splitting import section_at
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.lexical_overlap import Overlap
from egosrag.schema import Citation, Passage
from egosrag.text.numbers import LIST_MARKER
from egosrag.text.quantities import without_quantities
from egosrag.text.sentences import sentence_spans
from egosrag.text.tables import header_above
from egosrag.text.words import is_content_word, pairs, without_question_words, words

#: minimum share of a sentence's content, weighted by idf, that its quote must contain
MIN_SUPPORT = 0.6
_PASSAGE_MARK = re.compile(r"\s*[\[【［]\s*(\d{1,2}(?:\s*[,，、]\s*\d{1,2})*)\s*[\]】］]")
_MARK_AFTER_STOP = re.compile(
    r"([。！？.!?]+[”’\"')）]*)((?:\s*[\[【［]\s*\d{1,2}(?:\s*[,，、]\s*\d{1,2})*\s*[\]】］])+)"
)
_QUESTION = re.compile(r"[？?][”’」』\"')）]*\s*$|^(?:如何|怎样|怎么|是否|how (?:do|to|can)\b)", re.IGNORECASE)
_CLAUSE_END = re.compile(r"[，；;：:。！？!?\n]|,(?!\d)|\.(?=\s|$)|\b(?:and|but|or|when|while|if|because|so that)\b")
_OPEN_QUESTION = re.compile(
    r"\b(?:what|which|who|whom|whose|where|when|why|how)\b|什么|啥|哪|谁|怎|如何|为何|多[少久大长远高]|几",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    r"\b(?:if|when|while|in case)\b[^,.;!?，。；！？]*|(?:如果|若|当|要是)[^，。；！？,.;!?]*", re.IGNORECASE
)
_ANSWER_LABEL = re.compile(
    r"\W*(?:solutions?|remedy|answer|a|actions?|correction|what to do|fix"
    r"|解决(?:方法|办法|方案)|措施|处理(?:方法|办法)?|答)\s*[:：]",
    re.IGNORECASE,
)
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


class _Quote(NamedTuple):
    """One or two neighbouring sentences of a page.

    Attributes:
        number: of the passage, from 1, as in the prompt.
        passage: that they are in.
        text: verbatim.
        header: of the table that it is a row of; empty where it is none.
        terms: its words and its character pairs, with those of its table's header.
        parts: for two sentences, where each of them is among the quotes.
    """

    number: int
    passage: Passage
    text: str
    header: str
    terms: tuple[frozenset[str], ...]
    parts: tuple[int, ...]


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


def without_conditions(text: str, question: str) -> str:
    """``text`` without the conditions that it repeats from the question, which are the user's and not the manual's.

    "If the device is not connected, open the app", where the question has the condition. Of a question for yes or no
    all conditions are part of what is claimed.
    """
    if not _OPEN_QUESTION.search(question):
        return text
    users_own = set(words(question))
    return _CONDITION.sub(lambda match: "" if users_own.issuperset(words(match.group())) else match.group(), text)


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
        self._quotes = list[_Quote]()
        for number, passage in enumerate(passages, 1):
            self._quotes += self._quotes_of(number, passage, len(self._quotes))
        self._overlap = overlap
        self._question = question
        self._asked = [set(words(question)), set(pairs(question))]
        self._users_own = [
            asked.difference(*(quote.terms[n] for quote in self._quotes)) for n, asked in enumerate(self._asked)
        ]

    def _quotes_of(self, number: int, passage: Passage, first: int) -> Iterator[_Quote]:
        """The quotes of one and of two sentences of a passage; ``first`` is the place of the first among all quotes."""
        page = self._index.page(passage.source, passage.page).text
        spans = [
            (start, end)
            for start, end in sentence_spans(page)
            if end > passage.start and start < passage.end and page[start:end].strip()
        ]
        quotes = [(start, end, ()) for start, end in spans]
        neighbours = [
            (a[0], b[1], (first + n, first + n + 1)) for n, (a, b) in enumerate(zip(spans, spans[1:], strict=False))
        ]
        for start, end, parts in [*quotes, *neighbours]:
            text = page[start:end].strip()
            header = header_above(page, start)
            terms = f"{header}\n{text}"
            yield _Quote(number, passage, text, header, (frozenset(words(terms)), frozenset(pairs(terms))), parts)

    def in_context(self, source: str, number: int, quote: str) -> str:
        """A quote with what it is about.

        That are the headings above it, its table's header, its list's introduction, or the problem that it solves.
        """
        page = self._index.page(source, number)
        start = page.text.find(quote)
        before = (
            header_above(page.text, start) or _question_above(page.text, start) or _list_introduction(page.text, start)
        )
        return f"{section_at(page, start)}\n{before}\n{quote}"

    def is_below_named_heading(self, source: str, number: int, quote: str) -> bool:
        """Whether the question has all words of the heading right above a quote, such as "child lock"."""
        page = self._index.page(source, number)
        heading = words(section_at(page, page.text.find(quote)).rsplit(" > ", 1)[-1])
        return any(is_content_word(word) for word in heading) and self._asked[0].issuperset(heading)

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
        asserted = without_conditions(text, self._question)
        only_repeats = self._asked[0].issuperset(words(without_question_words(statement)))
        # Numbers are checked by themselves, as they are written in many ways.
        content = without_quantities(statement)
        content = content if words(content) else statement
        idf = [
            {term: bm25.idf(term) for term in set(analyze(content)) - (set() if only_repeats else users_own)}
            for bm25, analyze, users_own in zip(self._bm25, (words, pairs), self._users_own, strict=True)
        ]
        # The smaller share counts: by character pairs alone 儿童锁扣 would pass for 儿童锁.
        supports = [
            round(min(_share(terms, present) for terms, present in zip(idf, quote.terms, strict=True)), 3)
            for quote in self._quotes
        ]
        best: tuple[float, float, bool, int, int] | None = None
        altered = copied = False  # whether quotes are the sentence but for its numbers or with opposites, or as it is
        for i, (support, quote) in enumerate(zip(supports, self._quotes, strict=True)):
            # Of two sentences each supports a part: an order in a document is not cited for what stands beside it.
            if support < max([MIN_SUPPORT, best[0] if best else 0.0, *(supports[n] + 0.001 for n in quote.parts)]):
                continue
            rank = (support, self._relevance(quote), quote.number in marks, -len(quote.text), -i)
            if best is not None and rank <= best:
                continue
            numbers = match_numbers(statement, quote.text)
            if not numbers.supports and quote.header:  # "Supported" under "Version 2.0"
                numbers = match_numbers(statement, f"{quote.header}\n{quote.text}")
            matches = (numbers, match_opposites(statement, quote.text))
            supported = all(match.supports for match in matches)
            altered, copied = altered or Match.ALTERED in matches, copied or (supported and Match.COPIED in matches)
            if supported and same_polarity(asserted, quote.text):
                best = rank
        if altered and not copied:
            return None
        if best is None:
            return None
        cited = self._quotes[-best[-1]]
        return Citation(source=cited.passage.source, page=cited.passage.page, quote=cited.text, score=best[0])

    def _relevance(self, quote: _Quote) -> float:
        """The overlap of a quote in its context with the question."""
        if self._overlap is None:
            return 0.0
        return round(self._overlap.of(self.in_context(quote.passage.source, quote.passage.page, quote.text)), 3)


def _list_introduction(text: str, start: int) -> str:
    """The line ending in a colon above the list that has an item at ``start``; empty where there is none."""
    lines = text[:start].splitlines()
    if LIST_MARKER.match(text[start:]):
        while lines and LIST_MARKER.match(lines[-1]):
            lines.pop()
    return lines[-1] if lines and lines[-1].rstrip().endswith((":", "：")) else ""


def _question_above(text: str, start: int) -> str:
    """The line above one that is labelled as its answer: "Problem: ..." above "Solution: ..."; else empty."""
    lines = text[:start].splitlines() or [""]
    own = text.rfind("\n", 0, start) + 1
    if own < start:
        lines.pop()  # the beginning of the quote's own line
    return lines[-1] if lines and _ANSWER_LABEL.match(text[own:]) else ""


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
