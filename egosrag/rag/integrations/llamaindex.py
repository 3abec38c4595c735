"""LlamaIndex adapters: a retriever, a query engine and a chat engine over the same index, model and verification.

They do not use LlamaIndex's own BM25 and FAISS parts: its tokenizer finds nothing in Chinese, and its store returns
distances as similarities.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole
from llama_index.core.base.response.schema import Response
from llama_index.core.chat_engine.types import AgentChatResponse, BaseChatEngine, StreamingAgentChatResponse
from llama_index.core.query_engine import CustomQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.tools import FunctionTool
from pydantic import PrivateAttr

from egosrag.rag.integrations.tools import TOOL_DESCRIPTION, TOOL_NAME, cited_text
from egosrag.schema import Answer, AnswerProgress, Passage

if TYPE_CHECKING:
    from langchain_core.retrievers import BaseRetriever as LangChainRetriever

    from egosrag.rag.answer.engine import ManualEngine
    from egosrag.rag.retrieval.search import Retriever


class ManualRetriever(BaseRetriever):
    """The passages of a manual as scored nodes; metadata: source, page and section."""

    def __init__(self, search: Retriever, top_k: int = 5) -> None:
        super().__init__()
        self._search = search
        self._top_k = top_k

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [
            NodeWithScore(node=_node(hit.passage), score=hit.score)
            for hit in self._search.search(query_bundle.query_str, self._top_k)
        ]


class FromLangChain(BaseRetriever):
    """Any LangChain retriever as a LlamaIndex retriever; a node's score is its document's ``score``, else 1 / rank."""

    def __init__(self, retriever: LangChainRetriever) -> None:
        super().__init__()
        self._inner = retriever

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        nodes = []
        for rank, document in enumerate(self._inner.invoke(query_bundle.query_str), 1):
            metadata = {key: value for key, value in document.metadata.items() if key != "score"}
            identity = {"id_": document.id} if document.id else {}
            node = TextNode(text=document.page_content, metadata=metadata, **identity)
            nodes.append(NodeWithScore(node=node, score=float(document.metadata.get("score", 1 / rank))))
        return nodes


class ManualQueryEngine(CustomQueryEngine):
    """The engine as a query engine: every sentence verified, the citations as source nodes."""

    _engine: ManualEngine = PrivateAttr()

    def __init__(self, engine: ManualEngine) -> None:
        super().__init__()
        self._engine = engine

    def custom_query(self, query_str: str) -> Response:
        """The verified answer; ``metadata`` has ``refused``, ``mode`` and ``queries``."""
        answer = self._engine.ask(query_str)
        return Response(response=answer.answer, source_nodes=_source_nodes(answer), metadata=_metadata(answer))

    async def acustom_query(self, query_str: str) -> Response:
        """:meth:`custom_query`, in a thread."""
        return await asyncio.to_thread(self.custom_query, query_str)


class ManualChatEngine(BaseChatEngine):
    """The engine as a chat engine, which keeps the history for follow-ups.

    A question that fails leaves the history unchanged.
    """

    def __init__(self, engine: ManualEngine) -> None:
        self._engine = engine
        self._history: list[ChatMessage] = []

    @property
    def chat_history(self) -> list[ChatMessage]:
        """The messages so far, oldest first."""
        return list(self._history)

    def reset(self) -> None:
        """Clear the history."""
        self._history = []

    def chat(self, message: str, chat_history: list[ChatMessage] | None = None) -> AgentChatResponse:
        """Answer, with the citations as source nodes; ``chat_history`` replaces the history."""
        *_, answer = self._stream(message, chat_history)
        assert isinstance(answer, Answer)
        nodes = _source_nodes(answer)
        return AgentChatResponse(response=answer.answer, source_nodes=nodes, metadata=_metadata(answer))

    def stream_chat(self, message: str, chat_history: list[ChatMessage] | None = None) -> StreamingAgentChatResponse:
        """Answer sentence by sentence (``response_gen``).

        The source nodes are the passages found, and when the stream has ended the citations.
        """
        response = StreamingAgentChatResponse(is_writing_to_memory=False)
        pieces = self._stream(message, chat_history)
        first = next(pieces)
        while isinstance(first, AnswerProgress) and first.step == "searching":
            first = next(pieces)

        def deltas() -> Generator[ChatResponse, None, None]:
            for piece in chain([first], pieces):
                if isinstance(piece, Answer):
                    response.source_nodes[:] = _source_nodes(piece)
                    response.is_done = True
                elif isinstance(piece, str):
                    yield ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content=piece), delta=piece)

        if isinstance(first, AnswerProgress):
            response.source_nodes.extend(NodeWithScore(node=_node(passage)) for passage in first.passages)
        response.chat_stream = deltas()
        return response

    async def achat(self, message: str, chat_history: list[ChatMessage] | None = None) -> AgentChatResponse:
        """:meth:`chat`, in a thread."""
        return await asyncio.to_thread(self.chat, message, chat_history)

    async def astream_chat(
        self, message: str, chat_history: list[ChatMessage] | None = None
    ) -> StreamingAgentChatResponse:
        """:meth:`stream_chat` for ``async_response_gen``; each sentence is computed in a thread."""
        response = await asyncio.to_thread(self.stream_chat, message, chat_history)
        pieces = response.chat_stream
        assert pieces is not None

        async def deltas() -> AsyncGenerator[ChatResponse, None]:
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                yield piece

        response.achat_stream = deltas()
        return response

    def _stream(
        self, message: str, chat_history: Sequence[ChatMessage] | None
    ) -> Iterator[AnswerProgress | str | Answer]:
        if chat_history is not None:
            self._history = list(chat_history)
        for piece in self._engine.stream(message, pairs_of(self._history)):
            if isinstance(piece, Answer):
                self._history += [
                    ChatMessage(role=MessageRole.USER, content=message),
                    ChatMessage(role=MessageRole.ASSISTANT, content=piece.answer),
                ]
            yield piece


def pairs_of(messages: Sequence[ChatMessage]) -> list[tuple[str, str]]:
    """The (question, answer) pairs of a LlamaIndex history; system messages and unanswered questions are left out."""
    pairs, unanswered = list[tuple[str, str]](), None
    for message in messages:
        if message.role == MessageRole.USER:
            unanswered = message.content or ""
        elif message.role == MessageRole.ASSISTANT and unanswered is not None:
            pairs.append((unanswered, message.content or ""))
            unanswered = None
    return pairs


def _node(passage: Passage) -> TextNode:
    metadata = passage.model_dump(include={"source", "page", "section"})
    return TextNode(id_=passage.id, text=passage.text, metadata=metadata)


def _source_nodes(answer: Answer) -> list[NodeWithScore]:
    return [
        NodeWithScore(node=TextNode(text=c.quote, metadata={"source": c.source, "page": c.page}), score=c.score)
        for c in answer.citations
    ]


def _metadata(answer: Answer) -> dict[str, object]:
    return {"refused": answer.refused, "mode": answer.mode, "queries": list(answer.queries)}


def retriever(engine: ManualEngine) -> ManualRetriever:
    """The engine's search as a LlamaIndex retriever, with its top-k."""
    return ManualRetriever(engine.retriever, engine.top_k)


def query_engine(engine: ManualEngine) -> ManualQueryEngine:
    """The engine as a LlamaIndex query engine; its source nodes carry source, page, quote and score."""
    return ManualQueryEngine(engine)


def chat_engine(engine: ManualEngine) -> ManualChatEngine:
    """The engine as a LlamaIndex chat engine, which keeps the history."""
    return ManualChatEngine(engine)


def tool(engine: ManualEngine, *, name: str = TOOL_NAME, description: str = TOOL_DESCRIPTION) -> FunctionTool:
    """The engine as a tool of a LlamaIndex agent: the model reads the answer with its quotes and their pages.

    Args:
        engine: the manual.
        name: of the tool; one for each manual.
        description: what the manual is about and when to ask it, for the model.
    """

    def ask(question: str) -> str:
        return cited_text(engine.ask(question))

    async def ask_in_a_thread(question: str) -> str:
        return await asyncio.to_thread(ask, question)

    return FunctionTool.from_defaults(ask, async_fn=ask_in_a_thread, name=name, description=description)
