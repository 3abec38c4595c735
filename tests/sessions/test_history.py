"""Going back: siblings of a reply, edited and deleted turns, a memory that follows, replies that were broken off."""

from __future__ import annotations

import os
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from langgraph.types import StateSnapshot

from egosrag.errors import ModelError, SessionError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Role, Turn
from egosrag.sessions import thread as sessions
from egosrag.sessions.conversation import SWIPE_TEMPERATURE, Conversation
from egosrag.sessions.store import open_store
from tests.roles.cards import TIM, WUKONG


def scripted(*responses: str, **more: Any) -> ScriptedChatModel:
    return ScriptedChatModel(responses=list(responses), **more)


def texts(talk: Conversation) -> list[str]:
    return [turn.text for turn in talk.turns()]


def history(talk: Conversation) -> list[StateSnapshot]:
    """The checkpoints of the thread, newest first."""
    return list(talk.thread.graph.get_state_history(talk.thread.config))


class Sampler(ScriptedChatModel):
    """A scripted model that can be told how to sample, and keeps what it was told."""

    temperature: float = 0.0
    seed: int | None = None
    told: list[dict[str, Any]] = []

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        self.told.append({key: kwargs[key] for key in ("temperature", "seed") if key in kwargs})
        yield from super()._stream(*args, **kwargs)


class Breaking(ScriptedChatModel):
    """Breaks off, as a connection does, where its script says so."""

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for chunk in super()._stream(*args, **kwargs):
            if "#" in str(chunk.message.text):
                raise ModelError("the server is gone")
            yield chunk


class Condenser(ScriptedChatModel):
    """Answers any line, and condenses turns to the words they hold, a line each; it says which it was asked."""

    responses: list[str] = []
    condensed: list[str] = []

    def _next(self, messages: list[BaseMessage], stop: list[str] | None) -> str:
        if messages[-1].type == "ai":
            return 'I see."'
        prompt = str(messages[-1].text)
        self.condensed.append(prompt)
        return "\n".join(line.replace('"', "") for line in prompt.splitlines() if line.startswith(("Me:", "Tim:")))


# --- regenerate and swipe ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "line", "end"), [(TIM, "Who are you?", '"'), (WUKONG, "你是谁？", "”")])
def test_regenerated_reply_takes_the_place_of_its_sibling(role: Role, line: str, end: str) -> None:
    model = scripted(*(f"{word}{end}" for word in ("One.", "Two.", "Three.", "Four.")))
    talk = Conversation(model, role)
    talk.say(line)
    assert talk.swipes() == ["One."]
    assert talk.regenerate().text == "Two."
    *pieces, reply = talk.stream_again()
    assert "".join(map(str, pieces)) == "Three." == reply.text  # type: ignore[union-attr]
    assert texts(talk) == [line, "Three."]
    assert talk.swipes() == ["One.", "Two.", "Three."]
    assert len({call.messages[1].text for call in model.calls}) == 1, "no sibling is in the prompt of another"
    talk.choose(0)
    assert texts(talk) == [line, "One."]
    assert talk.say(line).text == "Four."
    assert "One." in str(model.calls[-1].messages[1].text) and "Two." not in str(model.calls[-1].messages[1].text)


def test_each_sibling_keeps_what_followed_it() -> None:
    talk = Conversation(scripted('One."', 'And one."', 'Two."', 'And two."'), TIM)
    talk.say("First?")
    talk.say("Then?")
    first = talk.turns()[1].id
    talk.regenerate(first)
    assert texts(talk) == ["First?", "Two."]
    talk.say("What then?")
    talk.choose(0, talk.turns()[1].id)
    assert texts(talk) == ["First?", "One.", "Then?", "And one."]
    assert talk.turns()[1].id == first
    talk.choose(1, first)
    assert texts(talk) == ["First?", "Two.", "What then?", "And two."]


def test_sibling_is_a_fork_of_the_thread() -> None:
    talk = Conversation(scripted('One."', 'Two."'), TIM)
    talk.say("First?")
    talk.regenerate()
    parents = [state.parent_config["configurable"]["checkpoint_id"] for state in history(talk) if state.parent_config]
    assert len(set(parents)) == len(parents) - 1, "two checkpoints have the same parent"
    said = [[t["text"] for t in s.values.get("turns", [])] for s in history(talk)]
    assert ["First?", "One."] in said and ["First?", "Two."] in said


