"""From a question to its evidence: what is searched for, how often, and what that found (report 6.3.4).

A follow-up is condensed with its history; a question that takes several facts is taken apart and the evidence
joined; a question that finds too little is asked again in the manual's words, at most three times. What a model
writes is searched for only where it stays in the language and is not a text of its own.

Measured on the sample manuals, the right pages among the first 5 passages: follow-ups, English, 5 of 8 as they are, 8
condensed by rule (the last question put before), 6 as pocket condenses them, 8 with both: so condensing is on and both
are searched for. Paraphrases, English: 10 of 14, 11 with one rewriting by hand, 8 with one by pocket. Questions that
need several facts (evals/data/hops.jsonl), all their pages: 17 of 20 as they are, 19 with parts written by hand. So
taking apart and rewriting gain little here, rewriting loses with a small model, and both are off.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

from egosrag.errors import SettingsError
from egosrag.prompts import load
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.condense import Condenser, History, usage_of
from egosrag.rag.retrieval.search import Coverage, Retriever, ScoredPassage
from egosrag.schema import Usage
from egosrag.text.language import language_of, one_line
from egosrag.text.words import pairs, without_question_words, words

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

ROUNDS = 3  # most rewritings of one question
PARTS = 4  # most questions that one is taken apart into
ENOUGH = 0.5  # coverage by one passage from which on a question is not rewritten
_LINE = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.、)）]|[Qq]\d*[:：.]|问题?\d*[:：]|Question:)?\s*")


@dataclass
class Evidence:
    """What a question became and what that found.

    Attributes:
        queries: all that was searched for, in order; the first is the question made to stand alone. What a
            follow-up was searched for together with the last answer is not among them.
        found: the passages of all queries, best first, each once.
        coverages: one a query.
        usage: the tokens that writing the queries took.
        own: how many of the first queries are the question itself, made to stand alone.
    """

    queries: list[str] = field(default_factory=list)
    found: list[ScoredPassage] = field(default_factory=list)
    coverages: list[Coverage] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    own: int = 1

    def of(self, text: str) -> float:
        """The share of the best covered query's content that stands in ``text``: 0 to 1."""
        return max((coverage.of(text) for coverage in self.coverages), default=0.0)

    @property
    def strength(self) -> float:
        """What the best passage covers of any query, its headings included: 0 to 1."""
        return max((self.of(whole(hit)) for hit in self.found), default=0.0)


class Blend:
    """What a text covers of several questions, averaged: a follow-up's last words count beside the whole."""

    def __init__(self, *coverages: Coverage) -> None:
        self._coverages = coverages

    def of(self, text: str) -> float:
        """The mean share, 0 to 1."""
        return sum(coverage.of(text) for coverage in self._coverages) / len(self._coverages)


def whole(hit: ScoredPassage) -> str:
    """A passage with its headings."""
    return f"{hit.passage.section}\n{hit.passage.text}"


