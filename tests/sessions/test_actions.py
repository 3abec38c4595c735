"""Continue, impersonate, retry, branch, rename, pin, search; greeting swipes; persona and note."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver

from egosrag.errors import ModelError, SessionError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Persona, Reply, Role
from egosrag.sessions.catalog import archive_of, list_sessions, restore
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.group import GroupChat
from egosrag.sessions.manage import pin_session, rename_session, search_sessions
from egosrag.sessions.store import open_store
from egosrag.sessions.transfer import read

TIM = Role.model_validate({"name": "Tim", "background": ["Tim bakes."], "greeting": "Hello.",
                           "alternate_greetings": ["Closed, {{user}}.", "Hello."]})  # fmt: skip
ANN = Persona(name="Ann", description="a sailor")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BaseCheckpointSaver[Any]]:
    with open_store(tmp_path / "s.sqlite") as opened:
        yield opened


def talk_with(store: Any, *replies: str, session: str = "s", role: Role = TIM, **options: Any) -> Conversation:
    model = ScriptedChatModel(responses=list(replies))
    return Conversation(model, role, checkpointer=store, session=session, **options)


def texts(talk: Conversation) -> list[str]:
    return [turn.text for turn in talk.turns()]


def test_a_reply_is_continued_in_its_place(store: Any) -> None:
    talk = talk_with(store, 'I was a cook."', ' On the Swan."', '"', ' And on the Gull."')
    talk.say("Who are you?")
    turn_id = talk.turns()[-1].id
    pieces = list(talk.stream_continue())
    assert "".join(piece for piece in pieces if isinstance(piece, str)) == " On the Swan."
    assert isinstance(pieces[-1], Reply) and pieces[-1].text == "I was a cook. On the Swan."
    assert (talk.turns()[-1].id, texts(talk)[-1]) == (turn_id, "I was a cook. On the Swan.")
    talk.continue_reply()
    assert texts(talk)[-1] == "I was a cook. On the Swan.", "a model that says nothing more changes nothing"
    again = talk_with(store, ' And on the Gull."')
    assert again.continue_reply().text == "I was a cook. On the Swan. And on the Gull."
    assert [turn.text for turn in talk_with(store).turns()] == ["Hello.", "Who are you?", texts(again)[-1]]


def test_a_continuation_that_breaks_off_loses_nothing(store: Any) -> None:
    talk = talk_with(store, 'I was a cook."', " On the Swan, and then a long time on land")
    talk.say("Who are you?")
    stream = talk.stream_continue()
    first = next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert texts(talk)[-1] == f"I was a cook.{first}"
    assert talk.turns()[-1].status == "interrupted"
    before = texts(talk)
    with pytest.raises(ModelError):
        talk.continue_reply()  # the script is at its end
    assert texts(talk) == before
    with pytest.raises(SessionError, match="no reply to continue"):
        talk_with(store, session="empty", role=Role(name="Tim")).continue_reply()


def test_a_draft_of_the_users_line_is_not_stored(store: Any) -> None:
    talk = talk_with(store, 'Yes."', 'I sail."', persona=ANN)
    talk.say("Hi.")
    before = texts(talk)
    assert talk.impersonate() == "I sail."
    assert texts(talk) == before
    prompt = talk.pipeline.organize.compose_user_line(talk.view)
    text = "\n".join(str(message.text) for message in prompt.messages)
    assert prompt.prefix == 'Ann: "' and "You write what Ann says next to Tim" in text and "a sailor" in text
    assert prompt.speakers == ("Tim",) and prompt.tokens > 0


def test_retry_from_a_line_or_a_reply(store: Any) -> None:
    talk = talk_with(store, 'One."', 'Two."', 'Uno."', 'Due."')
    talk.say("a")
    talk.say("b")
    line, reply = talk.turns()[1].id, talk.turns()[2].id
    list(talk.stream_retry(line))
    assert texts(talk) == ["Hello.", "a", "Uno."]
    list(talk.stream_retry(talk.turns()[2].id))
    assert texts(talk) == ["Hello.", "a", "Due."]
    talk.choose(0)
    assert texts(talk) == ["Hello.", "a", "One.", "b", "Two."] and talk.turns()[2].id == reply


def test_a_branch_is_a_session_of_its_own(store: Any) -> None:
    talk = talk_with(store, 'One."', 'Two."', 'Uno."', persona=ANN)
    talk.set_note("It rains.")
    talk.say("a")
    talk.say("b")
    name = talk.branch(talk.turns()[2].id)
    assert name == "s 2" and talk.branch(session="mine") == "mine"
    other = talk_with(store, 'Drei."', session=name)
    assert (texts(other), other.persona, other.note) == (["Hello.", "a", "One."], ANN, "It rains.")
    other.say("c")
    assert texts(talk) == ["Hello.", "a", "One.", "b", "Two."]
    assert other.swipes(other.turns()[0].id) == ["Hello.", "Closed, Ann."]
    with pytest.raises(SessionError, match="already a session"):
        talk.branch(session="mine")


def test_rename_pin_and_search(store: Any) -> None:
    talk = talk_with(store, 'The Lighthouse is old."', 'Yes."')
    talk.say("Tell me of the LIGHTHOUSE  keeper.")
    talk.rename("evening")
    talk.say("More.")
    assert [info.session for info in list_sessions(store)] == ["evening"]
    talk_with(store, '灯塔很老。"', session="later").say("说说灯塔")
    pin_session(store, "evening")
    assert [(info.session, info.pinned) for info in list_sessions(store)] == [("evening", True), ("later", False)]
    rename_session(store, "evening", "night")
    assert list_sessions(store)[0].pinned
    pin_session(store, "night", False)
    found = list(search_sessions(store, "lighthouse keeper"))
    assert [(f.session, f.number, f.turn.speaker) for f in found] == [("night", 2, "Me")]
    assert [f.excerpt for f in search_sessions(store, "灯塔")] == ["说说灯塔", "灯塔很老。"]
    assert list(search_sessions(store, "nothing of it")) == []
    for call in (
        lambda: list(search_sessions(store, " ")),
        lambda: rename_session(store, "none", "x"),
        lambda: rename_session(store, "night", "later"),
        lambda: pin_session(store, "none"),
    ):
        with pytest.raises(SessionError):
            call()
    assert {info.session for info in list_sessions(store)} == {"night", "later"}
    again = talk_with(store, session="night")
    assert [found.number for found in again.search("lighthouse")] == [2, 3]
    again.pin()
    assert list_sessions(store)[0].session == "night"


def test_greetings_are_swipes_of_the_first_turn(store: Any) -> None:
    talk = talk_with(store, 'Yes."', 'No."', persona=ANN)
    assert talk.greetings == talk.swipes() == ["Hello.", "Closed, Ann."]
    talk.choose(1)
    assert texts(talk) == ["Closed, Ann."]
    talk.say("Hi.")
    first = talk.turns()[0].id
    talk.choose(0, first)
    assert texts(talk) == ["Hello."]
    talk.say("Ho.")
    talk.choose(1, talk.turns()[0].id)
    assert texts(talk) == ["Closed, Ann.", "Hi.", "Yes."]
    with pytest.raises(SessionError, match="there is no reply 6 to choose"):
        talk.choose(5, talk.turns()[0].id)


def test_an_export_to_sillytavern_has_the_greetings_as_swipes(store: Any, tmp_path: Path) -> None:
    talk = talk_with(store, 'Yes."', persona=ANN)
    talk.say("Hi.")
    talk.export(tmp_path / "a.jsonl")
    archive = read(tmp_path / "a.jsonl")
    assert archive.record.texts(archive.turns[0].id) == ["Hello.", "Closed, Ann."]
    assert archive.user == "Ann"


def test_in_a_scene_the_first_role_with_a_greeting_says_it() -> None:
    model = ScriptedChatModel(responses=['Yes."'])
    scene = GroupChat(model, [Role(name="Bo"), TIM], session="g", persona=ANN)
    assert scene.greetings == ["Hello.", "Closed, Ann."]
    scene.say("Bo, hi.")
    assert scene.turns()[0].speaker == "Tim"
    assert scene.swipes(scene.turns()[0].id) == ["Hello.", "Closed, Ann."]


def test_a_session_remembers_its_persona_and_note(store: Any) -> None:
    talk = talk_with(store, 'Yes."', persona=ANN)
    talk.say("Hi.")
    again = talk_with(store, 'No."', 'Well."')
    assert again.persona == ANN
    again.set_note("It rains.")
    again.say("Ho.")
    assert again.turns()[-2].speaker == "Ann" and again.composed is not None
    assert "Note: It rains." in str(again.composed.messages[-1].text)
    again.set_persona(Persona(name="Bob"))
    third = talk_with(store, 'Well."')
    assert (third.persona, third.note) == (Persona(name="Bob"), "It rains.")
    third.say("Hm.")
    assert third.turns()[-2].speaker == "Bob" and third.turns()[1].speaker == "Ann"
    exported = archive_of(store, "s", [TIM])
    assert (exported.note, exported.persona) == ("It rains.", Persona(name="Bob"))
    restore(store, exported, "copy")
    assert talk_with(store, session="copy").persona == Persona(name="Bob")
