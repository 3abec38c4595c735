"""Changes of the record: siblings of a reply (swipes), edits, deletions, their scenes, and interrupted replies."""

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
from egosrag.sessions import thread as session_thread
from egosrag.sessions.conversation import SWIPE_TEMPERATURE, Conversation
from egosrag.sessions.store import open_store
from tests.roles.cards import TIM, WUKONG


def scripted(*responses: str, **more: Any) -> ScriptedChatModel:
    return ScriptedChatModel(responses=list(responses), **more)


def texts(talk: Conversation) -> list[str]:
    return [turn.text for turn in talk.turns()]


def checkpoints(talk: Conversation) -> list[StateSnapshot]:
    """The checkpoints of the thread, newest first."""
    return list(talk.thread.graph.get_state_history(talk.thread.config))


class SamplingModel(ScriptedChatModel):
    """A scripted model with sampling settings, which records those of each call."""

    temperature: float = 0.0
    seed: int | None = None
    sampling: list[dict[str, Any]] = []

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        self.sampling.append({key: kwargs[key] for key in ("temperature", "seed") if key in kwargs})
        yield from super()._stream(*args, **kwargs)


class BreakingModel(ScriptedChatModel):
    """Fails in the middle of a reply, where its script has a "#", as a connection does."""

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for chunk in super()._stream(*args, **kwargs):
            if "#" in str(chunk.message.text):
                raise ModelError("the server is gone")
            yield chunk


class SummarizingModel(ScriptedChatModel):
    """Answers any line; summarizes turns by repeating them, and records them."""

    responses: list[str] = []
    summarized: list[str] = []

    def _next(self, messages: list[BaseMessage], stop: list[str] | None) -> str:
        if messages[-1].type == "ai":
            return 'I see."'
        prompt = str(messages[-1].text)
        self.summarized.append(prompt)
        return "\n".join(line.replace('"', "") for line in prompt.splitlines() if line.startswith(("Me:", "Tim:")))


# --- regenerate and swipe ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "line", "end"), [(TIM, "Who are you?", '"'), (WUKONG, "你是谁？", "”")])
def test_a_regenerated_reply_replaces_its_sibling(role: Role, line: str, end: str) -> None:
    model = scripted(*(f"{word}{end}" for word in ("One.", "Two.", "Three.", "Four.")))
    talk = Conversation(model, role)
    talk.say(line)
    assert talk.swipes() == ["One."]
    assert talk.regenerate().text == "Two."
    *pieces, reply = talk.stream_again()
    assert "".join(map(str, pieces)) == "Three." == reply.text  # type: ignore[union-attr]
    assert texts(talk) == [line, "Three."]
    assert talk.swipes() == ["One.", "Two.", "Three."]
    assert len({call.messages[1].text for call in model.calls}) == 1, "a sibling is never in the prompt of another"
    talk.choose(0)
    assert texts(talk) == [line, "One."]
    assert talk.say(line).text == "Four."
    assert "One." in str(model.calls[-1].messages[1].text) and "Two." not in str(model.calls[-1].messages[1].text)


def test_each_sibling_keeps_the_turns_that_followed_it() -> None:
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


def test_a_sibling_is_a_fork_of_the_thread() -> None:
    talk = Conversation(scripted('One."', 'Two."'), TIM)
    talk.say("First?")
    talk.regenerate()
    parents = [
        state.parent_config["configurable"]["checkpoint_id"] for state in checkpoints(talk) if state.parent_config
    ]
    assert len(set(parents)) == len(parents) - 1, "two checkpoints have the same parent"
    said = [[t["text"] for t in s.values.get("turns", [])] for s in checkpoints(talk)]
    assert ["First?", "One."] in said and ["First?", "Two."] in said


def test_siblings_have_different_seeds_and_a_greedy_model_samples_them() -> None:
    model = SamplingModel(responses=['One."'] * 5, sampling=[])
    talk = Conversation(model, TIM)
    talk.say("Hi")
    talk.regenerate()
    talk.regenerate()
    talk.regenerate(seed=7, temperature=1.2)
    talk.say("And?")
    assert model.sampling == [
        {},
        {"temperature": SWIPE_TEMPERATURE, "seed": 1},
        {"temperature": SWIPE_TEMPERATURE, "seed": 2},
        {"temperature": 1.2, "seed": 7},
        {},
    ]  # fmt: skip
    sampling_model = SamplingModel(responses=['One."'] * 2, sampling=[], temperature=0.5, seed=40)
    talk = Conversation(sampling_model, TIM)
    talk.say("Hi")
    talk.regenerate()
    assert sampling_model.sampling == [{}, {"seed": 41}]


def test_turns_that_cannot_be_regenerated_or_chosen_are_one_line_errors() -> None:
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


def test_an_edited_turn_is_in_the_prompt_and_keeps_its_id() -> None:
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
    originals = [t["text"] for s in checkpoints(talk) for t in s.values.get("turns", [])]
    assert {"I am Bob.", "One."} <= set(originals), "the store's history keeps what was said before"


