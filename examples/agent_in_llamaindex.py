"""A Workflow agent of LlamaIndex that asks the manual, and whose memory keeps what leaves its queue.

The agent's model is a script here, as pocket calls no tools; yours is any LLM of LlamaIndex that does.
"""

import asyncio

from llama_index.core.agent.workflow import FunctionAgent, ToolCallResult
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.memory import Memory

from egosrag import ManualEngine, ManualIndex, load_chat_model
from egosrag.egos.memory_block import SessionMemoryBlock
from egosrag.rag.integrations.llamaindex import tool

question = "Where is the release lever of the hood?"
call = ToolCallBlock(tool_call_id="1", tool_name="ask_manual", tool_kwargs={"question": question})
script = [ChatMessage(role="assistant", blocks=[call]), ChatMessage(role="assistant", content="Beside your knee.")]
llm = MockFunctionCallingLLM(response_generator=lambda messages, **settings: script.pop(0))

model = load_chat_model("pocket")
manual = ManualEngine(ManualIndex.build(["egosrag/data/samples/manual.en.pdf"]), model)
agent = FunctionAgent(tools=[tool(manual)], llm=llm)
memory = Memory.from_defaults(session_id="ann", memory_blocks=[SessionMemoryBlock(model=model)])


async def main() -> None:
    """Ask the agent, and show what it does while it does it."""
    run = agent.run(user_msg=question, memory=memory)
    async for event in run.stream_events():
        if isinstance(event, ToolCallResult):
            print(event.tool_output)
    print(await run)


asyncio.run(main())
