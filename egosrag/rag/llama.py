"""The LlamaIndex faces: a retriever and a query engine over the same index, model and checks.

LlamaIndex's own BM25 and FAISS parts are not under them: their tokenizer finds nothing in Chinese, and their
store gives distances as similarities (see the tests of this room).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_index.core.base.response.schema import Response
from llama_index.core.query_engine import CustomQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from pydantic import PrivateAttr

if TYPE_CHECKING:
    from egosrag.rag.engine import ManualEngine
    from egosrag.rag.retrieve import Retriever


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


class ManualQueryEngine(CustomQueryEngine):
    """Answers as :class:`ManualEngine` does: every sentence checked, its citations the source nodes."""

    _engine: ManualEngine = PrivateAttr()

    def __init__(self, engine: ManualEngine) -> None:
        super().__init__()
        self._engine = engine

    def custom_query(self, query_str: str) -> Response:
        """The checked answer; ``metadata`` says whether it was refused, and its mode."""
        answer = self._engine.ask(query_str)
        nodes = [
            NodeWithScore(node=TextNode(text=c.quote, metadata={"source": c.source, "page": c.page}), score=c.score)
            for c in answer.citations
        ]
        return Response(
            response=answer.answer, source_nodes=nodes, metadata={"refused": answer.refused, "mode": answer.mode}
        )


def query_engine(engine: ManualEngine) -> ManualQueryEngine:
    """A LlamaIndex query engine over ``engine``."""
    return ManualQueryEngine(engine)