class Finder:
    """Finds the evidence for a question."""

    def __init__(
        self,
        retriever: Retriever,
        model: BaseChatModel,
        top_k: int = 5,
        *,
        condense: bool = True,
        decompose: bool = False,
        rewrites: int = 0,
    ) -> None:
        """Set up the finder; see :class:`egosrag.rag.answer.engine.ManualEngine` for the arguments.

        Raises:
            SettingsError: ``rewrites`` is not 0 to 3.
        """
        if not 0 <= rewrites <= ROUNDS:
            raise SettingsError(f"rewrites is {rewrites}: give 0 to {ROUNDS}")
        self._retriever = retriever
        self._index: ManualIndex = retriever.index
        self._model = model
        self._top_k = top_k
        self._condenser = Condenser(self._index, model) if condense else None
        self._decompose = decompose
        self._rewrites = rewrites

    def find(self, question: str, history: History = ()) -> Evidence:
        """The evidence for a question.

        Args:
            question: the last question.
            history: earlier (question, answer) pairs, oldest first.

        Raises:
            ModelError: the model cannot answer.
        """
        evidence = Evidence()
        queries = [question]
        if self._condenser:
            wanted, evidence.usage = self._condenser.condense(question, history)
            # A model's rewriting is never trusted alone: pocket's lost two pages of eight that this finds.
            before = f"{one_line(history[-1][0])} {one_line(question)}" if history else question
            queries = list(dict.fromkeys([wanted, before])) if wanted != question else [wanted]
        wanted, evidence.own = queries[0], len(queries)
        parts = self._parts(wanted, evidence) if self._decompose else []
        lead = self._condenser.with_answer(question, history) if self._condenser and wanted != question else ""
        self._search(evidence, [*queries, *parts], self._top_k * max(1, len(parts)), lead)
        for _ in range(self._rewrites):
            if evidence.strength >= ENOUGH or not (again := self._again(wanted, evidence)):
                break
            self._search(evidence, [again], self._top_k)
        return evidence

    def _search(self, evidence: Evidence, queries: Sequence[str], most: int, lead: str = "") -> None:
        """Search for each query and join what they find: the best of each, then the second of each, ...

        What ``lead`` finds goes first of each; it is no evidence, as it holds what was answered already.
        """
        lists = [self._retriever.search(query, self._top_k) for query in ([lead] if lead else []) + list(queries)]
        coverages = [Coverage(self._index, query) for query in queries]
        if not evidence.found or len(lists) > 1:
            order = [evidence.found, *lists]
        else:  # a rewriting that covers more than all before goes first
            ahead = max((coverages[0].of(whole(hit)) for hit in lists[0]), default=0.0) > evidence.strength
            order = [lists[0], evidence.found] if ahead else [evidence.found, lists[0]]
        evidence.found = list(_joined(order))[:most]
        evidence.queries += queries
        evidence.coverages += coverages

    def _parts(self, question: str, evidence: Evidence) -> list[str]:
        """The simple questions that the model takes the question apart into; none where it is simple already."""
        messages = load("decompose", language_of(question)).messages(question=one_line(question))
        lines = [_LINE.sub("", line).strip() for line in self._ask(messages, evidence).splitlines()]
        parts = [p for p in dict.fromkeys(lines) if _sound(p, question) and p != question]
        # A part that shares no word with the question may still lead on (its second hop); all of them do not.
        said = set(pairs(without_question_words(question)))
        related = any(said & set(pairs(without_question_words(part))) for part in parts)
        return parts[:PARTS] if related and len(parts) > 1 else []

    def _again(self, question: str, evidence: Evidence) -> str:
        """The question in other words; empty where the model has none."""
        titles = dict.fromkeys(hit.passage.section for hit in evidence.found if hit.passage.section)
        messages = load("rewrite", language_of(question)).messages(
            titles="\n".join(map(one_line, titles)),
            tried="\n".join(map(one_line, evidence.queries)),
            question=one_line(question),
        )
        lines = [_LINE.sub("", line).strip() for line in self._ask(messages, evidence).splitlines() if line.strip()]
        known = self._index.lexical["pages-words"]
        if not lines or lines[0] in evidence.queries or not _sound(lines[0], question):
            return ""
        return lines[0] if any(known.knows(word) for word in words(without_question_words(lines[0]))) else ""

    def _ask(self, messages: list[BaseMessage], evidence: Evidence) -> str:
        message = self._model.invoke(messages)
        evidence.usage += usage_of(message)
        return str(message.text)


def _sound(written: str, question: str) -> bool:
    """Whether a question that a model wrote may stand in for ``question``: in its language and of its size."""
    return 2 <= len(written) <= 4 * len(question) + 120 and language_of(written) == language_of(question)


def _joined(lists: Sequence[Sequence[ScoredPassage]]) -> Iterator[ScoredPassage]:
    """The passages of all lists by turns, each once."""
    seen = set()
    for hit in chain.from_iterable(zip_longest(*lists)):
        if hit is not None and hit.passage.id not in seen:
            seen.add(hit.passage.id)
            yield hit
