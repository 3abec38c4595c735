"""One memory for LangGraph and a role: what a graph puts, the role knows; what the role was told, a graph finds."""

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.base import BaseStore

from egosrag import Conversation, load_chat_model, load_role
from egosrag.assemble import reviser_for
from egosrag.sessions.memory_store import SessionMemoryStore, namespace_of

ann = namespace_of("Edda", "ann")


def answer(state: MessagesState, *, store: BaseStore) -> dict:
    """What is remembered about the last message; `create_agent(store=...)` hands the store to its tools likewise."""
    found = store.search(ann, query=state["messages"][-1].text)
    return {"messages": [("ai", found[0].value["text"])]}


sessions = InMemorySaver()  # or open_store("talk.sqlite"), open_store("postgresql://..."): durable
graph = StateGraph(MessagesState).add_node(answer).add_edge(START, "answer")
app = graph.compile(store=SessionMemoryStore(sessions))
app.store.put(ann, "boat", {"text": "Ann's boat is called Tern."})

model = load_chat_model("pocket")
edda = Conversation(model, load_role("edda"), checkpointer=sessions, session="ann", reviser=reviser_for(model))
edda.say("Remember this: I am allergic to nuts.")
print([memory.text for memory in edda.memories()])
print(app.invoke({"messages": [("user", "What is the boat called?")]})["messages"][-1].text)
print(app.invoke({"messages": [("user", "Who is allergic to nuts?")]})["messages"][-1].text)