def test_siblings_differ_by_seed_and_a_greedy_model_is_warmed_for_them() -> None:
    model = Sampler(responses=['One."'] * 5, told=[])
    talk = Conversation(model, TIM)
    talk.say("Hi")
    talk.regenerate()
    talk.regenerate()
    talk.regenerate(seed=7, temperature=1.2)
    talk.say("And?")
    assert model.told == [
        {},
        {"temperature": SWIPE_TEMPERATURE, "seed": 1},
        {"temperature": SWIPE_TEMPERATURE, "seed": 2},
        {"temperature": 1.2, "seed": 7},
        {},
    ]  # fmt: skip
    warm = Sampler(responses=['One."'] * 2, told=[], temperature=0.5, seed=40)
    talk = Conversation(warm, TIM)
    talk.say("Hi")
    talk.regenerate()
    assert warm.told == [{}, {"seed": 41}]


def test_what_cannot_be_regenerated_or_chosen_is_said_in_a_line() -> None:
    role = TIM.model_copy(update={"greeting": "Come in!"})
    talk = Conversation(scripted('One."', 'Two."'), role)
    with pytest.raises(SessionError, match="nothing was said yet"):
        talk.regenerate()
    talk.say("Hi")
    greeting, line, reply = talk.turns()
    for turn_id, match in ((greeting.id, "before the first turn"), (line.id, "only a reply"), ("x", "no turn 'x'")):
        with pytest.raises(SessionError, match=match):
            talk.regenerate(turn_id)
    for number in (-1, 1):
        with pytest.raises(SessionError, match="only 1: regenerate"):
            talk.choose(number)
    assert talk.turns() == [greeting, line, reply]


# --- edit and delete -----------------------------------------------------------------------------------------------


def test_edited_turn_is_what_the_model_reads_and_keeps_its_id() -> None:
    model = scripted('One."', 'Two."')
    talk = Conversation(model, TIM)
    talk.say("I am Bob.")
    line, reply = talk.turns()
    talk.edit(line.id, " I am Ann. ")
    talk.edit(reply.id, "Hello, Ann.")
    assert [(t.id, t.text) for t in talk.turns()] == [(line.id, "I am Ann."), (reply.id, "Hello, Ann.")]
    talk.say("Who am I?")
    assert str(model.calls[-1].messages[1].text) == 'Me: "I am Ann."\nTim: "Hello, Ann."\nMe: "Who am I?"'
    with pytest.raises(SessionError, match="empty"):
        talk.edit(line.id, " ")
    originals = [t["text"] for s in history(talk) for t in s.values.get("turns", [])]
    assert {"I am Bob.", "One."} <= set(originals), "the store's history keeps what was said before"


def test_edit_counts_in_every_branch() -> None:
    talk = Conversation(scripted('One."', 'Two."'), TIM)
    talk.say("I am Bob.")
    talk.regenerate()
    talk.edit(talk.turns()[0].id, "I am Ann.")
    talk.choose(0)
    assert texts(talk) == ["I am Ann.", "One."]


def test_deleted_turn_is_gone_and_all_else_stays() -> None:
    model = scripted('One."', 'Two."', 'Three."', 'Four."')
    talk = Conversation(model, TIM)
    for line in ("First.", "Second."):
        talk.say(line)
    talk.regenerate()
    turns = talk.turns()
    talk.delete(turns[2].id)
    assert talk.turns() == [turns[0], turns[1], turns[3]]
    assert talk.swipes() == ["Two.", "Three."]
    talk.delete(turns[3].id)
    assert talk.swipes() == ["One."]
    talk.say("Third.")
    assert "Second" not in str(model.calls[-1].messages[1].text)


def test_edited_line_is_answered_anew() -> None:
    model = scripted('You are Bob."', 'You are Ann."')
    talk = Conversation(model, TIM)
    talk.say("I am Bob.")
    talk.edit(talk.turns()[0].id, "I am Ann.")
    assert talk.regenerate().text == "You are Ann."
    assert "Bob" not in str(model.calls[-1].messages[1].text)


def long_talk() -> tuple[Condenser, Conversation]:
    model = Condenser(condensed=[])
    talk = Conversation(model, TIM, window=300)
    talk.say("My sister is Cleo.")
    for word in ("red", "blue", "green", "black", "white", "brown", "grey"):
        talk.say(f"Today the sky over the long and quiet street is {word} again.")
    assert "Cleo" in " ".join(scene.text for scene in talk.scenes())
    return model, talk


