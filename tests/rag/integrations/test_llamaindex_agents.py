"""LlamaIndex's Workflow agents with the manual as a tool and the memory of a session as a memory block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from llama_index.core.agent.workflow import (
    AgentOutput,
    AgentStream,
    AgentWorkflow,
    FunctionAgent,
    ReActAgent,
    ToolCall,
    ToolCallResult,
)
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, TextBlock, ToolCallBlock
from llama_index.core.llms import MockLLM
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.memory import Memory
from pydantic import Field, PrivateAttr

from egosrag.egos.memory_block import SessionMemoryBlock
from egosrag.models.scripted import ScriptedChatModel
from egosrag.rag.answer.engine import ManualEngine
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.integrations import llamaindex

KEY = "智能钥匙在多远的距离内有效？"
SUPPORTED = "智能钥匙在25米以内有效[1]。"


def call(question: str, tool: str = "ask_manual") -> ChatMessage:
    block = ToolCallBlock(tool_call_id="1", tool_name=tool, tool_kwargs={"question": question})
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=[block])


class Script(MockFunctionCallingLLM):
    """LlamaIndex's own fake of a model that calls tools; its messages are a script, and its prompts are kept."""

    script: list[ChatMessage]
    prompts: list[list[ChatMessage]] = Field(default_factory=list)

    def model_post_init(self, context: Any, /) -> None:
        super().model_post_init(context)
        self.response_generator = self._next

    def _next(self, messages: Sequence[ChatMessage], **settings: Any) -> ChatMessage:
        self.prompts.append(list(messages))
        return self.script.pop(0)


def says(text: str) -> ChatMessage:
    return ChatMessage(role=MessageRole.ASSISTANT, content=text)


@pytest.fixture
def manual(manuals: dict[str, ManualIndex]) -> ManualEngine:
    return ManualEngine(manuals["zh"], ScriptedChatModel(responses=[SUPPORTED] * 3))


def function_agent(llm: Script, manual: ManualEngine) -> FunctionAgent:
    return FunctionAgent(name="reader", description="Reads.", tools=[llamaindex.tool(manual)], llm=llm)


def workflow(llm: Script, manual: ManualEngine) -> AgentWorkflow:
    return AgentWorkflow(agents=[function_agent(llm, manual)], root_agent="reader")


@pytest.mark.parametrize("agent_of", [function_agent, workflow])
def test_an_agent_calls_the_manual_and_streams_what_it_does(
    manual: ManualEngine, agent_of: Callable[[Script, ManualEngine], Any]
) -> None:
    llm = Script(script=[call(KEY), says("25米（第2页）。")])

    async def run() -> tuple[list[Any], AgentOutput]:
        handler = agent_of(llm, manual).run(user_msg=KEY)
        return [event async for event in handler.stream_events()], await handler

    events, output = asyncio.run(run())
    assert str(output) == "25米（第2页）。"
    assert [event.tool_kwargs for event in events if type(event) is ToolCall] == [{"question": KEY}]
    (result,) = (event for event in events if isinstance(event, ToolCallResult))
    assert not result.tool_output.is_error
    lines = str(result.tool_output).splitlines()
    assert lines[0] == "智能钥匙在25米以内有效。"
    assert lines[1].startswith("[1] manual.zh.pdf, p. 2: ")
    assert "".join(event.delta for event in events if isinstance(event, AgentStream)) == "25米（第2页）。"
    assert (llm.prompts[-1][-1].role, llm.prompts[-1][-1].content) == (MessageRole.TOOL, str(result.tool_output))


@pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning")  # by their own agent
def test_an_agent_without_native_calls_reads_the_tools_words(manual: ManualEngine) -> None:
    class Reasoning(MockLLM):
        _script: list[str] = PrivateAttr(default_factory=list)
        _prompts: list[str] = PrivateAttr(default_factory=list)

        async def astream_chat(self, messages: Sequence[ChatMessage], **settings: Any) -> Any:
            self._prompts.append("\n".join(str(message.content) for message in messages))
            text = self._script.pop(0)

            async def pieces() -> Any:
                yield ChatResponse(message=says(text), delta=text)

            return pieces()

    llm = Reasoning()
    llm._script = [
        f'Thought: I ask the manual.\nAction: ask_manual\nAction Input: {{"question": "{KEY}"}}',
        "Thought: I can answer without using any more tools.\nAnswer: 25米。",
    ]
    agent = ReActAgent(tools=[llamaindex.tool(manual)], llm=llm, streaming=True)

    async def run() -> AgentOutput:
        return await agent.run(user_msg=KEY)  # type: ignore[no-any-return]

    assert str(asyncio.run(run())).strip() == "25米。"
    assert "Answers one complete question from the manual" in llm._prompts[0]
    assert "manual.zh.pdf, p. 2: " in llm._prompts[-1]


def test_a_failing_tool_is_an_error_that_the_agent_reads(manuals: dict[str, ManualIndex]) -> None:
    manual = ManualEngine(manuals["zh"], ScriptedChatModel(responses=[]))
    llm = Script(script=[call(KEY), says("现在不行。")])

    async def run() -> AgentOutput:
        return await function_agent(llm, manual).run(user_msg=KEY)  # type: ignore[no-any-return]

    assert str(asyncio.run(run())) == "现在不行。"
    assert "script" in str(llm.prompts[-1][-1].content)


def test_what_left_the_queue_of_an_agent_is_in_its_prompt(manual: ManualEngine) -> None:
    wordy = "好的，大海很大，浪花来来去去，日复一日，从不停歇。" * 3
    model = ScriptedChatModel(responses=["- 我叫小明，住在北京。"] * 9)
    block = SessionMemoryBlock(model=model, tokens=250)
    memory = Memory.from_defaults(
        session_id="1", token_limit=260, token_flush_size=40, memory_blocks=[block], tokenizer_fn=list
    )
    llm = Script(script=[says(wordy), call(KEY), says(wordy), says(wordy), says("小明。")])
    agent = function_agent(llm, manual)

    async def run() -> str:
        for line in ("我叫小明，住在北京。", KEY, "讲讲大海吧。", "我叫什么？"):
            output = await agent.run(user_msg=line, memory=memory)
        return str(output)

    assert asyncio.run(run()) == "小明。"
    prompt = llm.prompts[-1]
    assert prompt[0].role == MessageRole.SYSTEM
    shown = "\n".join(b.text for b in prompt[0].blocks if isinstance(b, TextBlock))
    assert "<earlier>" in shown
    assert "小明，住在北京" in shown
    said = [turn.text for turn in block.turns]
    assert said[:2] == ["我叫小明，住在北京。", wordy]
    assert any("manual.zh.pdf, p. 2: " in text for text in said), "what a tool answered is remembered too"
    assert {turn.speaker for turn in block.turns} == {"我", "助手"}
