"""A role that is asked whether it is a machine stays who it is."""

from __future__ import annotations

import pytest

from egosrag import Conversation
from egosrag.egos.character import says_it_is_machine
from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Role
from tests.roles.cards import TIM, WUKONG


@pytest.mark.parametrize(
    ("role", "line", "broken", "rest", "said"),
    [
        (TIM, "Are you an AI?", 'Yes, I am an AI designed to help."', ', a baker. I bake."', "I am Tim, a baker."),
        (TIM, "You're just a language model, aren't you?", "I'm a large language model.\"", '."', "I am Tim."),
        (TIM, "am i talking to a bot", 'Indeed."', ', your baker, friend!"', "I am Tim, your baker, friend!"),
        (TIM, "Are you human?", 'I am an assistant made by Alibaba."', ', an AI assistant."', "I am Tim."),
        (WUKONG, "你是AI吗？", "当然，我是阿里云的语言模型。”", "，花果山的大王。”", "我是悟空，花果山的大王。"),
        (WUKONG, "你只是个语言模型吧？", "对，我只会执行任务。”", "。”", "我是悟空。"),
        (WUKONG, "我是不是在跟机器人聊天？", "我是一个人工智能助手。”", "，一个AI。”", "我是悟空。"),
    ],
)
def test_an_answer_that_breaks_the_character_is_replaced(
    role: Role, line: str, broken: str, rest: str, said: str
) -> None:
    model = ScriptedChatModel(responses=[broken, rest])
    talk = Conversation(model, role)
    *pieces, reply = list(talk.stream(line))
    assert reply.text == said == "".join(map(str, pieces)) == talk.turns()[-1].text
    assert model.calls[1].prefix.endswith(("I am Tim", "我是悟空"))


@pytest.mark.parametrize(
    ("role", "line", "raw"),
    [
        (TIM, "Are you an AI?", "No, I am no AI. I am a baker, friend."),
        (TIM, "Are you human?", "Yes, of course. Flesh and bone."),
        (TIM, "Am I talking to a real person?", "Yes, and he is called Tim."),
        (TIM, "Is this machine yours?", "It is mine; I built it in the spring."),
        (TIM, "Do you like robots?", "Yes, I like robots."),  # not whether it is one
        (WUKONG, "你是机器人吗？", "俺不是什么机器人，俺是齐天大圣。"),
        (WUKONG, "你是真人吗？", "当然是，如假包换。"),
    ],
)
def test_an_answer_in_character_is_said_as_it_is(role: Role, line: str, raw: str) -> None:
    model = ScriptedChatModel(responses=[raw + ("”" if role is WUKONG else '"')])
    assert Conversation(model, role).say(line).text == raw


def test_a_machine_may_say_what_it_is() -> None:
    ship = Role(name="Vera", background=("Vera is the artificial intelligence of the ship Argo.",))  # type: ignore[arg-type]
    model = ScriptedChatModel(responses=['Yes, I am the AI of this ship."'])
    assert Conversation(model, ship).say("Are you an AI?").text == "Yes, I am the AI of this ship."


def test_the_users_own_draft_is_not_judged() -> None:
    model = ScriptedChatModel(responses=['I am Tim."', 'Are you sure? I am an AI."'])
    talk = Conversation(model, TIM)
    talk.say("Who are you?")
    assert talk.impersonate() == "Are you sure? I am an AI."


@pytest.mark.parametrize("text", ["I am not an AI.", "I'm no chatbot!", "俺不是AI。", "I trained my falcon myself."])
def test_denials_are_no_admissions(text: str) -> None:
    assert not says_it_is_machine(text, "Are you an AI?")
