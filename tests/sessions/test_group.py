"""Group chat: who speaks next, one record for all roles, and no role speaks for another."""

from __future__ import annotations

from typing import Any

import pytest

from egosrag.errors import RoleError, SessionError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Role
from egosrag.sessions.group import GroupChat
from egosrag.sessions.store import open_store
from tests.roles.cards import TIM, WUKONG


def card(name: str, **more: Any) -> Role:
    return Role.model_validate({"name": name, "background": [f"{name} is here."], **more})


ANN = card("Ann")


def scripted(*responses: str) -> ScriptedChatModel:
    return ScriptedChatModel(responses=list(responses))


@pytest.mark.parametrize(
    ("names", "line", "speaker"),
    [
        (["Tim", "Ann"], "Hello!", "Tim"),
        (["Tim", "Ann"], "Ann, who are you?", "Ann"),
        (["Tim", "Ann"], "ann, who are you?", "Ann"),
        (["Tim", "Ann"], "What is Ann's name?", "Ann"),
        (["Tim", "Ann"], "The banner is old, Annabel.", "Tim"),
        (["Tim", "Ann"], "Ann, is Tim there?", "Ann"),
        (["Tim", "Ann Lee"], "Ann, are you there?", "Ann Lee"),
        (["Tim Lee", "Ann Lee"], "Who is called Lee?", "Tim Lee"),
        (["Ann", "Ann Lee"], "Ann Lee, are you there?", "Ann Lee"),
        (["Tim", "Will"], "will you come?", "Tim"),
        (["Tim", "Will"], "Come, Will!", "Will"),
        (["孙悟空", "猪八戒"], "你们好！", "孙悟空"),
        (["孙悟空", "猪八戒"], "八戒，你饿不饿？", "猪八戒"),
        (["孙悟空", "猪八戒"], "猪八戒你好", "猪八戒"),
        (["Tim", "猪八戒"], "你好，八戒。", "猪八戒"),
        (["孙悟空", "Tim"], "你认识Tim吗？", "Tim"),
    ],
)
def test_the_mentioned_role_replies_or_else_the_one_whose_turn_it_is(names: list[str], line: str, speaker: str) -> None:
    model = scripted("Yes.")
    assert GroupChat(model, [card(name) for name in names]).say(line).speaker == speaker


def test_nicknames_and_aliases_mention_a_role_too() -> None:
    roles = [TIM, card("Jay Gatsby", nickname="Old Sport"), card("猪八戒", aliases=["呆子", "天蓬"])]
    speakers = {"Hey, old sport!": "Jay Gatsby", "Gatsby?": "Jay Gatsby", "呆子，快走！": "猪八戒", "Well?": "Tim"}
    assert {line: GroupChat(scripted("Yes."), roles).say(line).speaker for line in speakers} == speakers


def test_roles_take_turns_and_reply_when_they_are_mentioned() -> None:
    talk = GroupChat(scripted('I am Ann."', 'I am Tim."'), [TIM, ANN, card("Bo")])
    assert talk.say("Ann and Tim, who are you?").speaker == "Ann"
    assert talk.go_on().speaker == "Tim", "the line mentioned Tim too"
    model = scripted('I am Ann. And you, Bo?"', 'I am Bo."', 'I am Tim."', 'Yes."')
    talk = GroupChat(model, [TIM, ANN, card("Bo")])
    talk.say("Ann and Tim, who are you?")
    assert [talk.go_on().speaker for _ in range(3)] == ["Bo", "Tim", "Ann"]
    with pytest.raises(SessionError, match="'Eve' is not in this scene: choose Tim or Ann or Bo"):
        talk.go_on("Eve")


def test_each_role_has_its_own_card_and_all_names_in_its_prompt() -> None:
    model = scripted('I am Ann."', "俺老孙在此。”", 'Fine."')
    talk = GroupChat(model, [ANN, WUKONG])
    talk.say("Ann?")
    talk.say("悟空？")
    talk.go_on("Ann")
    systems = [str(call.messages[0].text) for call in model.calls]
    assert ["Ann is here." in text for text in systems] == [True, False, True]
    assert ["花果山" in text for text in systems] == [False, True, False]
    assert "never for Me, 悟空" in systems[0] and "不替我、Ann说话" in systems[1]
    assert model.calls[2].prefix == 'Ann: "'
    prompt = str(model.calls[2].messages[1].text)
    assert [line.split(":")[0] for line in prompt.splitlines()] == ["Me", "Ann", "我", "悟空"]


@pytest.mark.parametrize("quote", [True, False])
def test_a_role_never_speaks_for_another(quote: bool) -> None:
    raw = 'I am Tim.\nAnn: "And I am Ann."' if quote else "I am Tim.\nAnn: And I am Ann."
    talk = GroupChat(scripted(raw), [TIM, ANN], quote=quote)
    reply = talk.say("Who are you two?")
    assert (reply.speaker, reply.text, reply.stop_reason) == ("Tim", "I am Tim.", "speaker")


def test_a_group_chat_is_one_session_and_continues_after_a_restart(any_store: str) -> None:
    with open_store(any_store) as store:
        talk = GroupChat(scripted('I am Tim."', 'I am Ann."'), [TIM, ANN], checkpointer=store, session="s")
        talk.say("Hello")
        talk.go_on()
    model = scripted('I am Tim again."', 'And I am Ann again."')
    with open_store(any_store) as store:
        talk = GroupChat(model, [ANN, TIM], checkpointer=store, session="s")
        assert [turn.speaker for turn in talk.turns()] == ["Me", "Tim", "Ann"]
        assert talk.regenerate(talk.turns()[1].id).speaker == "Tim"
        assert talk.regenerate(talk.turns()[1].id).text == "And I am Ann again."
        assert talk.swipes() == ["I am Tim.", "I am Tim again.", "And I am Ann again."]
        with pytest.raises(SessionError, match="belongs to Ann, Tim, not to Ann, 悟空"):
            GroupChat(model, [ANN, WUKONG], checkpointer=store, session="s")


def test_the_greeting_is_that_of_the_first_role_that_has_one() -> None:
    talk = GroupChat(scripted('I am Ann."'), [TIM, card("Ann", greeting="Come in!")])
    talk.say("Tim?", to="Ann")
    assert [(t.speaker, t.text) for t in talk.turns()] == [("Ann", "Come in!"), ("Me", "Tim?"), ("Ann", "I am Ann.")]


def test_scenes_are_shared_by_all_roles() -> None:
    class SummarizingModel(ScriptedChatModel):
        responses: list[str] = []

        def _next(self, messages: Any, stop: Any) -> str:
            if messages[-1].type == "ai":
                return 'I see, and I say so."'
            lines = str(messages[-1].text).splitlines()
            return "\n".join(line.replace('"', "") for line in lines if line.startswith(("Me:", "Tim:", "Ann:")))

    talk = GroupChat(SummarizingModel(), [TIM, ANN], window=300)
    talk.say("My sister is Cleo.")
    for word in ("red", "blue", "green", "black", "white", "brown", "grey"):
        talk.say(f"Today the sky over the long and quiet street is {word} again.")
    assert "Cleo" in " ".join(scene.text for scene in talk.scenes())
    assert {turn.speaker for turn in talk.turns()} == {"Me", "Tim", "Ann"}


@pytest.mark.parametrize("roles", [[], [TIM], [TIM, card("tim")]])
def test_a_group_chat_needs_two_roles_with_different_names(roles: list[Role]) -> None:
    with pytest.raises(RoleError, match="two roles or more"):
        GroupChat(scripted(), roles)
