"""The model's answer as it is streamed: its sentences are verified one by one and released when they are certain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from egosrag.models.usage import usage_of
from egosrag.prompts import load
from egosrag.rag.answer.answer_types import Verdict, lacks_price, verdict_of
from egosrag.rag.answer.citation_verifier import (
    CitationVerifier,
    VerifiedSentence,
    answer_sentences,
    join_sentences,
    unique_citations,
)
from egosrag.rag.refusals import is_refusal
from egosrag.rag.retrieval.lexical_overlap import Overlap
from egosrag.schema import Answer, AttributedSentence, Usage
from egosrag.text.language import language_of
from egosrag.text.words import without_question_words, words

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessageChunk, BaseMessage
    from langchain_core.runnables import RunnableConfig

Unsupported = Literal["drop", "mark"]
# Share of the overlap of the best excerpt that the quotes of the model's sentences must have to be about the question;
# and where they are below a heading that the question names: there the best excerpt may be about something else that
# is done in the same way ("set").
_RELEVANT_SHARE = 0.5
_RELEVANT_SHARE_BELOW_HEADING = 0.25


class Draft:
    """The answer that a model writes from the passages.

    Args:
        question: the question as the user asked it.
        verifier: verifies sentences against the passages that the model read.
        overlap: measures quotes against the question.
        best_overlap: the overlap of the best excerpt of the manual.
        unsupported: whether unsupported sentences are dropped, or kept with a mark.

    Attributes:
        text: the released text.
        refused: whether the model said that there is no answer.
        verdict: the yes or no that the text began with, where what followed it had no citation.
        usage: the tokens of the model's call, once it has ended.
    """

    def __init__(
        self,
        question: str,
        verifier: CitationVerifier,
        overlap: Overlap,
        best_overlap: float,
        unsupported: Unsupported = "drop",
    ) -> None:
        self.text = ""
        self.refused = False
        self.verdict: Verdict | None = None
        self.usage = Usage()
        self._verifier = verifier
        self._overlap = overlap
        self._best_overlap = best_overlap
        self._mark = load("unsupported", language_of(question)).text() if unsupported == "mark" else None
        self._question = question
        self._question_words = frozenset(words(question))
        self._raw = ""
        self._read = 0  # sentences of the raw text that were verified
        self._kept: list[VerifiedSentence] = []

    def generate(
        self,
        model: BaseChatModel,
        messages: Sequence[BaseMessage],
        config: RunnableConfig | None = None,
        max_new_tokens: int | None = None,
    ) -> Iterator[str]:
        """Stream the model's answer; yields text as soon as it is certain, and nothing where it does not answer.

        Args:
            model: any chat model.
            messages: the prompt.
            config: LangChain's, for the model's call.
            max_new_tokens: limit of the call; the model's own when None.

        Raises:
            ModelError: the model cannot answer.
        """
        from egosrag.models.continuation import continue_prefix  # LangChain, which a quoted manual does without

        message: AIMessageChunk | None = None
        limit: dict[str, Any] = {} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}
        for chunk in continue_prefix(model, messages, "", config=config, **limit):
            message = chunk if message is None else message + chunk
            if released := self.feed(str(chunk.text)):
                yield released
            if self.refused:
                break
        if released := self.feed("", last=True):
            yield released
        self.usage = usage_of(message)

    def feed(self, chunk: str, *, last: bool = False) -> str:
        """Read a chunk of the model's text; returns the text that became certain."""
        self._raw += chunk
        sentences = list(answer_sentences(self._raw))
        # The last sentence may continue, and the passage marks of the one before may still follow.
        for text, marks in sentences[self._read : len(sentences) if last else max(0, len(sentences) - 2)]:
            self._read += 1
            if self.refused:
                break
            citation = self._verifier.cite(text, marks)
            if citation:
                if self.verdict and not self._kept:  # "Yes." is supported by what supports the next sentence
                    self._kept.append(VerifiedSentence(self.verdict.text, citation))
                self._kept.append(VerifiedSentence(text, citation))
            elif not any(sentence.citation for sentence in self._kept) and is_refusal(text):
                self.refused = True
            elif self._read == 1 and (verdict := verdict_of(text)):
                self.verdict = verdict
            elif self._mark and not is_refusal(text):
                self._kept.append(VerifiedSentence(text + self._mark, None))
        if not self.text and not self._is_relevant():
            return ""
        whole = join_sentences([sentence.text for sentence in self._kept])
        released, self.text = whole[len(self.text) :], whole
        return released

    def _is_relevant(self) -> bool:
        """Whether the sentences answer: they say more than the question did, and their quotes are about it.

        Any number with a unit in a passage would support "The car costs 110 kW": a price has to be one.
        """
        supported = [sentence for sentence in self._kept if sentence.citation]
        new = (word for sentence in supported for word in words(without_question_words(sentence.text)))
        verdict = any(verdict_of(sentence.text) for sentence in supported)
        if not verdict and all(word in self._question_words for word in new):
            return False
        if not verdict and lacks_price(self._question, "\n".join(sentence.text for sentence in supported)):
            return False
        citations = [sentence.citation for sentence in supported if sentence.citation]
        named = any(self._verifier.is_below_named_heading(c.source, c.page, c.quote) for c in citations)
        share = _RELEVANT_SHARE_BELOW_HEADING if named else _RELEVANT_SHARE
        quotes = [self._verifier.in_context(c.source, c.page, c.quote) for c in citations]
        return self._overlap.of("\n".join(quotes)) >= share * self._best_overlap

    def answer(self) -> Answer:
        """The released text as an answer, each sentence with the index of its citation."""
        citations = unique_citations([sentence.citation for sentence in self._kept if sentence.citation])
        index = {(c.source, c.page, c.quote): n for n, c in enumerate(citations)}
        sentences = tuple(
            AttributedSentence(text=text, citation=index[c.source, c.page, c.quote] if c else None)
            for text, c in self._kept
        )
        return Answer(answer=self.text, refused=False, citations=citations, sentences=sentences)
