"""What a conversation remembers: it can be seen, corrected, pinned, forgotten, and carried into another one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from typer.testing import CliRunner

from egosrag import Conversation
from egosrag.cli import slash
from egosrag.cli.main import app
from egosrag.egos.pipeline import MemorySettings
from egosrag.errors import SessionError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.roles.files import save_role
from egosrag.schema import Role
from egosrag.sessions.catalog import archive_of, restore
from egosrag.sessions.memories import pin_said_in, read_memories, write_memories
from egosrag.sessions.store import open_store
from egosrag.sessions.transfer import read, write
from tests.roles.cards import TIM, WUKONG


class Model(ScriptedChatModel):
    """Says "Yes." to every line and writes one scene that has a number; keeps the prompts."""

    responses: list[str] = []
    prompts: list[str] = []
    scenes: int = 0

    def _next(self, messages: list[BaseMessage], stop: list[str] | None) -> str:
        if messages[-1].type == "ai":
            self.prompts.append("\n".join(str(message.text) for message in messages))
            return 'Yes."'
        self.scenes += 1
        return f"Tim and the user talked about the rain, part {'ABCDEFGHIJ'[self.scenes % 10]}."


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BaseCheckpointSaver[Any]]:
    with open_store(tmp_path / "s.sqlite") as opened:
        yield opened


def talk_with(store: Any, session: str = "s", role: Role = TIM, **settings: Any) -> Conversation:
    return Conversation(Model(), role, checkpointer=store, session=session, **settings)


def summarized(store: Any, session: str = "s") -> Conversation:
    """A conversation with scenes in place of its first turns."""
    talk = talk_with(store, session, window=420, memory=MemorySettings("static", keep_turns=2))
    for number in range(30):
        talk.say(f"It is raining in the long street again, and nobody came to the shop today. {'so' * number}")
        if talk.scenes():
            return talk
    raise AssertionError("nothing was summarized")


def prompt(talk: Conversation) -> str:
    talk.say("And now?")
    return str(talk.model.prompts[-1])


def test_each_line_is_shown_with_the_turns_that_it_comes_from(store: Any) -> None:
    talk = summarized(store)
    talk.say("Remember this: my boat is called Tern")
    pin, *scenes = talk.memories()
    assert (pin.text, pin.pinned) == ("my boat is called Tern.", True)
    assert [turn.text for turn in pin.turns] == ["Remember this: my boat is called Tern"]
    assert scenes and all(not scene.pinned and scene.turns for scene in scenes)
    assert [scene.text for scene in scenes] == [scene.text for scene in talk.view.visible_scenes]


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        ("Remember this: my boat is called Tern", "my boat is called Tern"),
        ("remember that I am allergic to nuts.", "I am allergic to nuts."),
        ("Please remember: we meet at 8:15", "we meet at 8:15"),
        ("记住：我叫安", "我叫安"),
        ("请你一定要记住，我对花生过敏。", "我对花生过敏。"),
        ("帮我记住这件事：八点见", "八点见"),
        ("Do you remember this: the boat?", ""),
        ("I remember that day.", ""),
        ("Remember me?", ""),
        ("你还记住了什么？", ""),
    ],
)
def test_a_line_that_asks_to_remember_pins_what_follows(line: str, fact: str) -> None:
    assert pin_said_in(line) == fact


def test_a_pin_is_in_the_prompt_of_its_own_line_and_survives_every_summary(store: Any) -> None:
    talk = talk_with(store, window=420, memory=MemorySettings("static", keep_turns=2))
    talk.say("Remember this: my boat is called Tern")
    assert talk.model.prompts[-1].count("my boat is called Tern.") == 1
    for _ in range(24):
        talk.say("It is raining in the long street again, and nobody came to the shop today.")
    assert len({scene.epoch for scene in talk.view.scenes}) > 1, "several summaries"
    assert "Never forget:\n- my boat is called Tern." in talk.model.prompts[-1]
    assert talk.composed and talk.composed.ledger.scenes > 0


def test_a_correction_that_would_not_fit_is_refused_and_the_old_line_stays(store: Any) -> None:
    talk = talk_with(store, window=420)
    pin = talk.remember("My boat is called Tern")
    with pytest.raises(SessionError, match="what is pinned would be too long for the prompt"):
        talk.edit_memory(pin.id, "My boat is called Tern, " + "and it is old " * 60)
    assert [memory.text for memory in talk.memories()] == ["My boat is called Tern."]
    talk.edit_memory(pin.id, "My boat is Tern")


def test_of_pins_from_a_larger_window_the_first_ones_are_shown(store: Any) -> None:
    wide = talk_with(store)
    for number in range(20):
        wide.remember(f"Fact {number} is that it rained in the long street")
    noted: list[str] = []
    narrow = talk_with(store, window=420, notify=noted.append)
    shown = prompt(narrow)
    assert ("Fact 0 " in shown, "Fact 19 " in shown, "And now?" in shown) == (True, False, True)
    assert noted == ["not all that is pinned fits the prompt: the role knows the first lines, so forget some of them"]
    assert "Fact 19 " in prompt(talk_with(store))


def test_pins_are_in_the_language_of_the_conversation(store: Any) -> None:
    talk = talk_with(store, role=WUKONG)
    talk.remember("师父怕打雷")
    assert "始终记住：\n- 师父怕打雷。" in prompt(talk)


def test_a_fact_is_pinned_before_the_first_line_and_by_another_process(store: Any) -> None:
    assert talk_with(store).remember("Ann is\n allergic to nuts").text == "Ann is allergic to nuts."
    talk = talk_with(store)
    assert [memory.text for memory in talk.memories()] == ["Ann is allergic to nuts."]
    talk.say("Hi.")
    talk_with(store).remember("It rains.")
    assert "Ann is allergic to nuts." in prompt(talk) and "- It rains." in talk.model.prompts[-1]
    assert talk.remember("It rains.") == talk.remember("It rains"), "once"
    assert len(talk.memories()) == 2


def test_a_fact_is_pinned_whole_or_refused(store: Any) -> None:
    talk = talk_with(store)
    talk.remember("It rains.")
    with pytest.raises(SessionError, match="would be too long for the prompt"):
        talk.remember("word " * 5000)
    with pytest.raises(SessionError, match="nothing to remember"):
        talk.remember(" \n")
    assert [memory.text for memory in talk.memories()] == ["It rains."]
    with pytest.raises(SessionError, match="belongs to Tim, not to Bo"):
        talk_with(store, role=Role(name="Bo"))
    stream = talk.stream("Hi.")
    next(stream)
    with pytest.raises(SessionError, match="still answering"):
        talk.remember("It snows.")


def test_a_line_that_asks_for_too_much_is_said_all_the_same(store: Any) -> None:
    notes: list[str] = []
    talk = talk_with(store, window=420, notify=notes.append)
    talk.say("Remember this: " + "it rains " * 30)
    assert talk.memories() == [] and "too long for the prompt" in notes[-1]


def test_a_scene_can_be_corrected(store: Any) -> None:
    talk = summarized(store)
    scene = talk.memories()[0]
    talk.edit_memory(scene.id, "They talked about the snow.")
    assert talk.memories()[0].text == "They talked about the snow."
    assert talk.memories()[0].turns == scene.turns
    assert "1. They talked about the snow." in prompt(talk) and scene.text not in talk.model.prompts[-1]
    with pytest.raises(SessionError, match="no memory"):
        talk.edit_memory(scene.id, "again")


def test_a_scene_can_be_pinned_and_a_pin_corrected(store: Any) -> None:
    talk = summarized(store)
    scene = talk.memories()[0]
    pin = talk.pin_memory(scene.id)
    assert (pin.pinned, pin.text, pin.turns) == (True, scene.text, scene.turns)
    talk.edit_memory(pin.id, "They talked about Tern")
    assert talk.memories()[0].text == "They talked about Tern." and talk.memories()[0].turns == scene.turns


def test_what_is_forgotten_is_in_no_later_prompt_and_its_turns_do_not_come_back(store: Any) -> None:
    talk = summarized(store)
    talk.remember("It snows.")
    before = len(talk.view.visible_turns)
    for memory in talk.memories():
        talk.forget(memory.id)
    assert talk.memories() == []
    text = prompt(talk)
    assert "talked about" not in text and "snows" not in text
    assert len(talk.view.visible_turns) == before + 2
    assert len(talk.turns()) > len(talk.view.visible_turns), "the record keeps them"


def test_memory_follows_edits_swipes_and_branches(store: Any) -> None:
    talk = summarized(store)
    talk.say("Remember this: my boat is called Tern")
    again = talk.regenerate()
    assert again.text == "Yes." and talk.memories()[0].text == "my boat is called Tern.", "a swipe keeps the pin"
    scenes = [memory for memory in talk.memories() if not memory.pinned]
    talk.edit(scenes[0].turns[0].id, "It is snowing in the long street.")
    changed = [memory.id for memory in talk.memories()]
    assert scenes[0].id not in changed, "what was summarized from a turn that was edited is written anew"
    branch = talk.branch()
    assert [m.text for m in talk_with(store, branch).memories()] == [m.text for m in talk.memories()]
    talk_with(store, branch).forget(talk_with(store, branch).memories()[0].id)
    assert talk.memories()[0].text == "my boat is called Tern.", "each branch has its own"


def test_memory_goes_along_only_as_a_file(store: Any, tmp_path: Path) -> None:
    talk = summarized(store)
    talk.say("Remember this: my boat is called Tern")
    write_memories(talk.memories(), tmp_path / "m.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows[0] == {
        "text": "my boat is called Tern.",
        "pinned": True,
        "from": ["Me: Remember this: my boat is called Tern"],
    }
    other = talk_with(store, "other", Role(name="Bo", language="en"))
    assert "Tern" not in prompt(other)
    for text in read_memories(tmp_path / "m.jsonl"):
        other.remember(text)
    assert "Tern" in prompt(other) and [m.text for m in other.memories()] == [row["text"] for row in rows]


def test_a_damaged_line_of_a_file_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    notes: list[str] = []
    file = tmp_path / "m.jsonl"
    file.write_text(
        '{"text": "It rains.", "unknown": 1}\n{"text": \n\nI have a cat\n{"text": null}\n', encoding="utf-8"
    )
    assert read_memories(file, notes.append) == ["It rains.", "I have a cat"]
    assert [note.split(": ")[1].split(" is")[0] for note in notes] == ["line 2", "line 5"]
    file.write_text("\n", encoding="utf-8")
    with pytest.raises(SessionError, match="nothing to remember"):
        read_memories(file)
    with pytest.raises(SessionError, match="cannot be read"):
        read_memories(tmp_path / "none.jsonl")


def test_memory_goes_along_with_an_exported_conversation(store: Any, tmp_path: Path) -> None:
    talk = talk_with(store)
    talk.say("Remember this: my boat is called Tern")
    write(archive_of(store, "s", [TIM]), tmp_path / "s.json")
    restore(store, read(tmp_path / "s.json"), "copy")
    (memory,) = talk_with(store, "copy").memories()
    assert memory.text == "my boat is called Tern." and len(memory.turns) == 1


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_role(TIM, tmp_path / "tim.json")
    (tmp_path / "script.json").write_text(json.dumps(['Yes."'] * 4), encoding="utf-8")
    store = ["--store", str(tmp_path / "s.sqlite")]
    chat = ["chat", "--role", str(tmp_path / "tim.json"), "--model", f"scripted:{tmp_path / 'script.json'}", *store]
    done = CliRunner().invoke(app, [*chat, "--session", "a"], input="Remember this: my boat is called Tern\n")
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, ["sessions", "memory", "a", *store])
    assert done.stdout == "1. my boat is called Tern. [pinned]\n"
    file = tmp_path / "m.jsonl"
    assert CliRunner().invoke(app, ["sessions", "memory", "a", "--out", str(file), *store]).exit_code == 0
    done = CliRunner().invoke(app, [*chat, "--session", "b", "--remember", str(file)], input="Hello?\n")
    assert done.exit_code == 0, done.output
    with open_store(tmp_path / "s.sqlite") as opened:
        talk = talk_with(opened, "b")
        assert [memory.text for memory in talk.memories()] == ["my boat is called Tern."]
        capsys.readouterr()
        for line in ("/remember I have a cat", "/memory 2 I have two cats", "/memory", "/forget 1", "/memory"):
            slash.run(talk, line, lambda pieces: None)
        assert capsys.readouterr().out.splitlines() == [
            "1. my boat is called Tern. [pinned]",
            "2. I have two cats. [pinned]",
            "1. I have two cats. [pinned]",
        ]
