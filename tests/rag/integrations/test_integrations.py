"""Adapters for LlamaIndex and LangChain: retrievers, query and chat engines, Runnables, each other's retrievers."""

from __future__ import annotations

import asyncio

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever as LangChainRetriever
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.chat_engine.types import BaseChatEngine
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import CompactAndRefine
from llama_index.core.retrievers import BaseRetriever, QueryFusionRetriever
from llama_index.core.retrievers.fusion_retriever import FUSION_MODES

from egosrag.errors import ModelError, SettingsError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.rag.answer.engine import ManualEngine
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.integrations import langchain, llamaindex
from egosrag.schema import Answer, AnswerProgress

KEY = "智能钥匙在多远的距离内有效？"
SUPPORTED = "智能钥匙在25米以内有效[1]。"
BATTERY_LIFE = "钥匙电池大约可用三年[1]。"


def engine(index: ManualIndex, *responses: str) -> tuple[ManualEngine, ScriptedChatModel]:
    model = ScriptedChatModel(responses=list(responses))
    return ManualEngine(index, model), model


def test_the_source_nodes_of_a_query_engine_carry_pages(manuals: dict[str, ManualIndex]) -> None:
    manual, _ = engine(manuals["zh"], "胡说八道 99 秒。")
    query_engine = llamaindex.query_engine(manual)
    assert isinstance(query_engine, BaseQueryEngine)
    response = query_engine.query(KEY)
    assert "25米" in str(response)
    assert [node.metadata["page"] for node in response.source_nodes] == [2]
    assert response.metadata == {"refused": False, "mode": "quoted", "queries": [KEY]}


def test_the_llamaindex_retriever_returns_the_best_first(manuals: dict[str, ManualIndex]) -> None:
    retriever = llamaindex.ManualRetriever(engine(manuals["zh"])[0].retriever, top_k=3)
    assert isinstance(retriever, BaseRetriever)
    nodes = retriever.retrieve(KEY)
    assert nodes[0].metadata["page"] == 2
    assert [n.score for n in nodes] == sorted((n.score for n in nodes), reverse=True)


def test_llamaindexs_own_engines_take_the_retriever(manuals: dict[str, ManualIndex]) -> None:
    retriever = llamaindex.ManualRetriever(engine(manuals["zh"])[0].retriever, top_k=3)
    # Distances as similarities would come out worst first here.
    fused = QueryFusionRetriever(
        [retriever], llm=MockLLM(), num_queries=1, mode=FUSION_MODES.SIMPLE, similarity_top_k=3, use_async=False
    )
    assert fused.retrieve(KEY)[0].metadata["page"] == 2
    answered = RetrieverQueryEngine(retriever, CompactAndRefine(llm=MockLLM())).query(KEY)
    assert "25米" in str(answered)  # the fake repeats its prompt
    assert answered.source_nodes[0].metadata["page"] == 2


def test_the_chat_engine_understands_a_follow_up_from_its_history(manuals: dict[str, ManualIndex]) -> None:
    manual, model = engine(manuals["zh"], SUPPORTED, "智能钥匙的电池能用多久？", BATTERY_LIFE)
    chat = llamaindex.chat_engine(manual)
    assert isinstance(chat, BaseChatEngine)
    first = chat.chat(KEY)
    assert (str(first), first.source_nodes[0].metadata["page"]) == ("智能钥匙在25米以内有效。", 2)
    second = chat.chat("它的电池能用多久？")
    assert second.metadata and second.metadata["queries"] == ["智能钥匙的电池能用多久？", f"{KEY} 它的电池能用多久？"]
    assert "三年" in str(second)
    assert f"问：{KEY}\n答：智能钥匙在25米以内有效。" in str(model.calls[1].messages[-1].text)
    assert [m.role for m in chat.chat_history] == [MessageRole.USER, MessageRole.ASSISTANT] * 2
    chat.reset()
    assert chat.chat_history == []


def test_a_given_history_replaces_the_kept_one(manuals: dict[str, ManualIndex]) -> None:
    manual, model = engine(manuals["zh"], "机油要加多少升？", "4.6升。")
    history = [
        ChatMessage(role=MessageRole.SYSTEM, content="be brief"),
        ChatMessage(role=MessageRole.USER, content="发动机机油用什么型号？"),
        ChatMessage(role=MessageRole.ASSISTANT, content="0W-20。"),
    ]
    chat = llamaindex.chat_engine(manual)
    assert "4.6升" in str(chat.chat("要加多少？", chat_history=history))
    assert "0W-20" in str(model.calls[0].messages[-1].text)
    assert len(chat.chat_history) == 5


