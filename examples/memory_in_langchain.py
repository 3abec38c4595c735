"""The memory of a session in a LangChain agent: its state keeps every message, its prompt has scenes for old ones."""

from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver

from egosrag import load_chat_model
from egosrag.egos.middleware import SessionMemory

model = load_chat_model("pocket")
agent = create_agent(model, middleware=[SessionMemory(model, window=150)], checkpointer=InMemorySaver())
thread = {"configurable": {"thread_id": "1"}}
for line in ("I am Ann, from Oslo.", "My code is 4711.", "I like the sea.", "The weather is fine.", "Who am I?"):
    state = agent.invoke({"messages": [("user", line)]}, thread)
print(len(state["messages"]), "messages")
print([scene["text"] for scene in agent.get_state(thread).values["memory_scenes"]])
