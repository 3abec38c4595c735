"""The LangChain faces: a retriever for any chain, a Runnable that answers, and LlamaIndex's retrievers for LangChain.

``langchain_community``'s own adapter calls methods that LlamaIndex no longer has (see the tests of this room).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import CallbackManagerForChainRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import ConfigDict

from egosrag.errors import SettingsError
from egosrag.rag.retrieval.search import Retriever
from egosrag.schema import Answer

if TYPE_CHECKING:
    from egosrag.rag.answer.engine import ManualEngine

#: a question, or ``{"question": ..., "history": ...}`` with (question, answer) pairs or messages
Question = str | Mapping[str, Any]


class ManualRetriever(BaseRetriever):
    """A manual's passages as documents with the metadata source, page, section, start, end and score."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    retriever: Retriever
    top_k: int = 5

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [
            Document(
                id=hit.passage.id,
                page_content=hit.passage.text,
                metadata={**hit.passage.model_dump(exclude={"id", "text"}), "score": hit.score},
            )
            for hit in self.retriever.search(query, self.top_k)
        ]


class FromLlamaIndex(BaseRetriever):
    """Any LlamaIndex retriever, for LangChain: its nodes as documents, their scores in the metadata."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    retriever: Any

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [
            Document(
                id=found.node.node_id,
                page_content=found.node.get_content(),
                metadata={**found.node.metadata, "score": found.score},
            )
            for found in self.retriever.retrieve(query)
        ]


class ManualChain(Runnable[Question, Answer]):
    """Answers as :class:`ManualEngine` does; ``stream`` gives the checked text in pieces, then the ``Answer``."""

    def __init__(self, engine: ManualEngine) -> None:
        self._engine = engine

    def invoke(self, input: Question, config: RunnableConfig | None = None, **kwargs: Any) -> Answer:  # noqa: A002
        """The answer, as a traced run.

        Raises:
            SettingsError: the input is no question.
            WindowError, ModelError: see :meth:`ManualEngine.ask`.
        """

        def traced(value: Question, run_manager: CallbackManagerForChainRun, config: RunnableConfig) -> Answer:
            return self._engine.ask(*_asked(value), config=config)

        return self._call_with_config(traced, input, config)

    def stream(  # type: ignore[override]
        self,
        input: Question,  # noqa: A002
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[str | Answer]:
        """The pieces of the answer's text as each sentence is checked, then the ``Answer``."""
        yield from self._engine.stream(*_asked(input), config=config)


def _asked(value: Question) -> tuple[str, list[tuple[str, str]]]:
    if isinstance(value, str):
        return value, []
    question = value.get("question") if isinstance(value, Mapping) else None
    if not isinstance(question, str):
        raise SettingsError('the input is no question: give a text, or {"question": ..., "history": [...]}')
    return question, _pairs(value.get("history") or [])


def _pairs(history: Sequence[Any]) -> list[tuple[str, str]]:
    """(question, answer) pairs as they are, or those of a list of messages; a message without its pair is left out."""
    pairs, asked = list[tuple[str, str]](), None
    for item in history:
        if not isinstance(item, BaseMessage):
            question, answer = item
            pairs.append((str(question), str(answer)))
        elif isinstance(item, HumanMessage):
            asked = str(item.text)
        elif isinstance(item, AIMessage) and asked is not None:
            pairs.append((asked, str(item.text)))
            asked = None
    return pairs


def retriever(search: Retriever, top_k: int) -> ManualRetriever:
    """A LangChain retriever over ``search``."""
    return ManualRetriever(retriever=search, top_k=top_k)


def runnable(engine: ManualEngine) -> ManualChain:
    """A LangChain Runnable over ``engine``."""
    return ManualChain(engine)
