"""What conversations remember as a LangGraph ``BaseStore``: the same lines for roles, graphs and agents."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.tools import ToolRuntime, tool
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore, GetOp, InvalidNamespaceError, PutOp
from langgraph.store.memory import InMemoryStore
from typer.testing import CliRunner

from egosrag import Conversation
from egosrag.cli.main import app
from egosrag.errors import SessionError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Role
from egosrag.sessions.catalog import archive_of, restore
from egosrag.sessions.memory_store import MAX_PINS, SessionMemoryStore, namespace_of
from egosrag.sessions.store import open_store
from tests.roles.cards import TIM, WUKONG
from tests.sessions.test_memories import prompt, summarized, talk_with

HERE = namespace_of("Tim", "s")


@pytest.fixture
def sessions(any_store: str) -> Iterator[Any]:
    """The store of the sessions: a file, and then a database."""
    with open_store(any_store) as opened:
        yield opened


@pytest.fixture
def memories() -> SessionMemoryStore:
    return SessionMemoryStore(InMemorySaver())


def texts(found: list[Any]) -> list[str]:
    return [item.value["text"] for item in found]


# --- one memory for roles and graphs ---------------------------------------------------------------------------------


def test_what_a_graph_puts_the_role_knows_and_keeps(sessions: Any) -> None:
    store = SessionMemoryStore(sessions)
    store.put(HERE, "boat", {"text": "Ann's boat is called Tern", "kind": "fact"})
    talk = talk_with(sessions)
    assert "Never forget:\n- Ann's boat is called Tern." in prompt(talk)
    assert [(memory.id, memory.pinned) for memory in talk.memories()] == [("boat", True)]
    assert store.get(HERE, "boat").value == {"text": "Ann's boat is called Tern", "kind": "fact"}  # type: ignore[union-attr]


def test_what_is_said_and_summarized_a_graph_finds(sessions: Any) -> None:
    talk = summarized(sessions)
    talk.say("Remember this: my boat is called Tern")
    store = SessionMemoryStore(sessions)
    pin, *scenes = store.search(HERE)
    assert pin.value == {
        "text": "my boat is called Tern.",
        "pinned": True,
        "from": ["Me: Remember this: my boat is called Tern"],
    }
    assert texts(scenes) == [scene.text for scene in talk.view.visible_scenes]
    assert texts(store.search(HERE, filter={"pinned": False})) == texts(scenes)
    assert pin.created_at == datetime.fromisoformat(talk.memories()[0].turns[0].at)


def test_it_is_there_for_another_process(any_store: str) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    with open_store(any_store) as opened:
        SessionMemoryStore(opened).put(HERE, "boat", {"text": "The boat is called Tern."})
    with open_store(any_store) as opened:
        item = SessionMemoryStore(opened).get(HERE, "boat")
    assert item and item.value == {"text": "The boat is called Tern."}
    assert before <= item.created_at <= datetime.now(UTC)


def test_the_command_line_lists_it_before_the_first_line(tmp_path: Path) -> None:
    with open_store(tmp_path / "s.sqlite") as opened:
        SessionMemoryStore(opened).put(HERE, "boat", {"text": "The boat is called Tern."})
    listed = CliRunner().invoke(app, ["sessions", "memory", "s", "--store", str(tmp_path / "s.sqlite")])
    assert "The boat is called Tern." in listed.output
    other = CliRunner().invoke(app, ["sessions", "memory", "t", "--store", str(tmp_path / "s.sqlite")])
    assert (other.exit_code, "there is no session 't'" in str(other.exception)) == (1, True)


def test_a_line_that_the_user_corrects_keeps_its_key_and_its_other_fields(sessions: Any) -> None:
    store = SessionMemoryStore(sessions)
    store.put(HERE, "boat", {"kind": "Memory", "content": {"content": "The boat is called Tern.", "from": "Ann"}})
    talk_with(sessions).edit_memory("boat", "The boat is called Gull")
    item = store.get(HERE, "boat")
    assert item and item.value == {"kind": "Memory", "content": {"content": "The boat is called Gull.", "from": "Ann"}}
    talk_with(sessions).forget("boat")
    assert store.search(HERE) == []


def test_a_value_on_a_scene_stays_in_its_place(sessions: Any) -> None:
    talk = summarized(sessions)
    store = SessionMemoryStore(sessions)
    scene = store.search(HERE)[0]
    store.put(HERE, scene.key, {**scene.value, "text": "It rained for a week."})
    assert store.get(HERE, scene.key).value["text"] == "It rained for a week."  # type: ignore[union-attr]
    first, *others = talk.memories()
    assert (first.text, first.pinned) == ("It rained for a week.", True)
    assert first.turns and scene.value["text"] not in [memory.text for memory in others]
    store.delete(HERE, scene.key)
    assert scene.key not in [item.key for item in store.search(HERE, limit=99)]


def test_values_are_stored_as_json(sessions: Any) -> None:
    store = SessionMemoryStore(sessions)
    day = datetime(2026, 5, 1, 8, 15, tzinfo=UTC)
    store.put(HERE, "k\ud800", {"text": "We meet\nat \ud8008:15", "at": day, "who": ("Ann", "Tim"), "n": 1.5})
    (item,) = store.search(HERE)
    assert {**item.value, "text": ""} == {"text": "", "at": "2026-05-01T08:15:00Z", "who": ["Ann", "Tim"], "n": 1.5}
    assert "\n- We meet at " in prompt(talk_with(sessions))
    with pytest.raises(SessionError, match="a value to remember is JSON, and this one is not"):
        store.put(HERE, "other", {"text": "x", "of": object()})


def test_a_carried_conversation_takes_its_values_along(sessions: Any) -> None:
    store = SessionMemoryStore(sessions)
    store.put(HERE, "boat", {"text": "The boat is called Tern.", "by": "Ann"})
    talk_with(sessions).say("Hello.")
    restore(sessions, archive_of(sessions, "s"), "other")
    assert store.get(namespace_of("Tim", "other"), "boat").value["by"] == "Ann"  # type: ignore[union-attr]


def test_more_than_fits_does_not_crowd_out_the_conversation(sessions: Any) -> None:
    store = SessionMemoryStore(sessions)
    for number in range(60):
        store.put(HERE, str(number), {"text": f"Fact {number} is that it rained for a long while in the long street."})
    noted: list[str] = []
    talk = talk_with(sessions, window=420, notify=noted.append)
    shown = prompt(talk)
    assert "Fact 0 " in shown
    assert "Fact 59 " not in shown
    assert "And now?" in shown
    assert any("not all that is pinned fits the prompt" in line for line in noted)
    assert len(talk.memories()) == 60


# --- LangGraph's contract --------------------------------------------------------------------------------------------


def test_search_finds_by_words_best_first(memories: SessionMemoryStore) -> None:
    both, boat, nuts = "The nuts are in the boat.", "The boat is called Tern.", "Ann is allergic to nuts."
    for text in (boat, nuts, "The harbour closes at eight.", both):
        memories.put(HERE, text, {"text": text})
    found = memories.search(HERE, query="Which nuts are in which boat?")
    assert texts(found)[0] == both
    assert {*texts(found)} == {both, boat, nuts}
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
    assert all(0 < hit.score <= 1 for hit in found)
    assert memories.search(HERE, query="weather") == []
    assert memories.search(HERE, query="nuts", limit=1, offset=1) == memories.search(HERE, query="nuts")[1:2]
    # LangGraph: a key is one of its own namespace alone.
    assert memories.get(("memories", "Tim"), boat) is None


def test_search_finds_chinese(memories: SessionMemoryStore) -> None:
    there = namespace_of("孙悟空", "取经")
    for key, text in enumerate(["师父怕打雷。", "八戒喜欢吃西瓜。", "行李由沙僧挑着。"]):
        memories.put(there, str(key), {"text": text})
    assert texts(memories.search(there, query="谁喜欢西瓜？")) == ["八戒喜欢吃西瓜。"]
    assert texts(memories.search(("memories", "孙悟空"), query="师父怕什么？")) == ["师父怕打雷。"]


def test_a_prefix_is_of_a_role_or_of_all(memories: SessionMemoryStore) -> None:
    for role, session in (("Tim", "1"), ("Tim", "2"), ("Dr. Watson", "3%")):
        memories.put(namespace_of(role, session), "k", {"text": f"{role} {session}"})
    assert texts(memories.search(("memories", "Tim"))) == ["Tim 1", "Tim 2"]
    assert len(memories.search(("memories",))) == len(memories.search(())) == 3
    assert memories.search(("memories", "Ti")) == memories.search(("memories", "Tim", "1", "x")) == []
    watson = namespace_of("Dr. Watson", "3%")
    assert memories.list_namespaces() == [watson, namespace_of("Tim", "1"), namespace_of("Tim", "2")]
    assert memories.list_namespaces(max_depth=2) == [watson[:2], ("memories", "Tim")]
    assert memories.list_namespaces(prefix=("memories", "*", "2")) == [namespace_of("Tim", "2")]
    assert memories.list_namespaces(limit=1, offset=1) == [namespace_of("Tim", "1")]
    assert memories.get(watson, "k").value == {"text": "Dr. Watson 3%"}  # type: ignore[union-attr]


def test_a_batch_reads_what_was_there_before_its_puts(memories: SessionMemoryStore) -> None:
    put, get = PutOp(HERE, "k", {"text": "One."}), GetOp(HERE, "k")
    assert memories.batch([put, get, PutOp(HERE, "k", {"text": "Two."})]) == [None, None, None]
    assert memories.batch([get])[0].value == {"text": "Two."}  # type: ignore[union-attr]
    memories.delete(HERE, "k")
    memories.delete(HERE, "k")
    memories.delete(namespace_of("Tim", "never"), "k")
    assert memories.batch([get]) == [None]
    assert memories.list_namespaces() == []


def test_it_works_without_waiting_in_an_event_loop(sessions: Any) -> None:
    store = SessionMemoryStore(sessions)

    async def use() -> list[str]:
        await asyncio.gather(*(store.aput(HERE, str(n), {"text": f"Fact {n}."}) for n in range(4)))
        await store.adelete(HERE, "0")
        assert (await store.aget(HERE, "1")).value == {"text": "Fact 1."}  # type: ignore[union-attr]
        assert await store.alist_namespaces() == [HERE]
        return texts(await store.asearch(HERE, query="fact"))

    assert sorted(asyncio.run(use())) == ["Fact 1.", "Fact 2.", "Fact 3."]


def test_other_namespaces_are_in_another_store() -> None:
    store = SessionMemoryStore(InMemorySaver(), others=InMemoryStore())
    store.put(HERE, "boat", {"text": "The boat is called Tern."})
    store.put(("users", "ann"), "theme", {"dark": True})
    assert store.get(("users", "ann"), "theme").value == {"dark": True}  # type: ignore[union-attr]
    assert [item.key for item in store.search(())] == ["boat", "theme"]
    assert store.list_namespaces() == [HERE, ("users", "ann")]
    store.delete(("users", "ann"), "theme")
    assert store.search(("users",)) == []


@pytest.mark.parametrize(
    ("namespace", "value", "message"),
    [
        (("users", "ann"), {"text": "x"}, "is not of a session: use namespace_of"),
        (("memories", "Tim"), {"text": "x"}, "is not of a role and a session"),
        (HERE, {"theme": "dark"}, "what is remembered is a sentence: put it in the value as 'text'"),
        (HERE, {"text": " "}, "what is remembered is a sentence"),
        (HERE, {"text": "x" * 1001}, "at most 1000 characters, this one 1001"),
        (namespace_of("Juno", "s"), {"text": "x"}, "session 's' belongs to Tim, not to Juno"),
    ],
)
def test_what_cannot_be_remembered_is_refused(
    memories: SessionMemoryStore, namespace: tuple[str, ...], value: dict[str, Any], message: str
) -> None:
    memories.put(HERE, "first", {"text": "The boat is called Tern."})
    with pytest.raises(SessionError, match=message):
        memories.put(namespace, "k", value)
    assert texts(memories.search(())) == ["The boat is called Tern."]


def test_the_limits_are_langgraphs_and_ours(memories: SessionMemoryStore) -> None:
    with pytest.raises(InvalidNamespaceError):
        memories.put(("memories", "Dr. Watson", "s"), "k", {"text": "x"})
    with pytest.raises(NotImplementedError, match="TTL"):
        memories.put(HERE, "k", {"text": "x"}, ttl=5)
    memories.batch([PutOp(HERE, str(n), {"text": f"Fact {n}."}) for n in range(MAX_PINS)])
    memories.put(HERE, "7", {"text": "Another fact."})
    with pytest.raises(SessionError, match="pinned lines already: delete some first"):
        memories.put(HERE, "more", {"text": "One more."})
    memories.delete(HERE, "7")
    memories.put(HERE, "more", {"text": "One more."})


# --- in graphs and agents --------------------------------------------------------------------------------------------


def test_a_graph_reads_and_writes_it(sessions: Any) -> None:
    def answer(state: MessagesState, runtime: Runtime[None], *, store: BaseStore) -> dict[str, Any]:
        line = str(state["messages"][-1].text)
        assert runtime.store is store
        known = texts(store.search(HERE, query=line))
        store.put(HERE, line, {"text": line})
        return {"messages": [AIMessage(" ".join(known) or "nothing")]}

    graph = StateGraph(MessagesState)
    graph.add_node(answer)
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    # The graph's own threads are in the same file or database.
    compiled = graph.compile(checkpointer=sessions, store=SessionMemoryStore(sessions))

    def said(line: str, thread: str) -> str:
        config: Any = {"configurable": {"thread_id": thread}}
        return str(compiled.invoke({"messages": [HumanMessage(line)]}, config)["messages"][-1].text)

    assert said("Ann's boat is called Tern.", "1") == "nothing"
    assert said("What is the boat called?", "2") == "Ann's boat is called Tern."
    assert "Ann's boat is called Tern." in prompt(talk_with(sessions))
    store = SessionMemoryStore(sessions)
    assert store.list_namespaces() == [HERE], "the graph's own threads are no conversations"
    with pytest.raises(SessionError, match="the thread '1' is of another graph"):
        store.put(namespace_of("Tim", "1"), "k", {"text": "x"})


class Tools(FakeMessagesListChatModel):
    """A scripted model whose calls of tools are part of the script."""

    def bind_tools(self, tools: Any, **settings: Any) -> Tools:  # type: ignore[override]
        return self


@tool
def remember(fact: str, runtime: ToolRuntime) -> str:
    """Keep a fact for good."""
    assert runtime.store is not None
    runtime.store.put(HERE, fact[:12], {"text": fact})
    return "kept"


@tool
def recall(query: str, runtime: ToolRuntime) -> str:
    """What is known about something."""
    assert runtime.store is not None
    return " ".join(texts(runtime.store.search(HERE, query=query)))


def call(name: str, **args: str) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": name}])


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_agent_keeps_and_recalls_over_its_threads(sessions: Any, asynchronous: bool) -> None:
    script = [call("remember", fact="Ann is allergic to nuts."), AIMessage("Noted.")]
    script += [call("recall", query="May Ann eat nuts?"), AIMessage("No nuts.")]
    agent = create_agent(
        Tools(responses=script), [remember, recall], checkpointer=InMemorySaver(), store=SessionMemoryStore(sessions)
    )

    def run(line: str, thread: str) -> list[Any]:
        config: Any = {"configurable": {"thread_id": thread}}
        state: Any = {"messages": [HumanMessage(line)]}
        done: Any = asyncio.run(agent.ainvoke(state, config)) if asynchronous else agent.invoke(state, config)
        return list(done["messages"])

    run("Ann is allergic to nuts.", "1")
    assert run("May Ann eat nuts?", "2")[-2].text == "Ann is allergic to nuts."
    role = Conversation(ScriptedChatModel(responses=['No."']), TIM, checkpointer=sessions, session="s")
    assert [memory.text for memory in role.memories()] == ["Ann is allergic to nuts."]


def test_a_role_of_another_language_has_it_in_its_own(sessions: Any) -> None:
    SessionMemoryStore(sessions).put(namespace_of(WUKONG.name, "取经"), "k", {"text": "师父怕打雷"})
    assert "始终记住：\n- 师父怕打雷。" in prompt(talk_with(sessions, "取经", WUKONG))
    with pytest.raises(SessionError, match="belongs to"):
        talk_with(sessions, "取经", Role(name="Juno"))
