"""A model's answer as it comes in: which of its sentences the manual tells, and when they may be shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from egosrag.prompts import load
from egosrag.rag.answer.citations import Checked, Checker, answer_sentences, joined, one_per_quote
from egosrag.rag.answer.extractive import Covers
from egosrag.schema import Citation, Told
from egosrag.text.language import language_of
from egosrag.text.words import without_question_words, words

Unsupported = Literal["drop", "mark"]
_RELEVANT = 0.5  # least share of the best sentences' coverage that the model's quotes must have
_REFUSES = re.compile(
    r"没有(?:说明|提到|提及|提供|相关|答案)|未(?:提及|说明|提到|提供)|无法(?:回答|确定|得知)|不知道|抱歉"
    r"|do(?:es)? not (?:say|tell|mention|provide|contain|specify)|doesn't (?:say|mention|specify)"
    r"|cannot (?:answer|be answered)"
    r"|not (?:mentioned|specified|stated)|no information|I (?:do not|don't) know|sorry",
    re.IGNORECASE,
)


def refuses(text: str) -> bool:
    """Whether a text says that there is no answer."""
    return bool(_REFUSES.search(text))


class Draft:
    """Reads a model's answer piece by piece; gives the text that became certain."""

    def __init__(
        self,
        question: str,
        checker: Checker,
        coverage: Covers,
        best: float,
        unsupported: Unsupported = "drop",
    ) -> None:
        """Begin a draft.

        Args:
            question: what was asked.
            checker: over the passages that the model read.
            coverage: of the question.
            best: what the manual's own best sentences cover of it.
            unsupported: whether sentences that no passage tells are dropped or marked.
        """
        self.kept: list[Checked] = []
        self.text = ""
        self.refused = False
        self._checker = checker
        self._coverage = coverage
        self._needed = _RELEVANT * best
        self._mark = load("unsupported", language_of(question)).text() if unsupported == "mark" else None
        self._asked = frozenset(words(question))
        self._raw = ""
        self._done = 0

    def read(self, piece: str, *, last: bool = False) -> Iterator[str]:
        """Take a piece of the model's text in; give the text that became certain."""
        self._raw += piece
        pieces = list(answer_sentences(self._raw))
        # The last sentence may go on, and the one before it may still get its marks.
        for text, marks in pieces[self._done : len(pieces) if last else max(0, len(pieces) - 2)]:
            self._done += 1
            if self.refused:
                break
            citation = self._checker.cite(text, marks)
            if citation:
                self.kept.append(Checked(text, citation))
            elif not any(c.citation for c in self.kept) and refuses(text):
                self.refused = True
            elif self._mark and not refuses(text):
                self.kept.append(Checked(text + self._mark, None))
        if self.text or self._relevant():
            whole = joined([checked.text for checked in self.kept])
            new, self.text = whole[len(self.text) :], whole
            if new:
                yield new

    def _relevant(self) -> bool:
        """Whether the sentences so far answer: they say more than the question did, and their quotes are about it."""
        told = [c for c in self.kept if c.citation]
        if not any(word not in self._asked for c in told for word in words(without_question_words(c.text))):
            return False
        quotes = [f"{self._checker.section(c.citation)}\n{c.citation.quote}" for c in told if c.citation]
        return self._coverage.of("\n".join(quotes)) >= self._needed

    def told(self) -> tuple[tuple[Citation, ...], tuple[Told, ...]]:
        """The citations, each once, and the sentences with the numbers of theirs."""
        citations = one_per_quote([c.citation for c in self.kept if c.citation])
        places = {(c.source, c.page, c.quote): n for n, c in enumerate(citations)}
        sentences = [
            Told(text=c.text, citation=places[c.citation.source, c.citation.page, c.citation.quote])
            if c.citation
            else Told(text=c.text, citation=None)
            for c in self.kept
        ]
        return citations, tuple(sentences)
