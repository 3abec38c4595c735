"""LangChain's standard tests of retrievers and vector stores (``langchain-tests``), for the manual's."""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import Any

import pytest
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests

from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.integrations.langchain import ManualRetriever
from egosrag.rag.integrations.vector_store import ManualVectorStore
from egosrag.rag.retrieval.search import Retriever
from tests.conftest import SAMPLES

for _test in [*vars(RetrieversIntegrationTests).values(), *vars(VectorStoreIntegrationTests).values()]:
    if iscoroutinefunction(_test):
        pytest.mark.asyncio(_test)


@pytest.fixture(scope="module")
def search() -> Retriever:
    return Retriever(ManualIndex.build([SAMPLES / "manual.en.pdf"]))


class TestManualRetriever(RetrieversIntegrationTests):
    search: Retriever

    @pytest.fixture(autouse=True)
    def _search(self, search: Retriever) -> None:
        self.search = search

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return ManualRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"retriever": self.search}

    @property
    def retriever_query_example(self) -> str:
        return "Where is the spare wheel?"

    @property
    def num_results_arg_name(self) -> str:
        return "top_k"


class TestManualVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> VectorStore:
        return ManualVectorStore(self.get_embeddings())
