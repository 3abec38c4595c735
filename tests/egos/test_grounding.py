"""Grounding: an invented answer to a question of fact becomes "I don't know"; everything else is said as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from pydantic import Field

from egosrag import Conversation
from egosrag.egos.grounding import seeks_fact
from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Role
from tests.roles.cards import TIM, WUKONG


class Judging(ScriptedChatModel):
    """A script that states likelihoods: a text that contains one of ``known`` is likely only after a prompt with it."""

    known: list[str] = Field(default_factory=list)
    judged: list[str] = Field(default_factory=list)

    def log_likelihoods(self, messages: Sequence[BaseMessage], text: str) -> list[float]:
        self.judged.append(text)
        prompt = "".join(str(message.text) for message in messages)
        return [-0.1 if all(word in prompt for word in self.known if word in text) else -5.0] * 4


def talk(role: Role, *responses: str, known: Sequence[str] = (), **settings: Any) -> tuple[Conversation, Judging]:
    model = Judging(responses=list(responses), known=list(known))
    return Conversation(model, role, **settings), model


@pytest.mark.parametrize(
    ("role", "line", "invention", "rest", "said"),
    [
        (TIM, "How old are you?", 'I am 40."', ', sailor. I am 40 or so."', "I don't know, sailor."),
        (TIM, "What's your dog called?", 'Rex. He is a good dog."', '!"', "I don't know!"),
        (WUKONG, "你今年多大了？", "俺今年五百岁。”", "，师父。俺五百岁。”", "这我不知道，师父。"),
        (TIM, "How old are you?", 'I am 40."', ', but I think I am 40."', "I don't know."),
        (TIM, "How old are you?", 'I am 40."', '," he said.', "I don't know."),
        (WUKONG, "你爹叫什么名字？", "俺爹叫李明。”", "，不过他姓李。”", "这我不知道。"),
        (WUKONG, "你喜欢听谁的歌？", "周杰伦的。”", "。”", "这我不知道。"),
    ],
)
def test_a_fact_that_the_prompt_does_not_state_is_not_invented(
    role: Role, line: str, invention: str, rest: str, said: str
) -> None:
    conversation, model = talk(role, invention, rest)
    *pieces, reply = list(conversation.stream(line))
    assert reply.text == said == "".join(map(str, pieces))
    assert reply.stop_reason == "quote"
    assert conversation.turns()[-1].text == said
    assert model.calls[1].prefix.endswith(("I don't know", "这我不知道"))
    assert reply.usage.completion_tokens > 0


@pytest.mark.parametrize(
    ("line", "raw"),
    [("What is your dog called?", 'Bramble, of course."'), ("Who is Ann?", 'Hm. My sister Bramble knows her."')],
)
def test_a_fact_of_the_card_is_said_as_it_is(line: str, raw: str) -> None:
    role = Role(name="Tim", language="en", background=["Tim has a dog called Bramble."])
    conversation, model = talk(role, raw, known=["Bramble"])
    assert conversation.say(line).text == raw.removesuffix('"')
    assert len(model.calls) == 1 and len(model.judged) == 2


@pytest.mark.parametrize(
    ("statement", "line", "raw"),
    [
        ("Tim is a baker.", "Who are you, sir?", 'Good morning, my dear sir. I am Tim, a baker."'),
        ("Tim is a baker.", "Who are you?", 'Hello, I am Tim, a baker."'),
        ("悟空是卖饼的。", "你是谁？", "阁下好！俺是卖饼的。”"),
        ("悟空是卖饼的。", "你是谁？", "你好，我是卖饼的。”"),
    ],
)
def test_a_greeting_before_an_answer_is_not_judged(statement: str, line: str, raw: str) -> None:
    role = Role(name="Tim" if statement.isascii() else "悟空", background=[statement])
    conversation, model = talk(role, raw, known=["a baker", "卖饼"])
    assert conversation.say(line).text == raw[:-1]
    assert all("baker" in judged or "卖饼" in judged for judged in model.judged)


def test_a_question_in_return_is_sampled_once_more() -> None:
    role = Role(name="Tim", background=["Tim is a baker."])
    conversation, model = talk(role, 'Good evening! And who are you, sir?"', 'I am a baker."', known=["a baker"])
    assert conversation.say("Who are you?").text == "I am a baker."
    assert not any("sir" in judged for judged in model.judged)


def test_a_fact_of_the_conversation_is_said_as_it_is() -> None:
    conversation, _ = talk(TIM, 'Ines? A lovely name."', 'She is called Ines."', known=["Ines"])
    conversation.say("My sister is called Ines.")
    assert conversation.say("What is my sister called?").text == "She is called Ines."


@pytest.mark.parametrize(
    "line",
    [
        "Good morning, Tim.",
        "How are you?",
        "What do you see from here?",
        "What do you think of her?",
        "你好吗？",
        "您怎么看耐心这件事？",
        "从这里能看见什么？",
        "Would you help me?",
        "What should we do now?",
        "您今天早上做了什么？",
    ],
)
def test_what_is_no_question_of_fact_is_not_judged(line: str) -> None:
    role, said = (TIM, "Something of my own.") if line.isascii() else (WUKONG, "俺自有说法。")
    conversation, model = talk(role, said + '"”')
    assert conversation.say(line).text.rstrip('"') == said
    assert not model.judged


@pytest.mark.parametrize(
    ("line", "language"),
    [
        ("how old r u?", "en"),
        ("Who’s Maud?", "en"),
        ("what's your favourite song?", "en"),
        ("Got any pets? What's it called?", "en"),
        ("where were you born?", "en"),
        ("When is my birthday?", "en"),
        ("你老家是哪的？", "zh"),
        ("您今年高寿？", "zh"),
        ("你爹叫啥？", "zh"),
        ("面馆开了几年了？", "zh"),
        ("你妹妹学什么专业的？", "zh"),
        ("你有没有哥哥呀", "zh"),
    ],
)
def test_questions_of_fact(line: str, language: str) -> None:
    assert seeks_fact(line, language)


def test_a_role_of_whom_only_the_name_is_known_says_what_the_model_knows_of_it() -> None:
    conversation, model = talk(Role(name="Gatsby", language="en"), 'From North Dakota, old sport."')
    assert conversation.say("Where are you from?").text == "From North Dakota, old sport."
    assert not model.judged


def test_inventions_stay_where_they_are_wished_for() -> None:
    conversation, model = talk(TIM, 'I am 40."', unknown="invent")
    assert conversation.say("How old are you?").text == "I am 40."
    assert not model.judged


def test_numbers_in_words_that_the_prompt_does_not_have_are_inventions() -> None:
    conversation, _ = talk(TIM, "I'm seventy-five years old.\"", '."')
    assert conversation.say("How old are you?").text == "I don't know."
