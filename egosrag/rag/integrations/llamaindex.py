"""The LlamaIndex faces: a retriever, a query engine and a chat engine over the same index, model and checks.

LlamaIndex's own BM25 and FAISS parts are not under them: their tokenizer finds nothing in Chinese, and their
store gives distances as similarities (see the tests of this room).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from typing import TYPE_CHECKING

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole
from llama_index.core.base.response.schema import Response
from llama_index.core.chat_engine.types import AgentChatResponse, BaseChatEngine, StreamingAgentChatResponse
from llama_index.core.query_engine import CustomQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from pydantic import PrivateAttr

from egosrag.schema import Answer

if TYPE_CHECKING:
    from langchain_core.retrievers import BaseRetriever as LangChainRetriever

    from egosrag.rag.answer.engine import ManualEngine
    from egosrag.rag.retrieval.search import Retriever


class LlamaRetriever(BaseRetriever):
    """A manual's passages as scored nodes with the metadata source, page, section."""

    def __init__(self, search: Retriever, top_k: int = 5) -> None:
        super().__init__()
        self._search = search
        self._top_k = top_k

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [
            NodeWithScore(
                node=TextNode(
                    id_=hit.passage.id,
                    text=hit.passage.text,
                    metadata=hit.passage.model_dump(include={"source", "page", "section"}),
                ),
                score=hit.score,
            )
            for hit in self._search.search(query_bundle.query_str, self._top_k)
        ]


class FromLangChain(BaseRetriever):
    """Any LangChain retriever, for LlamaIndex; a document's ``score`` is its node's, else 1 over its rank."""

    def __init__(self, retriever: LangChainRetriever) -> None:
        super().__init__()
        self._inner = retriever

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        nodes = []
        for rank, found in enumerate(self._inner.invoke(query_bundle.query_str), 1):
            metadata = {key: value for key, value in found.metadata.items() if key != "score"}
            named = {"id_": found.id} if found.id else {}
            node = TextNode(text=found.page_content, metadata=metadata, **named)
            nodes.append(NodeWithScore(node=node, score=float(found.metadata.get("score", 1 / rank))))
        return nodes


class ManualQueryEngine(CustomQueryEngine):
    """Answers as :class:`ManualEngine` does: every sentence checked, its citations the source nodes."""

    _engine: ManualEngine = PrivateAttr()

    def __init__(self, engine: ManualEngine) -> None:
        super().__init__()
        self._engine = engine

    def custom_query(self, query_str: str) -> Response:
        """The checked answer; ``metadata`` says whether it was refused, its mode and what was searched for."""
        answer = self._engine.ask(query_str)
        return Response(response=answer.answer, source_nodes=_sources(answer), metadata=_about(answer))


class ManualChatEngine(BaseChatEngine):
    """Chats as :class:`ManualEngine` answers; follow-ups are understood from the history, which it keeps.

    A question that failed leaves the history as it was.
    """

    def __init__(self, engine: ManualEngine) -> None:
        self._engine = engine
        self._history: list[ChatMessage] = []

    @property
    def chat_history(self) -> list[ChatMessage]:
        """What was said, oldest first."""
        return list(self._history)

    def reset(self) -> None:
        """Forget what was said."""
        self._history = []

    def chat(self, message: str, chat_history: list[ChatMessage] | None = None) -> AgentChatResponse:
        """Answer, with the citations as source nodes; ``chat_history`` takes the place of what was said."""
        *_, answer = self._stream(message, chat_history)
        assert isinstance(answer, Answer)
        return AgentChatResponse(response=answer.answer, source_nodes=_sources(answer), metadata=_about(answer))

    def stream_chat(self, message: str, chat_history: list[ChatMessage] | None = None) -> StreamingAgentChatResponse:
        """Answer sentence by sentence (``response_gen``); the source nodes are there when the stream has ended."""
        response = StreamingAgentChatResponse(is_writing_to_memory=False)

        def deltas() -> Generator[ChatResponse, None, None]:
            for piece in self._stream(message, chat_history):
                if isinstance(piece, Answer):
                    response.source_nodes.extend(_sources(piece))
                    response.is_done = True
                else:
                    said = ChatMessage(role=MessageRole.ASSISTANT, content=piece)
                    yield ChatResponse(message=said, delta=piece)

        response.chat_stream = deltas()
        return response

    async def achat(self, message: str, chat_history: list[ChatMessage] | None = None) -> AgentChatResponse:
        """:meth:`chat` in a thread of its own."""
        return await asyncio.to_thread(self.chat, message, chat_history)

    async def astream_chat(
        self, message: str, chat_history: list[ChatMessage] | None = None
    ) -> StreamingAgentChatResponse:
        """:meth:`stream_chat`, for ``async_response_gen``; each sentence is made in a thread of its own."""
        response = self.stream_chat(message, chat_history)
        pieces = response.chat_stream
        assert pieces is not None

        async def deltas() -> AsyncGenerator[ChatResponse, None]:
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                yield piece

        response.achat_stream = deltas()
        return response

    def _stream(self, message: str, chat_history: Sequence[ChatMessage] | None) -> Iterator[str | Answer]:
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
    """The (question, answer) pairs of a LlamaIndex history; what is neither, or was not answered, is left out."""
    pairs, asked = list[tuple[str, str]](), None
    for message in messages:
        if message.role == MessageRole.USER:
            asked = message.content or ""
        elif message.role == MessageRole.ASSISTANT and asked is not None:
            pairs.append((asked, message.content or ""))
            asked = None
    return pairs


def _sources(answer: Answer) -> list[NodeWithScore]:
    return [
        NodeWithScore(node=TextNode(text=c.quote, metadata={"source": c.source, "page": c.page}), score=c.score)
        for c in answer.citations
    ]


def _about(answer: Answer) -> dict[str, object]:
    return {"refused": answer.refused, "mode": answer.mode, "queries": list(answer.queries)}


def query_engine(engine: ManualEngine) -> ManualQueryEngine:
    """A LlamaIndex query engine over ``engine``."""
    return ManualQueryEngine(engine)


def chat_engine(engine: ManualEngine) -> ManualChatEngine:
    """A LlamaIndex chat engine over ``engine``."""
    return ManualChatEngine(engine)
