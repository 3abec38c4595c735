"""The two systems of report 6.3.2: the same model with the document and without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from egosrag.errors import WindowError
from evals.common.records import Record
from evals.rag.data import Manual

if TYPE_CHECKING:
    from egosrag import ManualEngine

WITH, WITHOUT = "w_document", "w/o_document"


class Models:
    """The chat model, loaded when it is first needed and once for both systems."""

    def __init__(self, name: str, sampling: dict[str, Any]) -> None:
        self.name, self._sampling = name, sampling
        self._loaded: Any = None

    def get(self) -> Any:
        """The model."""
        from egosrag import load_chat_model

        if self._loaded is None:
            self._loaded = load_chat_model(self.name, **self._sampling)
        return self._loaded


class WithDocument:
    """The target with the document: ``egosrag.ManualEngine``, with the options of its constructor."""

    def __init__(
        self, manuals: Sequence[Manual], models: Models, embedder: str | None, options: dict[str, Any]
    ) -> None:
        self._manuals = {one.name: one for one in manuals}
        self._models, self._embedder, self._options = models, embedder, options
        self._engines: dict[str, ManualEngine] = {}

    def __call__(self, inputs: Record) -> Record:
        """The checked answer, and how many of its quotes really stand on their pages."""
        from egosrag import ManualEngine, ManualIndex

        name = inputs["manual"]
        if name not in self._engines:
            index = ManualIndex.build(list(self._manuals[name].documents), embedder=self._embedder)
            self._engines[name] = ManualEngine(index, self._models.get(), **self._options)
        engine = self._engines[name]
        answer = engine.ask(inputs["question"], [(q, a) for q, a in inputs["history"]])
        return {
            "answer": answer.answer,
            "refused": answer.refused,
            "mode": answer.mode,
            "evidence": answer.evidence,
            "queries": list(answer.queries),
            "citations": [citation.model_dump() for citation in answer.citations],
            "stands": sum(c.quote in engine.index.page(c.source, c.page).text for c in answer.citations),
            "tokens": answer.usage.prompt_tokens + answer.usage.completion_tokens,
            "seconds": round(answer.timing.total_s, 3),
        }


class WithoutDocument:
    """The target without the document: the same model as the plain chatbot of report 5.1."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def __call__(self, inputs: Record) -> Record:
        """What the model says by itself; nothing where the question does not fit its window."""
        from egosrag import Chatbot

        bot = Chatbot(self._models.get())
        bot.pairs = [(q, a) for q, a in inputs["history"]]
        try:
            reply = bot.say(inputs["question"])
        except WindowError as error:
            return {"answer": "", "reason": str(error)}
        tokens = reply.usage.prompt_tokens + reply.usage.completion_tokens
        return {"answer": reply.text, "tokens": tokens, "seconds": round(reply.timing.total_s, 3)}
