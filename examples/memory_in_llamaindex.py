"""The memory of a session in LlamaIndex: what leaves the queue of a ``Memory`` stays in its block, as scenes."""

from llama_index.core.llms import ChatMessage
from llama_index.core.memory import Memory

from egosrag import load_chat_model
from egosrag.egos.memory_block import SessionMemoryBlock

block = SessionMemoryBlock(model=load_chat_model("pocket"), tokens=100)
memory = Memory.from_defaults(token_limit=100, token_flush_size=20, memory_blocks=[block])
for line in ("I am Ann, from Oslo.", "My code is 4711.", "I like the sea.", "The weather is fine.", "Who am I?"):
    memory.put(ChatMessage(role="user", content=line))
    memory.put(ChatMessage(role="assistant", content="I see, and what did you do there then? " * 2))
print(memory.get()[0].content)
