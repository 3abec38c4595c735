"""Manual question answering as a line (report 6.2, figure 4): rewrite, retrieve, decide, answer, verify.

Every sentence of an answer has a verified citation, or is not part of it. When to refuse, to quote the manual and to
let the model write is decided in :mod:`egosrag.rag.answer.decision`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Literal, ParamSpec

from egosrag.errors import SettingsError, WindowError
from egosrag.limits import QUESTION_CHARACTERS
from egosrag.models.traits import traits_of, unbound
from egosrag.rag.answer.citation_verifier import CitationVerifier
from egosrag.rag.answer.decision import Decision, decide, decide_without_draft, may_refuse
from egosrag.rag.answer.draft import Draft, Unsupported
from egosrag.rag.answer.extractive import choose_excerpt, continuation, extractive_answer
from egosrag.rag.answer.prompt_passages import readings
from egosrag.rag.answer.section_opening import section_opening
from egosrag.rag.documents.cleaning import readable
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.refusals import no_question, refusal
from egosrag.rag.retrieval.evidence import EvidenceRetriever, RetrievedEvidence
from egosrag.rag.retrieval.query_rewriting import History, QueryRewriter, is_small_talk
from egosrag.rag.retrieval.search import Retriever
from egosrag.schema import Answer, AnswerProgress, Timing, Usage
from egosrag.text.encoding import without_surrogates
from egosrag.text.language import language_of

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import RunnableConfig

    from egosrag.rag.retrieval.reranking import Reranks

Answers = Literal["auto", "model", "quote"]
AnswerStream = Iterator[AnswerProgress | str | Answer]
P = ParamSpec("P")


def _timed(stream: Callable[P, AnswerStream]) -> Callable[P, AnswerStream]:
    """Measure a stream: its ``Answer`` gets the seconds to the first text and in total."""

    @wraps(stream)
    def timed(*args: P.args, **kwargs: P.kwargs) -> AnswerStream:
        start = time.perf_counter()
        first: float | None = None
        for piece in stream(*args, **kwargs):
            if first is None and isinstance(piece, str):
                first = time.perf_counter() - start
            if isinstance(piece, Answer):
                timing = Timing(first_token_s=first, total_s=time.perf_counter() - start)
                piece = piece.model_copy(update={"timing": timing})
            yield piece

    return timed


class ManualEngine:
    """Answers questions from an index with a chat model; every sentence has a citation."""

    def __init__(
        self,
        index: ManualIndex,
        model: BaseChatModel | None,
        *,
        top_k: int = 5,
        condense: bool = True,
        decompose: bool = False,
        rewrites: int = 0,
        unsupported: Unsupported = "drop",
        answers: Answers = "auto",
        reranker: Reranks | None = None,
    ) -> None:
        """Set up the engine.

        Args:
            index: the index of the manuals.
            model: any LangChain chat model; None: the manual is quoted, and follow-ups are searched for by rule.
            top_k: maximum number of passages that the model reads for a question, and for each sub-question.
            condense: make follow-ups standalone before retrieval.
            decompose: let the model decompose a question that needs several facts, and join the evidence.
            rewrites: maximum number of times, 0 to 3, that the model rewords the question while too little is found.
            unsupported: ``drop`` unsupported sentences of the model, or ``mark`` them.
            answers: ``model``: the model writes; ``quote``: the manual is quoted; ``auto``: the model writes unless its
                traits say that it is extractive only.
            reranker: reorders the first passages.

        Raises:
            SettingsError: ``rewrites`` is not 0 to 3, or a model is needed and there is none.
        """
        if model is None and (decompose or rewrites or answers == "model"):
            raise SettingsError("decompose, rewrites and answers=model need a model: give one, or leave them out")
        self.index = index
        self.model = model
        self.top_k = top_k
        self.retriever = Retriever(index, reranker)
        self._rewriter = QueryRewriter(index, model, condense=condense, decompose=decompose)
        self._evidence = EvidenceRetriever(self.retriever, self._rewriter, top_k, rewrites)
        self._unsupported = unsupported
        extractive = model is None or (answers == "auto" and traits_of(model).extractive_only)
        self._few_first = model is not None and bool(getattr(unbound(model), "reads_slowly", False))
        self._extractive_only = answers == "quote" or extractive

    def ask(self, question: str, history: History = (), config: RunnableConfig | None = None) -> Answer:
        """The answer to a question.

        Args:
            question: in Chinese or English; a refusal is in its language.
            history: earlier (question, answer) pairs, oldest first.
            config: LangChain's, for the model's call: callbacks, tags.

        Raises:
            WindowError: the question alone does not fit the model's window, or is longer than ``QUESTION_CHARACTERS``.
            ModelError: the model cannot answer.
        """
        *_, answer = self.stream(question, history, config)
        assert isinstance(answer, Answer)
        return answer

    @_timed
    def stream(
        self,
        question: str,
        history: History = (),
        config: RunnableConfig | None = None,
        *,
        max_new_tokens: int | None = None,
    ) -> AnswerStream:
        """The steps of answering, the text sentence by sentence as each is verified, and last the ``Answer``.

        The steps are ``searching``, ``found`` with the passages of all queries, and ``reading`` with those of the
        prompt where the model writes, once or twice; all come before the text, and none where there is nothing to
        search for. The pieces of text joined are the answer's text. Arguments and errors are those of :meth:`ask`;
        ``max_new_tokens`` limits what the model writes in a call, by default as its settings do.
        """
        question = _checked(question)
        history = [(readable(without_surrogates(q)), readable(without_surrogates(a))) for q, a in history]
        language = language_of(question)
        if not question.strip():
            yield from _whole(refusal(language))
            return
        if is_small_talk(question):
            yield from _whole(no_question(language))
            return
        # 1. Rewrite the question into queries, and retrieve the evidence for all of them.
        yield AnswerProgress(step="searching")
        plan = self._rewriter.plan(question, history)
        evidence = self._evidence.retrieve(plan)
        yield AnswerProgress(step="found", passages=tuple(hit.passage for hit in evidence.passages))
        # 2. Find the excerpt of the manual that fits best, and decide between model, excerpt and refusal.
        excerpt = choose_excerpt(self.index, evidence)
        quote = excerpt.citation.quote if excerpt else None
        has_vectors = self.index.dense is not None
        decision = decide(evidence, quote, extractive_only=self._extractive_only, has_vectors=has_vectors)
        usage = evidence.usage
        # 3. Let the model write; each sentence is verified as it is streamed. Where nothing remains of what it writes
        # from the best passages, it reads them all.
        verdict = None
        if excerpt and self.model and decision is Decision.GENERATE:
            from egosrag.rag.answer.token_budget import compose_prompt  # LangChain, which a quoted manual does without

            best_overlap, weak = excerpt.overlap(evidence.overlap), may_refuse(evidence)
            for hits in readings(self.index, evidence, few_first=self._few_first and not weak):
                messages, passages = compose_prompt(self.model, question, history, hits, language, may_refuse=weak)
                yield AnswerProgress(step="reading", passages=tuple(passages))
                verifier = CitationVerifier(self.index, passages, question, evidence.question_overlap)
                draft = Draft(question, verifier, evidence.overlap, best_overlap, self._unsupported)
                yield from draft.generate(self.model, messages, config, max_new_tokens)
                usage += draft.usage
                if draft.text:
                    yield _with_evidence(draft.answer(), evidence, usage)
                    return
            verdict = draft.verdict
            decision = decide_without_draft(evidence, excerpt.citation.quote, model_refused=draft.refused)
        # 4. Or answer with the excerpt, or refuse.
        if excerpt and decision is not Decision.REFUSE:
            page_number = decision is Decision.PAGE_NUMBER
            if page_number:
                excerpt = section_opening(self.index, evidence) or excerpt
            note = continuation(self.index, excerpt, language) if not page_number else ""
            answer = extractive_answer(excerpt, language, page_number=page_number, verdict=verdict, note=note)
        else:
            answer = refusal(language)
        yield from _whole(_with_evidence(answer, evidence, usage))

    def retrieve(self, question: str, history: History = ()) -> RetrievedEvidence:
        """The evidence for a question, as :meth:`ask` uses it: queries, passages and confidence."""
        return self._evidence.retrieve(self._rewriter.plan(_checked(question), history))


def _checked(question: str) -> str:
    """A question as it can be searched for and written.

    Raises:
        WindowError: it is too long for a question.
    """
    if len(question) > QUESTION_CHARACTERS:
        raise WindowError(
            f"the question has {len(question):,} characters, and at most {QUESTION_CHARACTERS:,} are allowed:"
            " shorten it"
        )
    return readable(without_surrogates(question))


def _whole(answer: Answer) -> AnswerStream:
    """An answer that is there at once, as a stream."""
    yield answer.answer
    yield answer


def _with_evidence(answer: Answer, evidence: RetrievedEvidence, usage: Usage) -> Answer:
    return answer.model_copy(
        update={"queries": evidence.queries, "evidence": round(evidence.confidence, 3), "usage": usage}
    )
