"""The LangChain face of the search: a retriever for any chain."""

from __future__ import annotations

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict

from egosrag.rag.retrieve import Retriever


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


def retriever(search: Retriever, top_k: int) -> ManualRetriever:
    """A LangChain retriever over ``search``."""
    return ManualRetriever(retriever=search, top_k=top_k)
