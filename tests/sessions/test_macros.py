"""Macros in a conversation: filled once, the same where a line is shown and where it is prompted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from egosrag.errors import SessionError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.roles.files import load_role
from egosrag.schema import Persona, Role, Statement
from egosrag.sessions.archive import read_archive
from egosrag.sessions.catalog import archive_of, restore
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.group import GroupChat

CASE = Path(__file__).resolve().parents[3] / "shared" / "cases" / "cards" / "macros.json"
ANN = Persona(name="Ann", description="{{user}} owes {{char}} a clock.")
CARD = Role.model_validate({
    "name": "Ilka",
    "background": ["{{char}} owes {{user}} {{random:one,two,three,four,five}} coins. {{// hidden}}It is {{weekday}}."],
    "greeting": "{{random:Evening,Morning,Night,Noon}}, {{user}}. {{comment: hidden}}{{roll:1d1000}} {{getvar::x}}",
    "lorebook": {"entries": [{"keys": ["{{user}}'s gear"], "content": "Gears of {{user}}: {{pick:brass,steel}}."}]},
})  # fmt: skip


def model(*replies: str) -> ScriptedChatModel:
    return ScriptedChatModel(responses=list(replies))


def prompt_of(talk: Conversation) -> str:
    assert talk.composed is not None
    return "\n".join(str(message.text) for message in talk.composed.messages)


def test_a_greeting_is_stored_and_prompted_as_it_was_shown() -> None:
    notes: list[str] = []
    talk = Conversation(model('Yes."', 'No."'), CARD, persona=ANN, notify=notes.append)
    assert talk.greeting is not None
    shown = talk.greeting.text
    assert re.fullmatch(r"(Evening|Morning|Night|Noon), Ann\. \d+ \{\{getvar::x\}\}", shown)
    assert notes == ["macros that are not known stay as they are: {{getvar::x}}"]
    talk.say("Hi.")
    assert talk.turns()[0].text == shown
    prompt = prompt_of(talk)
    assert shown in prompt and "hidden" not in prompt and "Ann owes Ilka a clock." in prompt
    owed = re.search(r"Ilka owes Ann (\w+) coins", prompt)
    talk.say("And now?")
    assert owed is not None and owed.group() in prompt_of(talk), "the card stays the same from line to line"


def test_conversations_differ_in_their_random_choices() -> None:
    greetings = {Conversation(model(), CARD, persona=ANN).greeting.text for _ in range(20)}  # type: ignore[union-attr]
    assert len(greetings) > 10


def test_choices_for_the_conversation_stay_when_its_first_turn_changes() -> None:
    card = {"name": "Ilka", "greeting": "Hm.", "alternate_greetings": ["Late."],
            "background": ["Ilka likes {{pick::a1::b2::c3::d4::e5}} and {{random::1::2::3::4::5}}."]}  # fmt: skip
    role, store = Role.model_validate(card), InMemorySaver()

    def opened(session: str) -> Conversation:
        return Conversation(model('Yes."'), role, checkpointer=store, session=session)

    def liked(talk: Conversation) -> str:
        talk.say("Hi.")
        match = re.search(r"Ilka likes .*?\.", prompt_of(talk))
        assert match is not None
        return match.group()

    before = liked(opened("s"))
    talk = opened("s")
    talk.choose(1, talk.turns()[0].id)
    assert liked(talk) == before
    talk = opened("s")
    for turn in talk.turns()[:2]:
        talk.delete(turn.id)
    assert liked(talk) == before == liked(opened("s")) == liked(opened(talk.branch()))
    restore(store, read_archive(archive_of(store, "s").text(), "s.json"), "again")
    assert liked(opened("again")) == before


def test_the_characters_of_a_scene_have_macros() -> None:
    ilka = Role(name="Ilka", greeting="{{group}}; {{char}}; {{notChar}}", background=(Statement(text="Of {{group}}."),))
    scene = GroupChat(model('Yes."'), [ilka, Role(name="Bo")], persona=Persona(name="Ann"))
    assert scene.greeting is not None and scene.greeting.text == "Ilka, Bo; Ilka; Ann, Bo"
    scene.say("Hi.", to="Ilka")
    assert "Background: Of Ilka, Bo." in prompt_of(scene)
    alone = Conversation(model(), ilka, persona=Persona(name="Ann"))
    assert alone.greeting is not None and alone.greeting.text == "Ilka; Ilka; Ann"


def test_a_line_of_the_user_is_filled_once_and_kept() -> None:
    talk = Conversation(model('Yes."', 'Again."'), CARD, persona=ANN)
    talk.say("{{user}} rolls {{roll:1d100000}} {{// aside}}{{x}}")
    line = talk.turns()[-2].text
    assert re.fullmatch(r"Ann rolls \d+ \{\{x\}\}", line)
    talk.regenerate()
    assert line in prompt_of(talk)
    with pytest.raises(SessionError, match="empty but for comments"):
        talk.say("{{// nothing}}")


def test_a_reply_with_the_users_macro_has_the_name() -> None:
    talk = Conversation(model('Well, {{user}}."'), CARD, persona=ANN)
    assert talk.say("Hi.").text == talk.turns()[-1].text == "Well, Ann."


@pytest.mark.skipif(not CASE.is_file(), reason="the shared cases are not on this machine")
def test_the_shared_case() -> None:
    role = load_role(CASE)
    for number, greeting in enumerate((role.greeting, *role.alternate_greetings)):
        talk = Conversation(model('Hm."'), role.model_copy(update={"greeting": greeting}), persona=Persona(name="Ann"))
        assert talk.greeting is not None
        assert not re.search(r"[{}]|note|hidden|gear", talk.greeting.text), talk.greeting.text
        assert "Ann" in talk.greeting.text
        talk.say("What of the gear?")
        assert "{{" not in prompt_of(talk), number
        assert re.search(r"- Ilka keeps (brass|steel) gears for Ann\.", prompt_of(talk))
    assert json.loads(CASE.read_text("utf-8"))["data"]["name"] == role.name
