"""Manual question answering (report 6.2, figure 4): retrieve, compose, answer, check every sentence.

Decisions, one rule for all models; the figures are in the constants' comments:

* evidence under ``WEAK``: refused without asking the model;
* the model refuses: refused, unless the evidence is ``PLAIN`` - then the manual is quoted;
* the model's supported sentences stay, the others go; what stays must be about the question;
* nothing stays: the manual is quoted where the evidence is ``STRONG``, else refused.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from egosrag.prompts import load, render
from egosrag.rag.budget import fit
from egosrag.rag.cite import Checked, Checker, answer_sentences, joined, one_per_quote
from egosrag.rag.condense import Condenser, History, usage_of
from egosrag.rag.index import ManualIndex
from egosrag.rag.quote import Block, best_block, opening
from egosrag.rag.retrieve import Coverage, Retriever, ScoredPassage, asks_for_page, pages_named
from egosrag.schema import Answer, Timing, Usage

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessageChunk
    from langchain_core.retrievers import BaseRetriever
    from llama_index.core.query_engine import CustomQueryEngine

# Share of the question's content that the best passage covers. Car manual, silver questions: of the 271 answered ones
# 5 % are under 0.31 and 10 % under 0.36; of the 30 refused ones, which ask for what the right page leaves out, only
# 10 % are under 0.28: those are for the model. Off the subject ("who is the captain of ...") none reaches 0.22.
# Sample manuals: of the 64 direct questions none is under 0.37, of the 20 without an answer 17 are under STRONG.
WEAK = 0.12
STRONG = 0.30
PLAIN = 0.60
_RELEVANT = 0.5  # least share of the best sentences' coverage that the model's quotes must have
_REFUSES = re.compile(
    r"没有(?:说明|提到|提及|提供|相关|答案)|未(?:提及|说明|提到|提供)|无法(?:回答|确定|得知)|不知道|抱歉"
    r"|do(?:es)? not (?:say|tell|mention|provide|contain|specify)|doesn't (?:say|mention|specify)"
    r"|cannot (?:answer|be answered)"
    r"|not (?:mentioned|specified|stated)|no information|I (?:do not|don't) know|sorry",
    re.IGNORECASE,
)


class ManualEngine:
    """Answers questions from an index with a chat model; every sentence is cited or not said."""

    def __init__(self, index: ManualIndex, model: BaseChatModel, *, top_k: int = 5) -> None:
        """Set up the engine.

        Args:
            index: what to answer from.
            model: any LangChain chat model.
            top_k: most passages that the model reads for one question.
        """
        self.index = index
        self.model = model
        self.top_k = top_k
        self.retriever = Retriever(index)
        self._condenser = Condenser(index, model)

    def ask(self, question: str, history: History = ()) -> Answer:
        """The answer to a question.

        Args:
            question: in Chinese or English; a refusal is in its language.
            history: earlier (question, answer) pairs, oldest first.

        Raises:
            WindowError: the question alone does not fit the model's window.
            ModelError: the model cannot answer.
        """
        *_, answer = self.stream(question, history)
        assert isinstance(answer, Answer)
        return answer

    def stream(self, question: str, history: History = ()) -> Iterator[str | Answer]:
        """The answer, sentence by sentence as each is checked; then the ``Answer`` last.

        The pieces joined are the answer's text. Arguments and errors are those of :meth:`ask`.
        """
        start = time.perf_counter()
        first: float | None = None
        for piece in self._answer(question, history):
            if first is None:
                first = time.perf_counter() - start
            if isinstance(piece, Answer):
                timing = Timing(first_token_s=first, total_s=time.perf_counter() - start)
                yield piece.model_copy(update={"timing": timing})
            else:
                yield piece

    def search(self, question: str, history: History = ()) -> list[ScoredPassage]:
        """The passages for a question, best first, as :meth:`ask` would read them."""
        return self.retriever.search(self._condenser.standalone(question, history), self.top_k)

    def _answer(self, question: str, history: History) -> Iterator[str | Answer]:
        language = render.language_of(question)
        if not question.strip():
            yield from _refusal(language, Usage())
            return
        wanted, usage = self._condenser.condense(question, history)
        found = self.retriever.search(wanted, self.top_k)
        coverage = Coverage(self.index, wanted)
        evidence = max((coverage.of(_whole(hit)) for hit in found), default=0.0)
        block = best_block(self.index, wanted, found, coverage)
        if named := pages_named(wanted):
            of_page = [hit for hit in found if hit.passage.page in named]
            fits = best_block(self.index, wanted, of_page, coverage) if of_page else None
            if not of_page:
                yield from _refusal(language, usage)
            else:
                about = fits if fits and fits.citation.score >= STRONG else opening(self.index, of_page)
                yield from _quote(about, language, usage)
        elif block and asks_for_page(wanted) and evidence >= STRONG:
            yield from _quote(block, language, usage, page=True)
        elif not block or evidence < (0.0 if self.index.dense else WEAK):
            yield from _refusal(language, usage)
        else:
            yield from self._generate(question, history, found, _Case(language, coverage, evidence, block, usage))

    def _generate(
        self, question: str, history: History, found: Sequence[ScoredPassage], case: _Case
    ) -> Iterator[str | Answer]:
        """The model's sentences that the passages tell; the manual's own where there are none."""
        messages, read = fit(self.model, question, history, [hit.passage for hit in found], case.language)
        draft = _Draft(Checker(self.index, read), case)
        message: AIMessageChunk | None = None
        for chunk in self.model.stream(messages):
            message = chunk if message is None else message + chunk
            yield from draft.read(str(chunk.text))
            if draft.refused:
                break
        yield from draft.read("", last=True)
        usage = case.usage + (usage_of(message) if message is not None else Usage())
        if draft.text:
            citations = one_per_quote([c.citation for c in draft.kept if c.citation])
            yield Answer(answer=draft.text, refused=False, citations=citations, mode="generated", usage=usage)
        elif case.evidence >= (PLAIN if draft.refused else STRONG):
            yield from _quote(case.block, case.language, usage)
        else:
            yield from _refusal(case.language, usage)

    def as_query_engine(self) -> CustomQueryEngine:
        """This engine as a LlamaIndex query engine; its source nodes carry source, page, quote and score."""
        from egosrag.rag.llama import query_engine

        return query_engine(self)

    def as_retriever(self) -> BaseRetriever:
        """The search as a LangChain retriever; its documents carry source, page, section and score."""
        from egosrag.rag.chain import retriever

        return retriever(self.retriever, self.top_k)


class _Case(NamedTuple):
    """What is known of a question before the model is asked."""

    language: str
    coverage: Coverage
    evidence: float
    block: Block
    usage: Usage


class _Draft:
    """The model's answer as it comes in: which sentences are told by the manual, and when they may be shown."""

    def __init__(self, checker: Checker, case: _Case) -> None:
        self.kept: list[Checked] = []
        self.text = ""
        self.refused = False
        self._checker = checker
        self._case = case
        self._raw = ""
        self._done = 0
        best = case.block.citation.quote
        self._needed = _RELEVANT * max(case.coverage.of(best), case.coverage.of(f"{case.block.section}\n{best}"))

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
            elif not self.kept and _REFUSES.search(text):
                self.refused = True
        if self.kept and (self.text or self._relevant()):
            whole = joined([checked.text for checked in self.kept])
            new, self.text = whole[len(self.text) :], whole
            if new:
                yield new

    def _relevant(self) -> bool:
        """Whether the quotes so far are about the question: true sentences on something else are no answer."""
        quotes = [f"{self._checker.section(c.citation)}\n{c.citation.quote}" for c in self.kept if c.citation]
        return self._case.coverage.of("\n".join(quotes)) >= self._needed


def _whole(hit: ScoredPassage) -> str:
    return f"{hit.passage.section}\n{hit.passage.text}"


def _refusal(language: str, usage: Usage) -> Iterator[str | Answer]:
    text = load("refusal", language).text()
    yield text
    yield Answer(answer=text, refused=True, mode="refused", usage=usage)


def _quote(block: Block, language: str, usage: Usage, *, page: bool = False) -> Iterator[str | Answer]:
    text = block.citation.quote
    if page:  # the answer is the page's number, known from the document and not from the model
        number = f"第{block.citation.page}页" if language == "zh" else f"Page {block.citation.page}"
        text = f"{number}{'：' if language == 'zh' else ': '}{block.section or text}"
    yield text
    yield Answer(answer=text, refused=False, citations=(block.citation,), mode="quoted", usage=usage)
