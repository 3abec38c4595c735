"""Manual question answering (report 6.2, figure 4): retrieve, compose, answer, check every sentence.

Decisions, one rule for all models; the figures are in the constants' comments:

* evidence under ``WEAK``: refused without asking the model;
* the model is known to read passages worse than their best sentence (pocket): the manual is quoted, as below;
* the model refuses: refused, unless the evidence is ``PLAIN`` - then the manual is quoted;
* the model's supported sentences stay, the others go; what stays must be about the question;
* nothing stays: the manual is quoted where the evidence is ``STRONG``, else refused.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from egosrag.models.traits import traits_of
from egosrag.prompts import load
from egosrag.rag.answer.answer_types import lacks_value
from egosrag.rag.answer.budget import fit
from egosrag.rag.answer.citations import Checker
from egosrag.rag.answer.draft import Draft, Unsupported
from egosrag.rag.answer.extractive import Block, Covers, best_block, opening
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.condense import History, usage_of
from egosrag.rag.retrieval.queries import Blend, Evidence, Finder
from egosrag.rag.retrieval.search import Coverage, Retriever, ScoredPassage, asks_for_page, pages_named
from egosrag.schema import Answer, Timing, Told, Usage
from egosrag.text.language import language_of
from egosrag.text.sentences import sentence_spans

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessageChunk
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables import Runnable, RunnableConfig
    from llama_index.core.chat_engine.types import BaseChatEngine
    from llama_index.core.query_engine import CustomQueryEngine

    from egosrag.rag.integrations.langchain import Question
    from egosrag.rag.retrieval.reranking import Reranker

# Share of the question's content that the best passage covers (``Answer.evidence``). Of eight features that were tried
# it parts answered questions from hopeless ones best. Sample manuals, 20 hopeless questions: area under the curve 0.99
# beside the 64 direct questions, 0.92 beside the 16 follow-ups, 0.78 beside the 28 paraphrases. Under STRONG: none of
# the direct ones, one follow-up, four paraphrases and 13 of the hopeless ones: a question too many goes to the model,
# which refuses too. Of the car manual's silver questions those that ask for what the right page leaves out have as
# much evidence as the others: those are the model's to refuse.
WEAK = 0.12
STRONG = 0.23
PLAIN = 0.60
# What a quotation must cover that has no value of the kind asked for ("how often": no number). Sample manuals: 17 of
# the 20 hopeless questions refused (13 without), no other question more; drawn leaflets: the model card of pocket.
SURE = 0.90


Answers = Literal["auto", "model", "quote"]


class ManualEngine:
    """Answers questions from an index with a chat model; every sentence is cited or not said."""

    def __init__(
        self,
        index: ManualIndex,
        model: BaseChatModel,
        *,
        top_k: int = 5,
        condense: bool = True,
        decompose: bool = False,
        rewrites: int = 0,
        unsupported: Unsupported = "drop",
        answers: Answers = "auto",
        reranker: Reranker | None = None,
    ) -> None:
        """Set up the engine.

        Args:
            index: what to answer from.
            model: any LangChain chat model.
            top_k: most passages that the model reads for one question, and for each part of one taken apart.
            condense: make follow-ups stand alone before they are searched for.
            decompose: let the model take a question apart that needs several facts, and join the evidence.
            rewrites: rounds, 0 to 3, in which the model asks again in other words while too little is found.
            unsupported: ``drop`` sentences of the model that no passage tells, or ``mark`` them.
            answers: the ``model`` writes from the passages, or the manual is ``quote``-d; ``auto`` lets a model write
                unless it says that it reads passages worse than their best sentence (``extractive_only``).
            reranker: orders the first ten passages anew.

        Raises:
            SettingsError: ``rewrites`` is not 0 to 3.
        """
        self.index = index
        self.model = model
        self.top_k = top_k
        self.retriever = Retriever(index, reranker)
        self._finder = Finder(self.retriever, model, top_k, condense=condense, decompose=decompose, rewrites=rewrites)
        self._unsupported = unsupported
        writes = not traits_of(model).extractive_only
        self._quotes = answers == "quote" or (answers == "auto" and not writes)

    def ask(self, question: str, history: History = (), config: RunnableConfig | None = None) -> Answer:
        """The answer to a question.

        Args:
            question: in Chinese or English; a refusal is in its language.
            history: earlier (question, answer) pairs, oldest first.
            config: LangChain's, for the model's call: callbacks, tags.

        Raises:
            WindowError: the question alone does not fit the model's window.
            ModelError: the model cannot answer.
        """
        *_, answer = self.stream(question, history, config)
        assert isinstance(answer, Answer)
        return answer

    def stream(
        self, question: str, history: History = (), config: RunnableConfig | None = None
    ) -> Iterator[str | Answer]:
        """The answer, sentence by sentence as each is checked; then the ``Answer`` last.

        The pieces joined are the answer's text. Arguments and errors are those of :meth:`ask`.
        """
        start = time.perf_counter()
        first: float | None = None
        for piece in self._answer(question, history, config):
            if first is None:
                first = time.perf_counter() - start
            if isinstance(piece, Answer):
                timing = Timing(first_token_s=first, total_s=time.perf_counter() - start)
                yield piece.model_copy(update={"timing": timing})
            else:
                yield piece

    def search(self, question: str, history: History = ()) -> list[ScoredPassage]:
        """The passages for a question, best first, as :meth:`ask` would read them."""
        return self._finder.find(question, history).found

    def _answer(self, question: str, history: History, config: RunnableConfig | None) -> Iterator[str | Answer]:
        language = language_of(question)
        if not question.strip():
            yield from _refusal(language, Evidence())
            return
        evidence = self._finder.find(question, history)
        wanted, found = evidence.queries[0], evidence.found
        # Of what the user asked, in words of the user: a rewriting is the model's own and proves nothing.
        asked: Covers = evidence.coverages[0]
        if wanted != question:
            asked = Blend(*evidence.coverages[: evidence.own], Coverage(self.index, question))
        block = best_block(self.index, question, found, asked)
        if named := pages_named(wanted):
            yield from self._page(named, wanted, evidence, language)
        elif block and asks_for_page(wanted) and evidence.strength >= STRONG:
            yield from _quote(block, language, evidence, page=True)
        elif not block or evidence.strength < (0.0 if self.index.dense else WEAK):
            yield from _refusal(language, evidence)
        elif self._quotes:
            yield from self._quoted(block, language, evidence)
        else:
            yield from self._generate(question, history, _Case(language, evidence, block), config)

    def _page(self, named: set[int], wanted: str, evidence: Evidence, language: str) -> Iterator[str | Answer]:
        """What stands on the page that the question names."""
        of_page = [hit for hit in evidence.found if hit.passage.page in named]
        if not of_page:
            yield from _refusal(language, evidence)
            return
        fits = best_block(self.index, wanted, of_page, evidence.coverages[0])
        about = fits if fits and fits.citation.score >= STRONG else opening(self.index, of_page)
        yield from _quote(about, language, evidence)

    def _generate(
        self, question: str, history: History, case: _Case, config: RunnableConfig | None
    ) -> Iterator[str | Answer]:
        """The model's sentences that the passages tell; the manual's own where there are none."""
        evidence, block = case.evidence, case.block
        passages = [hit.passage for hit in evidence.found]
        messages, read = fit(self.model, question, history, passages, case.language)
        quote = block.citation.quote
        best = max(evidence.of(quote), evidence.of(f"{block.section}\n{quote}"))
        draft = Draft(question, Checker(self.index, read), evidence, best, self._unsupported)
        message: AIMessageChunk | None = None
        for chunk in self.model.stream(messages, config):
            message = chunk if message is None else message + chunk
            yield from draft.read(str(chunk.text))
            if draft.refused:
                break
        yield from draft.read("", last=True)
        evidence.usage += usage_of(message) if message is not None else Usage()
        if draft.text:
            citations, told = draft.told()
            yield _with(evidence, Answer(answer=draft.text, refused=False, citations=citations, sentences=told))
        else:
            yield from self._quoted(block, case.language, evidence, PLAIN if draft.refused else STRONG)

    def _quoted(self, block: Block, language: str, evidence: Evidence, least: float = STRONG) -> Iterator[str | Answer]:
        """The manual's own words where the evidence is at least ``least``, else the refusal."""
        if lacks_value(evidence.queries[0], block.citation.quote):
            least = max(least, SURE)
        enough = _strength(evidence.coverages[: evidence.own], evidence.found) >= least
        yield from _quote(block, language, evidence) if enough else _refusal(language, evidence)

    def as_query_engine(self) -> CustomQueryEngine:
        """This engine as a LlamaIndex query engine; its source nodes carry source, page, quote and score."""
        from egosrag.rag.integrations.llamaindex import query_engine

        return query_engine(self)

    def as_retriever(self) -> BaseRetriever:
        """The search as a LangChain retriever; its documents carry source, page, section and score."""
        from egosrag.rag.integrations.langchain import retriever

        return retriever(self.retriever, self.top_k)

    def as_chat_engine(self) -> BaseChatEngine:
        """This engine as a LlamaIndex chat engine, which keeps the history."""
        from egosrag.rag.integrations.llamaindex import chat_engine

        return chat_engine(self)

    def as_runnable(self) -> Runnable[Question, Answer]:
        """This engine as a LangChain Runnable: a question, or a question with its history, to the ``Answer``."""
        from egosrag.rag.integrations.langchain import runnable

        return runnable(self)


