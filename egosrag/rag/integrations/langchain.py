"""LangChain adapters: a retriever for any chain, a Runnable that answers, and LlamaIndex's retrievers for LangChain.

``langchain_community``'s own adapter for LlamaIndex calls methods that LlamaIndex no longer has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import CallbackManagerForChainRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import StructuredTool
from pydantic import ConfigDict

from egosrag.errors import SettingsError
from egosrag.rag.integrations.tools import TOOL_DESCRIPTION, TOOL_NAME, cited_text
from egosrag.rag.retrieval.search import Retriever
from egosrag.schema import Answer, AnswerProgress, Passage

if TYPE_CHECKING:
    from egosrag.rag.answer.engine import ManualEngine

#: a question, or ``{"question": ..., "history": ...}`` with (question, answer) pairs or messages
Question = str | Mapping[str, Any]


class ManualRetriever(BaseRetriever):
    """The passages of a manual as documents; metadata: source, page, section, start, end and score.

    ``top_k`` may also be given to a single call: ``retriever.invoke(question, top_k=3)``.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    retriever: Retriever
    top_k: int = 5

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, top_k: int | None = None
    ) -> list[Document]:
        return [
            Document(
                id=hit.passage.id,
                page_content=hit.passage.text,
                metadata={**metadata_of(hit.passage), "score": hit.score},
            )
            for hit in self.retriever.search(query, self.top_k if top_k is None else top_k)
        ]


def metadata_of(passage: Passage) -> dict[str, Any]:
    """What a document of a passage has as its metadata: its place, and what it was added with."""
    return {**(passage.metadata or {}), **passage.model_dump(exclude={"id", "text", "metadata"})}


class FromLlamaIndex(BaseRetriever):
    """Any LlamaIndex retriever as a LangChain retriever: nodes become documents, their scores metadata."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    retriever: Any

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [
            Document(
                id=hit.node.node_id,
                page_content=hit.node.get_content(),
                metadata={**hit.node.metadata, "score": hit.score},
            )
            for hit in self.retriever.retrieve(query)
        ]


class ManualRunnable(Runnable[Question, Answer]):
    """The engine as a Runnable; ``stream`` gives what :meth:`ManualEngine.stream` does."""

    def __init__(self, engine: ManualEngine) -> None:
        self._engine = engine

    def invoke(self, input: Question, config: RunnableConfig | None = None, **kwargs: Any) -> Answer:  # noqa: A002
        """The answer, as a traced run.

        Raises:
            SettingsError: the input is not a question.
            WindowError, ModelError: see :meth:`ManualEngine.ask`.
        """

        def traced(value: Question, run_manager: CallbackManagerForChainRun, config: RunnableConfig) -> Answer:
            return self._engine.ask(*_question_and_history(value), config=config)

        return self._call_with_config(traced, input, config)

    def stream(  # type: ignore[override]
        self,
        input: Question,  # noqa: A002
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[AnswerProgress | str | Answer]:
        """The steps with the pages found, the text as each sentence is verified, and last the ``Answer``."""
        yield from self._engine.stream(*_question_and_history(input), config=config)


def _question_and_history(value: Question) -> tuple[str, list[tuple[str, str]]]:
    if isinstance(value, str):
        return value, []
    question = value.get("question") if isinstance(value, Mapping) else None
    if not isinstance(question, str):
        raise SettingsError('the input is not a question: give a text, or {"question": ..., "history": [...]}')
    return question, _pairs_of(value.get("history") or [])


def _pairs_of(history: Sequence[Any]) -> list[tuple[str, str]]:
    """(question, answer) pairs as they are, or from a list of messages; messages without a counterpart are left out."""
    pairs, unanswered = list[tuple[str, str]](), None
    for item in history:
        if not isinstance(item, BaseMessage):
            question, answer = item
            pairs.append((str(question), str(answer)))
        elif isinstance(item, HumanMessage):
            unanswered = str(item.text)
        elif isinstance(item, AIMessage) and unanswered is not None:
            pairs.append((unanswered, str(item.text)))
            unanswered = None
    return pairs


def retriever(engine: ManualEngine) -> ManualRetriever:
    """The engine's search as a LangChain retriever, with its top-k."""
    return ManualRetriever(retriever=engine.retriever, top_k=engine.top_k)


def runnable(engine: ManualEngine) -> ManualRunnable:
    """The engine as a LangChain Runnable: a question, or a question with its history, to the ``Answer``."""
    return ManualRunnable(engine)


def tool(engine: ManualEngine, *, name: str = TOOL_NAME, description: str = TOOL_DESCRIPTION) -> StructuredTool:
    """The engine as a tool of an agent: the model reads the answer with its quotes, the artifact is the ``Answer``.

    Args:
        engine: the manual.
        name: of the tool; one for each manual.
        description: what the manual is about and when to ask it, for the model.
    """

    def ask(question: str) -> tuple[str, Answer]:
        answer = engine.ask(question)
        return cited_text(answer), answer

    async def ask_in_a_thread(question: str) -> tuple[str, Answer]:
        return await asyncio.to_thread(ask, question)

    return StructuredTool.from_function(
        ask, ask_in_a_thread, name=name, description=description, response_format="content_and_artifact"
    )
