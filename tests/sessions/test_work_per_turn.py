"""The cost of one line besides the model: renderings of the card and of the prompt, and reads of the store."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.sqlite import SqliteSaver

from egosrag.egos.organize import Organize
from egosrag.egos.pipeline import MemorySettings
from egosrag.models.scripted import ScriptedChatModel
from egosrag.prompts import render
from egosrag.rag.retrieval import turn_memory
from egosrag.rag.retrieval.turn_memory import TurnMemory
from egosrag.schema import Turn
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.records import KnownTurns
from egosrag.sessions.sqlite import SqliteStore
from egosrag.sessions.store import open_store
from tests.roles.cards import TIM

LINE = "It is raining in the long street again, and nobody came, number {n}."


class RainModel(ScriptedChatModel):
    """Answers every line, and every request for a summary."""

    responses: list[str] = []

    def _next(self, messages: list[BaseMessage], stop: list[str] | None) -> str:
        return 'Yes."' if messages[-1].type == "ai" else "It rained."


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the renderings of cards and prompts, and the reads of checkpoints, by name."""
    counts = Counter[str]()

    def counting(owner: Any, name: str, label: str) -> None:
        original = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            counts[label] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)

    counting(render, "card", "card")
    counting(Organize, "compose", "prompt")
    counting(SqliteStore, "get_tuple", "read")
    return counts


@pytest.mark.parametrize("kind", ["static", "dynamic", "both", "none"])
def test_a_line_renders_its_prompt_once_and_reads_the_store_once(work: Counter[str], kind: Any, tmp_path: Path) -> None:
    with open_store(tmp_path / "talk.sqlite") as store:
        search = TurnMemory() if kind in ("dynamic", "both") else None
        memory = MemorySettings(kind, search)
        talk = Conversation(RainModel(context_window=4096), TIM, checkpointer=store, window=320, memory=memory)
        summarized = 0
        for n in range(16):
            before = len(talk.scenes()), talk.view.evicted
            work.clear()
            talk.say(LINE.format(n=n))
            shrunk = (len(talk.scenes()), talk.view.evicted) != before
            summarized += shrunk
            assert work["card"] <= 1
            assert work["prompt"] == 1
            assert work["read"] == 1
        assert summarized, "nothing was summarized or evicted"


def test_a_reopened_session_is_read_at_most_three_times(work: Counter[str], tmp_path: Path) -> None:
    with open_store(tmp_path / "talk.sqlite") as store:
        Conversation(RainModel(), TIM, checkpointer=store, session="s").say("Hello.")
    with open_store(tmp_path / "talk.sqlite") as store:
        work.clear()
        talk = Conversation(RainModel(), TIM, checkpointer=store, session="s")
        talk.say("Hello again.")
        assert [turn.text for turn in talk.turns()][::2] == ["Hello.", "Hello again."]
        assert work["read"] <= 3


def test_turns_that_another_process_stored_are_read(tmp_path: Path) -> None:
    with open_store(tmp_path / "talk.sqlite") as store, open_store(tmp_path / "talk.sqlite") as other:
        talk = Conversation(RainModel(), TIM, checkpointer=store, session="s")
        talk.say("Hello.")
        Conversation(RainModel(), TIM, checkpointer=other, session="s").say("Me too.")
        talk.say("And me.")
        assert [turn.text for turn in talk.turns()][::2] == ["Hello.", "Me too.", "And me."]


def test_the_parts_of_the_prompt_are_what_is_sent_counted_and_displayed() -> None:
    talk = Conversation(RainModel(context_window=4096), TIM, window=320, memory="static")
    for n in range(12):
        reply = talk.say(LINE.format(n=n))
        composed = talk.composed
        assert composed is not None
        sent = "\n".join([*(str(message.text) for message in composed.messages), composed.prefix])
        assert all(part.text in sent for part in composed.parts if part.name != "template")
        assert sum(part.tokens for part in composed.parts) == reply.usage.prompt_tokens == reply.ledger.prompt
        sections = {part.name: part.tokens for part in composed.sections}
        ledger = reply.ledger
        assert sections.get("history", 0) == ledger.history
        assert sections["template"] + sections["prefix"] == ledger.template


def test_a_long_conversation_costs_a_line_no_more_of_what_was_done_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Turns are rendered, counted, analyzed for recall and read from the store once."""
    counts = Counter[str]()

    def counting(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)

    counting(render, "quoted")
    counting(turn_memory, "_terms")
    counting(Turn, "model_validate")
    counting(SqliteSaver, "get_delta_channel_history")
    counting(SqliteStore, "_writing")
    with open_store(tmp_path / "talk.sqlite") as store:
        memory = MemorySettings("dynamic", TurnMemory())
        talk = Conversation(RainModel(context_window=4096), TIM, checkpointer=store, window=900, memory=memory)
        work = []
        for n in range(40):
            counts.clear()
            talk.say(LINE.format(n=n))
            work.append(dict(counts))
        assert talk.view.evicted, "nothing was recalled"
    for number in (20, 30, 39):
        assert work[number]["quoted"] <= 32, "the line, its reply, and twice the recalled turns"
        assert work[number].get("_terms", 0) <= 8
        assert work[number].get("model_validate", 0) <= 4
        assert work[number].get("get_delta_channel_history", 0) == 0
        assert work[number]["_writing"] <= 4, "the line, its reply, and sometimes old checkpoints that are dropped"


def test_turns_that_were_read_before_are_the_same_objects() -> None:
    known = KnownTurns()
    rows = [Turn(speaker="Me", text=str(n)).model_dump() for n in range(4)]
    first = known.of(rows)
    assert [turn.text for turn in first] == ["0", "1", "2", "3"]
    again = known.of([*map(dict, rows), Turn(speaker="Me", text="4").model_dump()])
    assert all(a is b for a, b in zip(first, again, strict=False)) and again[4].text == "4"
    assert known.of(rows[:2]) == first[:2] and known.of(rows) == first
    edited = [*rows[:1], {**rows[1], "text": "one"}, *rows[2:]]
    assert [turn.text for turn in known.of(edited)] == ["0", "one", "2", "3"]
    assert [turn.text for turn in known.of([*rows[:1], *rows[2:]])] == ["0", "2", "3"]
    assert known.of([]) == ()


def test_values_that_are_known_are_not_taken_for_those_of_another_checkpoint(tmp_path: Path) -> None:
    """Another process continues, and an earlier checkpoint is forked."""
    with open_store(tmp_path / "talk.sqlite") as store, open_store(tmp_path / "talk.sqlite") as other:
        talk = Conversation(RainModel(), TIM, checkpointer=store, session="s")
        for n in range(4):
            talk.say(f"a{n}")
        Conversation(RainModel(), TIM, checkpointer=other, session="s").say("b")
        talk.regenerate()
        talk.say("c")
        talk.delete(talk.turns()[0].id)
        talk.say("d")
        turns = talk.turns()
        lines = [turn.text for turn in turns if turn.speaker != "Tim"]
        assert lines == ["a1", "a2", "a3", "b", "c", "d"]
    with open_store(tmp_path / "talk.sqlite") as store:
        assert Conversation(RainModel(), TIM, checkpointer=store, session="s").turns() == turns
