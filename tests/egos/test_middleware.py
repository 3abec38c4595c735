"""The memory of a session as middleware of LangChain's ``create_agent``: nothing is lost, the prompt is short."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from egosrag.egos.middleware import SessionMemory
from egosrag.models.scripted import ScriptedChatModel
from egosrag.rag.retrieval.turn_memory import TurnMemory

SUMMARY = "- Me am called Ann and live in Oslo.\n- My code is 4711."
WORDY = "Well, the sea is wide and the waves come and go as they have done for ever and a day. " * 3
CONFIG: Any = {"configurable": {"thread_id": "1"}}


def old_messages() -> list[Any]:
    said = ["I am called Ann and I live in Oslo.", "My code is 4711.", "The weather is fine.", "Tell me of the sea."]
    pairs = [(HumanMessage(line, id=f"h{n}"), AIMessage(WORDY, id=f"a{n}")) for n, line in enumerate(said)]
    return [message for pair in pairs for message in pair]


def agent(*replies: str, **settings: Any) -> tuple[Any, ScriptedChatModel, ScriptedChatModel]:
    model, writer = ScriptedChatModel(responses=list(replies)), ScriptedChatModel(responses=[SUMMARY] * 20)
    memory = SessionMemory(writer, **{"window": 260, "keep_turns": 3, **settings})
    return create_agent(model, middleware=[memory], checkpointer=InMemorySaver()), model, writer


def prompt(model: ScriptedChatModel) -> str:
    return "\n".join(str(message.text) for message in model.calls[-1].messages)


def test_what_fits_is_sent_as_it_is() -> None:
    talk, model, writer = agent("Yes.", window=4000)
    talk.invoke({"messages": [*old_messages(), HumanMessage("Who am I?")]}, CONFIG)
    assert len(model.calls[-1].messages) == 9
    assert not writer.calls


def test_scenes_take_the_place_of_old_messages_and_the_state_keeps_all_of_them() -> None:
    talk, model, _ = agent("You are Ann.")
    state = talk.invoke({"messages": [*old_messages(), HumanMessage("Who am I?")]}, CONFIG)
    assert [message.text for message in state["messages"]][-2:] == ["Who am I?", "You are Ann."]
    assert len(state["messages"]) == 10
    assert "memory_scenes" not in state
    first, *rest = model.calls[-1].messages
    assert isinstance(first, HumanMessage)
    assert "Ann" in first.text
    assert "4711" in first.text
    assert len(rest) < 9
    assert rest[-1].text == "Who am I?"


def test_a_name_that_the_summary_lost_is_kept_word_for_word() -> None:
    model, writer = ScriptedChatModel(responses=["Yes."]), ScriptedChatModel(responses=["- They talked."] * 20)
    talk = create_agent(model, middleware=[SessionMemory(writer, window=260, keep_turns=3)])
    talk.invoke({"messages": [*old_messages(), HumanMessage("Who am I?")]})
    assert "Oslo" in prompt(model)
    assert "4711" in prompt(model)


def test_scenes_are_written_once_and_read_again_from_the_checkpoint() -> None:
    talk, model, writer = agent("One.", "Two.")
    talk.invoke({"messages": [*old_messages(), HumanMessage("Who am I?")]}, CONFIG)
    head, calls = model.calls[-1].messages[0].text, len(writer.calls)
    talk.invoke({"messages": [HumanMessage("And?")]}, CONFIG)
    assert len(writer.calls) == calls
    assert model.calls[-1].messages[0].text == head


def test_an_edited_message_is_summarized_anew() -> None:
    talk, model, writer = agent("One.", "Two.")
    talk.invoke({"messages": [*old_messages(), HumanMessage("Who am I?")]}, CONFIG)
    calls = len(writer.calls)
    assert "9999" not in prompt(model)
    talk.invoke({"messages": [HumanMessage("My code is 9999.", id="h1"), HumanMessage("And?")]}, CONFIG)
    assert len(writer.calls) > calls
    assert "9999" in prompt(model)


def test_a_deleted_message_is_forgotten() -> None:
    talk, model, _ = agent("One.", "Two.")
    talk.invoke({"messages": [*old_messages(), HumanMessage("Who am I?")]}, CONFIG)
    gone = [RemoveMessage(id=message.id) for message in old_messages()]
    talk.invoke({"messages": [*gone, HumanMessage("And?")]}, CONFIG)
    assert "Ann" not in prompt(model)


def test_the_result_of_a_tool_stays_with_its_call() -> None:
    model, writer = ScriptedChatModel(responses=["Yes."]), ScriptedChatModel(responses=[SUMMARY] * 20)
    call = {"name": "ask_manual", "args": {"question": "?"}, "id": "c1"}
    tools = [AIMessage("", tool_calls=[call], id="t"), ToolMessage("Under the boot.", tool_call_id="c1", id="r")]
    talk = create_agent(model, middleware=[SessionMemory(writer, window=200, keep_turns=1)])
    talk.invoke({"messages": [*old_messages(), HumanMessage("Where is the wheel?"), *tools]})
    sent = [message.id for message in model.calls[-1].messages]
    assert sent[-2:] == ["t", "r"]


def test_a_search_brings_an_old_message_back() -> None:
    talk, model, _ = agent("Yes.", search=TurnMemory())
    talk.invoke({"messages": [*old_messages(), HumanMessage("Tell me: is the weather fine?")]}, CONFIG)
    *_, recalled, line = model.calls[-1].messages
    assert "The weather is fine." in recalled.text
    assert line.text == "Tell me: is the weather fine?"


def test_it_is_the_same_asynchronously_and_in_chinese() -> None:
    model = ScriptedChatModel(responses=["你叫小明。"])
    writer = ScriptedChatModel(responses=["- 我叫小明，住在北京。"] * 20)
    said = ["我叫小明，住在北京。", "今天天气很好，我们去公园走走吧。", "给我讲讲大海的故事。"]
    messages = [
        m for line in said for m in (HumanMessage(line), AIMessage("好的，我知道了，大海很大，浪花来来去去。" * 3))
    ]
    talk = create_agent(model, middleware=[SessionMemory(writer, window=160, keep_turns=2)])
    state = asyncio.run(talk.ainvoke({"messages": [*messages, HumanMessage("我是谁？")]}))
    assert len(state["messages"]) == 8
    assert "小明" in model.calls[-1].messages[0].text