def test_the_chat_engine_has_the_passages_found_before_it_streams_and_then_its_citations(
    manuals: dict[str, ManualIndex],
) -> None:
    manual, _ = engine(manuals["zh"], (SUPPORTED + BATTERY_LIFE) * 2, SUPPORTED)
    chat = llamaindex.chat_engine(manual)
    response = chat.stream_chat(KEY)
    assert response.source_nodes[0].metadata["page"] == 2
    assert len(response.source_nodes) > 1
    pieces = list(response.response_gen)
    assert "".join(pieces) == str(response) == "智能钥匙在25米以内有效。钥匙电池大约可用三年。" * 2
    assert len(pieces) > 1
    assert {node.metadata["page"] for node in response.source_nodes} == {2}
    assert len(chat.chat_history) == 2

    async def talk() -> str:
        streamed = await chat.astream_chat(KEY)
        return "".join([piece async for piece in streamed.async_response_gen()])

    assert asyncio.run(talk()) == "智能钥匙在25米以内有效。"
    assert len(chat.chat_history) == 4


def test_a_failed_question_leaves_the_history_unchanged(manuals: dict[str, ManualIndex]) -> None:
    manual, _ = engine(manuals["zh"])
    chat = llamaindex.chat_engine(manual)
    with pytest.raises(ModelError):
        asyncio.run(chat.achat(KEY))
    assert chat.chat_history == []


def test_the_langchain_retriever_works_in_any_chain(manuals: dict[str, ManualIndex]) -> None:
    retriever = langchain.retriever(engine(manuals["en"])[0])
    question = "How many airbags does the car have?"
    documents = retriever.invoke(question)
    assert 7 in [document.metadata["page"] for document in documents[:3]]
    assert set(documents[0].metadata) == {"source", "page", "section", "start", "end", "score"}

    def shown(found: list[Document]) -> str:
        return "\n".join(document.page_content for document in found)

    model = ScriptedChatModel(responses=["Seven."])
    prompt = ChatPromptTemplate.from_template("{context}\n{question}")
    chain = {"context": retriever | shown, "question": RunnablePassthrough()} | prompt | model | StrOutputParser()
    assert chain.invoke(question) == "Seven."
    assert "seven airbags" in str(model.calls[0].messages[0].text)


def test_the_langchain_runnable_answers(manuals: dict[str, ManualIndex]) -> None:
    manual, _ = engine(manuals["zh"], SUPPORTED, "机油要加多少升？", "4.6升。", SUPPORTED + BATTERY_LIFE)
    chain = langchain.runnable(manual)
    assert isinstance(chain, Runnable)
    answer = chain.invoke(KEY)
    assert (answer.answer, answer.citations[0].page) == ("智能钥匙在25米以内有效。", 2)
    history = [HumanMessage("发动机机油用什么型号？"), AIMessage("0W-20。"), HumanMessage("喂？")]
    said = (chain | RunnableLambda(lambda found: found.answer)).invoke({"question": "要加多少？", "history": history})
    assert "4.6升" in said
    *pieces, last = chain.stream({"question": KEY, "history": []})
    assert isinstance(last, Answer)
    assert [piece.step for piece in pieces if isinstance(piece, AnswerProgress)] == ["searching", "found", "reading"]
    assert "".join(piece for piece in pieces if isinstance(piece, str)) == last.answer


def test_a_runnable_without_a_question_is_an_error(manuals: dict[str, ManualIndex]) -> None:
    with pytest.raises(SettingsError, match="question"):
        langchain.runnable(engine(manuals["zh"])[0]).invoke({"query": KEY})


def test_callbacks_are_passed_to_the_models_call(manuals: dict[str, ManualIndex]) -> None:
    from langchain_core.callbacks import BaseCallbackHandler

    class Heard(BaseCallbackHandler):
        started = 0

        def on_chat_model_start(self, *args: object, **kwargs: object) -> None:
            self.started += 1

    heard = Heard()
    langchain.runnable(engine(manuals["zh"], SUPPORTED)[0]).invoke(KEY, {"callbacks": [heard]})
    assert heard.started == 1


def test_each_library_takes_the_others_retriever(manuals: dict[str, ManualIndex]) -> None:
    mine = langchain.ManualRetriever(retriever=engine(manuals["zh"])[0].retriever, top_k=3)
    nodes = llamaindex.FromLangChain(mine).retrieve(KEY)
    documents = langchain.FromLlamaIndex(retriever=llamaindex.FromLangChain(mine)).invoke(KEY)
    assert [d.page_content for d in documents] == [n.node.get_content() for n in nodes]
    assert [d.page_content for d in documents] == [d.page_content for d in mine.invoke(KEY)]
    assert [d.metadata["score"] for d in documents] == [n.score for n in nodes]
    assert documents[0].metadata["page"] == 2


def test_a_retriever_without_scores_keeps_its_order() -> None:
    class Plain(LangChainRetriever):
        def _get_relevant_documents(self, query: str, **kwargs: object) -> list[Document]:
            return [Document(page_content=text) for text in ("first", "second", "third")]

    nodes = llamaindex.FromLangChain(Plain()).retrieve("x")
    assert [n.node.get_content() for n in nodes] == ["first", "second", "third"]
    assert [n.score for n in nodes] == [1.0, 1 / 2, 1 / 3]