def test_an_edit_changes_every_branch() -> None:
    talk = Conversation(scripted('One."', 'Two."'), TIM)
    talk.say("I am Bob.")
    talk.regenerate()
    talk.edit(talk.turns()[0].id, "I am Ann.")
    talk.choose(0)
    assert texts(talk) == ["I am Ann.", "One."]


def test_a_deleted_turn_is_removed_and_the_others_stay() -> None:
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


def test_an_edited_line_can_be_answered_again() -> None:
    model = scripted('You are Bob."', 'You are Ann."')
    talk = Conversation(model, TIM)
    talk.say("I am Bob.")
    talk.edit(talk.turns()[0].id, "I am Ann.")
    assert talk.regenerate().text == "You are Ann."
    assert "Bob" not in str(model.calls[-1].messages[1].text)


def long_talk() -> tuple[SummarizingModel, Conversation]:
    model = SummarizingModel(summarized=[])
    talk = Conversation(model, TIM, window=300)
    talk.say("My sister is Cleo.")
    for word in ("red", "blue", "green", "black", "white", "brown", "grey"):
        talk.say(f"Today the sky over the long and quiet street is {word} again.")
    assert "Cleo" in " ".join(scene.text for scene in talk.scenes())
    return model, talk


@pytest.mark.parametrize("change", ["edit", "delete"])
def test_scenes_of_a_changed_turn_are_written_anew(change: str) -> None:
    model, talk = long_talk()
    first, second = talk.turns()[:2]
    others = [scene for scene in talk.scenes() if first.id not in scene.turn_ids]
    if change == "edit":
        talk.edit(first.id, "My sister is Dora.")
    else:
        talk.delete(first.id)
    assert talk.scenes() == others
    model.summarized.clear()
    talk.say("Who is my sister?")
    text = " ".join(scene.text for scene in talk.scenes())
    assert "Cleo" not in text
    assert ("Dora" in text) == (change == "edit")
    assert all("Cleo" not in prompt for prompt in model.summarized)
    covered = {turn_id for scene in talk.scenes() for turn_id in scene.turn_ids}
    assert second.id in covered, "the other turns of the dropped scene are summarized again"
    assert talk.view.unsummarized_gaps == ()


def test_choosing_a_sibling_restores_its_scenes() -> None:
    _, talk = long_talk()
    before, turns = talk.scenes(), talk.turns()
    talk.regenerate(turns[3].id)
    assert all(set(scene.turn_ids) <= {turn.id for turn in turns[:3]} for scene in talk.scenes())
    talk.choose(0, talk.turns()[3].id)
    assert (talk.scenes(), talk.turns()) == (before, turns)


# --- interrupted replies -------------------------------------------------------------------------------------------


def test_an_interrupted_reply_is_kept_and_can_be_regenerated() -> None:
    model = BreakingModel(responses=['I am #"', 'I am Tim."', 'Yes."'], chunk_size=1)
    talk = Conversation(model, TIM)
    with pytest.raises(ModelError, match="gone"):
        talk.say("Who are you?")
    assert [(t.text, t.status) for t in talk.turns()] == [("Who are you?", "complete"), ("I am", "interrupted")]
    assert talk.regenerate().text == "I am Tim."
    assert talk.swipes() == ["I am", "I am Tim."]
    assert talk.say("Really?").text == "Yes."


def test_a_sibling_that_failed_leaves_the_old_reply_in_place() -> None:
    talk = Conversation(BreakingModel(responses=['One."', '#"', 'Two."', '#"']), TIM)
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


def test_a_line_without_a_reply_is_answered_by_regenerate() -> None:
    talk = Conversation(BreakingModel(responses=['#"', 'Hello."']), TIM)
    with pytest.raises(ModelError):
        talk.say("Hi")
    assert talk.regenerate().text == "Hello."
    assert texts(talk) == ["Hi", "Hello."]


def test_changes_are_rejected_while_a_reply_is_generated() -> None:
    talk = Conversation(scripted('I am Tim and no other."'), TIM)
    pieces = talk.stream("Who are you?")
    next(pieces)
    for change in (lambda: talk.edit("x", "y"), lambda: talk.delete("x"), lambda: talk.choose(0), talk.regenerate):
        with pytest.raises(SessionError, match="still answering"):
            change()
    pieces.close()  # type: ignore[attr-defined]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize("how", ["line", "again"])