@pytest.mark.parametrize("change", ["edit", "delete"])
def test_scenes_follow_what_they_stand_for(change: str) -> None:
    model, talk = long_talk()
    first, second = talk.turns()[:2]
    others = [scene for scene in talk.scenes() if first.id not in scene.turn_ids]
    if change == "edit":
        talk.edit(first.id, "My sister is Dora.")
    else:
        talk.delete(first.id)
    assert talk.scenes() == others
    model.condensed.clear()
    talk.say("Who is my sister?")
    told = " ".join(scene.text for scene in talk.scenes())
    assert "Cleo" not in told
    assert ("Dora" in told) == (change == "edit")
    assert all("Cleo" not in prompt for prompt in model.condensed)
    covered = {turn_id for scene in talk.scenes() for turn_id in scene.turn_ids}
    assert second.id in covered, "the other turns of the lost scene are told anew"
    assert talk.view.unsummarized_gaps == ()


def test_swipe_brings_back_the_scenes_of_its_time() -> None:
    _, talk = long_talk()
    before, turns = talk.scenes(), talk.turns()
    talk.regenerate(turns[3].id)
    assert all(set(scene.turn_ids) <= {turn.id for turn in turns[:3]} for scene in talk.scenes())
    talk.choose(0, talk.turns()[3].id)
    assert (talk.scenes(), talk.turns()) == (before, turns)


# --- broken off ----------------------------------------------------------------------------------------------------


def test_reply_that_broke_off_is_kept_and_can_be_regenerated() -> None:
    model = Breaking(responses=['I am #"', 'I am Tim."', 'Yes."'], chunk_size=1)
    talk = Conversation(model, TIM)
    with pytest.raises(ModelError, match="gone"):
        talk.say("Who are you?")
    assert [(t.text, t.status) for t in talk.turns()] == [("Who are you?", "complete"), ("I am", "interrupted")]
    assert talk.regenerate().text == "I am Tim."
    assert talk.swipes() == ["I am", "I am Tim."]
    assert talk.say("Really?").text == "Yes."


def test_sibling_that_never_came_leaves_the_old_one_in_its_place() -> None:
    talk = Conversation(Breaking(responses=['One."', '#"', 'Two."', '#"']), TIM)
    talk.say("Hi")
    before = talk.record
    with pytest.raises(ModelError):
        talk.regenerate()
    assert talk.record == before
    talk.regenerate()
    before = talk.record
    with pytest.raises(ModelError):
        talk.regenerate()
    assert talk.record == before


def test_line_without_a_reply_is_answered_by_regenerate() -> None:
    talk = Conversation(Breaking(responses=['#"', 'Hello."']), TIM)
    with pytest.raises(ModelError):
        talk.say("Hi")
    assert talk.regenerate().text == "Hello."
    assert texts(talk) == ["Hi", "Hello."]


def test_nothing_changes_while_the_role_speaks() -> None:
    talk = Conversation(scripted('I am Tim and no other."'), TIM)
    pieces = talk.stream("Who are you?")
    next(pieces)
    for change in (lambda: talk.edit("x", "y"), lambda: talk.delete("x"), lambda: talk.choose(0), talk.regenerate):
        with pytest.raises(SessionError, match="still answering"):
            change()
    pieces.close()  # type: ignore[attr-defined]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize("how", ["line", "again"])