class _Case(NamedTuple):
    """What is known of a question before the model is asked."""

    language: str
    evidence: Evidence
    block: Block


def _strength(coverages: Sequence[Coverage], found: Sequence[ScoredPassage]) -> float:
    return Evidence(found=list(found), coverages=list(coverages)).strength


def _with(evidence: Evidence, answer: Answer) -> Answer:
    found = {"queries": tuple(evidence.queries), "evidence": round(evidence.strength, 3), "usage": evidence.usage}
    return answer.model_copy(update=found)


def _refusal(language: str, evidence: Evidence) -> Iterator[str | Answer]:
    text = load("refusal", language).text()
    yield text
    yield _with(evidence, Answer(answer=text, refused=True, mode="refused"))


def _quote(block: Block, language: str, evidence: Evidence, *, page: bool = False) -> Iterator[str | Answer]:
    text = block.citation.quote
    if page:  # the answer is the page's number, known from the document and not from the model
        number = f"第{block.citation.page}页" if language == "zh" else f"Page {block.citation.page}"
        text = f"{number}{'：' if language == 'zh' else ': '}{block.section or text}"
    yield text
    told = tuple(Told(text=text[start:end].strip(), citation=0) for start, end in sentence_spans(text))
    answer = Answer(answer=text, refused=False, citations=(block.citation,), mode="quoted", sentences=told)
    yield _with(evidence, answer)
