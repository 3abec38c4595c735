"""The manual as a tool of agents, and what its runnables and those of EGOS stream as events."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage, ToolMessage

from egosrag.egos.generate import Generate
from egosrag.egos.middleware import SessionMemory
from egosrag.egos.organize import Organize
from egosrag.egos.view import ConversationView
from egosrag.models.api import ApiChatModel
from egosrag.models.scripted import ScriptedChatModel
from egosrag.rag.answer.engine import ManualEngine
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.integrations import langchain, llamaindex
from egosrag.schema import Answer, Role, Turn
from tests.models.test_api import serve
from tests.models.tool_server import respond

KEY = "智能钥匙在多远的距离内有效？"
SUPPORTED = "智能钥匙在25米以内有效[1]。"


def engine(index: ManualIndex) -> ManualEngine:
    return ManualEngine(index, ScriptedChatModel(responses=[SUPPORTED] * 4))


def test_an_agent_calls_the_manual_and_reads_the_answer_with_its_page(manuals: dict[str, ManualIndex]) -> None:
    with serve() as server:
        server.respond = respond
        url = f"http://127.0.0.1:{server.server_port}/v1"
        model = ApiChatModel(model="m", base_url=url, api_key="sk-1")
        agent = create_agent(model, [langchain.tool(engine(manuals["zh"]))], middleware=[SessionMemory(model)])
        messages = agent.invoke({"messages": [HumanMessage(KEY)]})["messages"]
    result = next(message for message in messages if isinstance(message, ToolMessage))
    assert "25米" in str(result.content)
    assert ", p. 2: " in str(result.content)
    assert isinstance(result.artifact, Answer)
    assert messages[-1].text == "The spare wheel is under the boot."
    assert server.requests[0]["tools"][0]["function"]["name"] == "ask_manual"
    assert server.requests[1]["messages"][-1]["role"] == "tool"


def test_a_manual_that_does_not_answer_says_so_to_the_agent(manuals: dict[str, ManualIndex]) -> None:
    manual = ManualEngine(manuals["en"], ScriptedChatModel(responses=["The manual does not say."]))
    assert langchain.tool(manual).invoke({"question": "How do I open the sunroof?"}) == "The manual does not say."


def test_a_tool_has_the_name_that_it_is_given(manuals: dict[str, ManualIndex]) -> None:
    manual = engine(manuals["zh"])
    one = langchain.tool(manual, name="ask_car", description="About the car.")
    other = llamaindex.tool(manual, name="ask_car", description="About the car.")
    assert (one.name, one.description) == (other.metadata.name, "About the car.")
    assert list(one.args) == ["question"]


def test_llamaindexs_tool_answers_in_both_ways(manuals: dict[str, ManualIndex]) -> None:
    tool = llamaindex.tool(engine(manuals["zh"]))
    said = [str(tool.call(question=KEY)), str(asyncio.run(tool.acall(question=KEY)))]
    assert said[0] == said[1]
    assert ", p. 2: " in said[0]


async def events_of(runnable: Any, value: Any) -> list[dict[str, Any]]:
    return [event async for event in runnable.astream_events(value, version="v2")]


def test_the_steps_of_egos_stream_their_events() -> None:
    model = ScriptedChatModel(responses=['I am Tim, and you?"'])
    chain = Organize(model.count_tokens, 900) | Generate(model, model.count_tokens)
    view = ConversationView(Role(name="Tim"), (Turn(speaker="Me", text="Who are you?"),))
    events = asyncio.run(events_of(chain, view))
    ended = [event["name"] for event in events if event["event"] == "on_chain_end"]
    assert ended == ["Organize", "Generate", "RunnableSequence"]
    pieces = [event["data"]["chunk"].text for event in events if event["event"] == "on_chat_model_stream"]
    assert "".join(pieces) == 'I am Tim, and you?"'


def test_the_manuals_runnable_streams_its_events(manuals: dict[str, ManualIndex]) -> None:
    events = asyncio.run(events_of(langchain.runnable(engine(manuals["zh"])), KEY))
    assert any(event["event"] == "on_chat_model_stream" for event in events)
    assert isinstance(events[-1]["data"]["output"], Answer)