def test_a_killed_process_leaves_the_reply_so_far(
    any_store: str, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_thread, "SAVE_EVERY_S", 0.0)
    path, output = any_store, tmp_path / "output.txt"
    child = os.fork()
    if not child:
        try:
            with open_store(path) as store:
                model = scripted('One."', 'I am Tim, and more."', chunk_size=4)
                talk = Conversation(model, TIM, checkpointer=store, session="s")
                talk.say("Hi")
                pieces = talk.stream_again() if how == "again" else talk.stream("Who are you?")
                output.write_text(f"{next(pieces)}{next(pieces)}", encoding="utf-8")
                os.kill(os.getpid(), 9)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    said = output.read_text(encoding="utf-8").strip()
    assert said.startswith("I am")
    with open_store(path) as store:
        talk = Conversation(scripted('Two."'), TIM, checkpointer=store, session="s")
        turns_before = ["Hi"] if how == "again" else ["Hi", "One.", "Who are you?"]
        assert texts(talk) == [*turns_before, said]
        assert talk.turns()[-1].status == "interrupted"
        assert talk.turns() == talk.turns()
        if how == "again":
            assert talk.swipes() == ["One.", said]
        talk.say("Go on.")
        assert texts(talk) == [*turns_before, said, "Go on.", "Two."]


def test_a_reply_is_saved_periodically_while_it_is_generated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_thread, "SAVE_EVERY_S", 3600)
    talk = Conversation(scripted('I am Tim and no other."'), TIM)
    pieces = talk.stream("Who are you?")
    next(pieces)
    assert texts(talk) == ["Who are you?"]
    monkeypatch.setattr(session_thread, "SAVE_EVERY_S", 0)
    said = next(pieces)
    assert str(said) in texts(talk)[-1]
    pieces.close()  # type: ignore[attr-defined]


# --- random changes, compared with plain lists ---------------------------------------------------------------------


@dataclass(eq=False)
class ExpectedTurn:
    """A turn in the reference lists; a reply has its siblings and, while it is off the path, the turns after it."""

    id: str
    text: str
    is_reply: bool
    siblings: list[ExpectedTurn] = field(default_factory=list)
    after: list[ExpectedTurn] = field(default_factory=list)


class EditedConversation(RuleBasedStateMachine):
    """Lines, siblings, edits and deletions in any order give the same turns as plain lists do."""

    @initialize()
    def begin(self) -> None:
        self.model = SummarizingModel(summarized=[])
        self.talk = Conversation(self.model, TIM, window=220)
        self.path: list[ExpectedTurn] = []
        self.words = iter(a + b + c for a in string.ascii_lowercase for b in "aeiou" for c in string.ascii_lowercase)

    def _expected(self, turn: Turn) -> ExpectedTurn:
        expected = ExpectedTurn(turn.id, turn.text, turn.speaker == "Tim")
        expected.siblings = [expected]
        return expected

    @rule()
    def say(self) -> None:
        line = f"the word of this line is {next(self.words)} and there are some more"
        self.talk.say(line)
        self.path += [self._expected(turn) for turn in self.talk.turns()[-2:]]
        assert self.path[-2].text == line

    @precondition(lambda self: any(turn.is_reply for turn in self.path[1:]))
    @rule(data=st.data())
    def regenerate(self, data: st.DataObject) -> None:
        at = data.draw(st.sampled_from([n for n, turn in enumerate(self.path) if turn.is_reply and n]))
        old = self.path[at]
        self.talk.regenerate(old.id)
        new = self._expected(self.talk.turns()[-1])
        new.siblings = old.siblings
        new.siblings.append(new)
        old.after = self.path[at + 1 :]
        self.path = [*self.path[:at], new]

    @precondition(lambda self: self.path)
    @rule(data=st.data())
    def choose(self, data: st.DataObject) -> None:
        at = data.draw(st.sampled_from(range(len(self.path))))
        old = self.path[at]
        assert self.talk.swipes(old.id) == [turn.text for turn in old.siblings]
        number = data.draw(st.sampled_from(range(len(old.siblings))))
        self.talk.choose(number, old.id)
        new = old.siblings[number]
        if new is not old:
            old.after = self.path[at + 1 :]
            self.path = [*self.path[:at], new, *new.after]

    @precondition(lambda self: self.path)
    @rule(data=st.data())
    def edit(self, data: st.DataObject) -> None:
        expected = data.draw(st.sampled_from(self.path))
        expected.text = f"edited to {next(self.words)}"
        self.talk.edit(expected.id, expected.text)
        self._assert_in_no_scene(expected)

    @precondition(lambda self: self.path)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        expected = data.draw(st.sampled_from(self.path))
        self.talk.delete(expected.id)
        self.path.remove(expected)
        self._assert_in_no_scene(expected)

    def _assert_in_no_scene(self, expected: ExpectedTurn) -> None:
        record = self.talk.record
        everywhere = [record.scenes, *(branch.scenes for s in record.swipes for branch in s.branches)]
        assert not any(expected.id in scene.turn_ids for scenes in everywhere for scene in scenes)

    @invariant()
    def path_matches_the_lists(self) -> None:
        if hasattr(self, "talk"):
            turns = self.talk.turns()
            assert [(t.id, t.text) for t in turns] == [(turn.id, turn.text) for turn in self.path]
            ids = {turn.id for turn in turns}
            assert all(set(scene.turn_ids) <= ids for scene in self.talk.scenes())


EditedConversation.TestCase.settings = settings(
    max_examples=12,
    stateful_step_count=14,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
TestEditedConversation = EditedConversation.TestCase