def test_killed_process_leaves_what_was_said(
    any_store: str, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SAVE_EVERY_S", 0.0)
    path, told = any_store, tmp_path / "said.txt"
    child = os.fork()
    if not child:
        try:
            with open_store(path) as store:
                model = scripted('One."', 'I am Tim, and more."', chunk_size=4)
                talk = Conversation(model, TIM, checkpointer=store, session="s")
                talk.say("Hi")
                pieces = talk.stream_again() if how == "again" else talk.stream("Who are you?")
                told.write_text(f"{next(pieces)}{next(pieces)}", encoding="utf-8")
                os.kill(os.getpid(), 9)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    said = told.read_text(encoding="utf-8").strip()
    assert said.startswith("I am")
    with open_store(path) as store:
        talk = Conversation(scripted('Two."'), TIM, checkpointer=store, session="s")
        heard = ["Hi"] if how == "again" else ["Hi", "One.", "Who are you?"]
        assert texts(talk) == [*heard, said]
        assert talk.turns()[-1].status == "interrupted"
        assert talk.turns() == talk.turns()
        if how == "again":
            assert talk.swipes() == ["One.", said]
        talk.say("Go on.")
        assert texts(talk) == [*heard, said, "Go on.", "Two."]


def test_what_is_said_is_kept_every_half_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SAVE_EVERY_S", 3600)
    talk = Conversation(scripted('I am Tim and no other."'), TIM)
    pieces = talk.stream("Who are you?")
    next(pieces)
    assert texts(talk) == ["Who are you?"]
    monkeypatch.setattr(sessions, "SAVE_EVERY_S", 0)
    said = next(pieces)
    assert str(said) in texts(talk)[-1]
    pieces.close()  # type: ignore[attr-defined]


# --- any order of changes, against lists ---------------------------------------------------------------------------


@dataclass(eq=False)
class Said:
    """A turn of the simple model; a reply knows its siblings and, while it is off the path, what follows it."""

    id: str
    text: str
    role: bool
    siblings: list[Said] = field(default_factory=list)
    after: list[Said] = field(default_factory=list)


class Rewritten(RuleBasedStateMachine):
    """Lines, siblings, edits and deletions in any order: the path is that of a few lists."""

    @initialize()
    def begin(self) -> None:
        self.model = Condenser(condensed=[])
        self.talk = Conversation(self.model, TIM, window=220)
        self.path: list[Said] = []
        self.words = iter(a + b + c for a in string.ascii_lowercase for b in "aeiou" for c in string.ascii_lowercase)

    def _added(self, turn: Turn) -> Said:
        said = Said(turn.id, turn.text, turn.speaker == "Tim")
        said.siblings = [said]
        return said

    @rule()
    def say(self) -> None:
        line = f"the word of this line is {next(self.words)} and there are some more"
        self.talk.say(line)
        self.path += [self._added(turn) for turn in self.talk.turns()[-2:]]
        assert self.path[-2].text == line

    @precondition(lambda self: any(said.role for said in self.path[1:]))
    @rule(data=st.data())
    def regenerate(self, data: st.DataObject) -> None:
        at = data.draw(st.sampled_from([n for n, said in enumerate(self.path) if said.role and n]))
        old = self.path[at]
        self.talk.regenerate(old.id)
        new = self._added(self.talk.turns()[-1])
        new.siblings = old.siblings
        new.siblings.append(new)
        old.after = self.path[at + 1 :]
        self.path = [*self.path[:at], new]

    @precondition(lambda self: self.path)
    @rule(data=st.data())
    def choose(self, data: st.DataObject) -> None:
        at = data.draw(st.sampled_from(range(len(self.path))))
        old = self.path[at]
        assert self.talk.swipes(old.id) == [said.text for said in old.siblings]
        number = data.draw(st.sampled_from(range(len(old.siblings))))
        self.talk.choose(number, old.id)
        new = old.siblings[number]
        if new is not old:
            old.after = self.path[at + 1 :]
            self.path = [*self.path[:at], new, *new.after]

    @precondition(lambda self: self.path)
    @rule(data=st.data())
    def edit(self, data: st.DataObject) -> None:
        said = data.draw(st.sampled_from(self.path))
        said.text = f"edited to {next(self.words)}"
        self.talk.edit(said.id, said.text)
        self._stands_in_no_scene(said)

    @precondition(lambda self: self.path)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        said = data.draw(st.sampled_from(self.path))
        self.talk.delete(said.id)
        self.path.remove(said)
        self._stands_in_no_scene(said)

    def _stands_in_no_scene(self, said: Said) -> None:
        record = self.talk.record
        everywhere = [record.scenes, *(branch.scenes for s in record.swipes for branch in s.branches)]
        assert not any(said.id in scene.turn_ids for scenes in everywhere for scene in scenes)

    @invariant()
    def path_is_the_lists(self) -> None:
        if hasattr(self, "talk"):
            turns = self.talk.turns()
            assert [(t.id, t.text) for t in turns] == [(said.id, said.text) for said in self.path]
            ids = {turn.id for turn in turns}
            assert all(set(scene.turn_ids) <= ids for scene in self.talk.scenes())


Rewritten.TestCase.settings = settings(
    max_examples=12,
    stateful_step_count=14,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
TestRewritten = Rewritten.TestCase
