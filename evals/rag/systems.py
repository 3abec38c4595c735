"""The two systems of report 6.3.2: the same model with the document and without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from egosrag.errors import WindowError
from evals.common.models import ModelSpec
from evals.common.records import Record
from evals.rag.questions import Manual, note

if TYPE_CHECKING:
    from egosrag import ManualEngine

WITH, WITHOUT = "w_document", "w/o_document"


@dataclass(frozen=True)
class EngineOptions:
    """Options of ``egosrag.ManualEngine``.

    Attributes:
        top_k: Passages that the model reads.
        condense: Rewrite a follow-up as a standalone question.
        decompose: Split a question that needs several facts.
        rewrites: Rounds, 0 to 3, of rewriting the query while too little is retrieved.
    """

    top_k: int = 5
    condense: bool = True
    decompose: bool = False
    rewrites: int = 0


class WithDocument:
    """The target with the document: ``egosrag.ManualEngine`` on an index of each manual."""

    def __init__(
        self, manuals: Sequence[Manual], model: ModelSpec, embedder: str | None, options: EngineOptions
    ) -> None:
        self._manuals = {one.name: one for one in manuals}
        self._model, self._embedder, self._options = model, embedder, options
        self._engines: dict[str, ManualEngine] = {}

    def _engine(self, manual: str) -> ManualEngine:
        from egosrag import ManualEngine, ManualIndex

        if manual not in self._engines:
            index = ManualIndex.build(list(self._manuals[manual].documents), embedder=self._embedder, on_skip=note)
            self._engines[manual] = ManualEngine(index, self._model.loaded, **asdict(self._options))
        return self._engines[manual]

    def __call__(self, inputs: Record) -> Record:
        """The verified answer; ``verified_quotes`` is the number of its quotes that really are on their pages.

        An empty one with the reason when the question exceeds the context window.
        """
        engine = self._engine(inputs["manual"])
        try:
            answer = engine.ask(inputs["question"], [(q, a) for q, a in inputs["history"]])
        except WindowError as error:
            note(f"{inputs['id']} counts as not answered: {error}")
            empty = {"answer": "", "refused": False, "mode": "failed", "evidence": None, "citations": []}
            return {**empty, "verified_quotes": 0, "reason": str(error)}
        return {
            "answer": answer.answer,
            "refused": answer.refused,
            "mode": answer.mode,
            "evidence": answer.evidence,
            "queries": list(answer.queries),
            "citations": [citation.model_dump() for citation in answer.citations],
            "verified_quotes": sum(c.quote in engine.index.page(c.source, c.page).text for c in answer.citations),
            "tokens": answer.usage.prompt_tokens + answer.usage.completion_tokens,
            "seconds": round(answer.timing.total_s, 3),
        }


class WithoutDocument:
    """The target without the document: the same model as the plain chatbot of report 5.1."""

    def __init__(self, model: ModelSpec) -> None:
        self._model = model

    def __call__(self, inputs: Record) -> Record:
        """The model's own answer; an empty one with the reason when the question exceeds the context window."""
        from egosrag import Chatbot

        bot = Chatbot(self._model.loaded)
        bot.pairs = [(q, a) for q, a in inputs["history"]]
        try:
            reply = bot.say(inputs["question"])
        except WindowError as error:
            note(f"{inputs['id']} counts as not answered without the document: {error}")
            return {"answer": "", "reason": str(error)}
        tokens = reply.usage.prompt_tokens + reply.usage.completion_tokens
        return {"answer": reply.text, "tokens": tokens, "seconds": round(reply.timing.total_s, 3)}
