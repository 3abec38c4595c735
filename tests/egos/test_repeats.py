"""A reply that only repeats the line, or an earlier reply to another line, is sampled once more; no other reply is."""

from __future__ import annotations

from typing import Any

import pytest

from egosrag.egos.generate import RESAMPLING_TEMPERATURE
from egosrag.egos.repeats import repeatable_texts
from egosrag.egos.reviser import Reviser
from egosrag.egos.view import ConversationView
from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Reply, Role, Turn
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.group import GroupChat

LONG = "I came to Hull in the spring and never left it again."
LONG_ZH = "我是那年春天来到这座小城的，从此再也没有离开过。"


class Recorded(ScriptedChatModel):
    """A script that records the sampling of its calls."""

    temperature: float = 0.0
    seed: int | None = None
    arguments: list[dict[str, Any]] = []

    def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        self.arguments.append(kwargs)
        return super()._stream(messages, stop, run_manager, **kwargs)


def talk(name: str, *responses: str, **settings: Any) -> tuple[Recorded, Conversation]:
    model = Recorded(responses=list(responses), arguments=[], **settings)
    return model, Conversation(model, name)


# --- what is sampled again -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "line", "echo", "reply"),
    [
        ("Tim", "What are you afraid of?", 'What are you afraid of?"', "Fog."),
        ("Tim", "what are you afraid of", 'What are you — afraid of?!"', "Fog."),
        ("Tim", "I have brought you some bread and cheese.", 'I have brought you some bread and cheese."', "Thanks."),
        ("悟空", "你是干哪一行的？", "你是干哪一行的？”", "俺是取经人。"),
        ("悟空", "我给你带来了一些面包和奶酪。", "我给你带来了一些面包和奶酪！”", "多谢。"),
    ],
)
def test_a_reply_that_only_repeats_the_line_is_sampled_again(name: str, line: str, echo: str, reply: str) -> None:
    end = "”" if name == "悟空" else '"'
    model, conversation = talk(name, echo, reply + end)
    if not line.endswith(("?", "？", ".", "。")):
        line += "?"
    assert conversation.say(line).text == reply
    assert [turn.text for turn in conversation.turns()] == [line, reply], "the repetition is nowhere in the record"
    assert len(model.calls) == 2


@pytest.mark.parametrize(("name", "long", "end"), [("Tim", LONG, '"'), ("悟空", LONG_ZH, "”")])
def test_the_same_reply_to_another_line_is_sampled_again_and_the_second_is_taken_as_it_is(
    name: str, long: str, end: str
) -> None:
    first, second = ("Who are you?", "What do you do?") if name == "Tim" else ("你是谁？", "你平时做什么？")
    model, conversation = talk(name, long + end, long.upper() + end, long + end)
    assert conversation.say(first).text == long
    assert conversation.say(second).text == long
    assert len(model.calls) == 3


def test_the_second_sample_has_the_next_seed_and_a_greedy_model_gets_a_temperature() -> None:
    echo = ['What is your name?"', 'Tim."']
    greedy, conversation = talk("Tim", *echo)
    conversation.say("What is your name?")
    assert greedy.arguments == [{}, {"temperature": RESAMPLING_TEMPERATURE, "seed": 1}]
    sampling, conversation = talk("Tim", *echo, temperature=0.4, seed=6)
    conversation.say("What is your name?")
    assert sampling.arguments == [{}, {"seed": 7}]


def test_usage_is_that_of_both_calls_and_the_time_counts_from_the_first() -> None:
    _, conversation = talk("Tim", 'What is your name?"', 'Tim."')
    _, once = talk("Tim", 'Tim."')
    both, one = conversation.say("What is your name?"), once.say("What is your name?")
    assert both.usage.prompt_tokens == 2 * one.usage.prompt_tokens
    assert both.usage.completion_tokens > one.usage.completion_tokens
    assert both.ledger.reply == one.ledger.reply
    assert both.timing.first_token_s is not None and both.timing.first_token_s <= both.timing.total_s


def test_the_greeting_is_a_reply_too() -> None:
    model = ScriptedChatModel(responses=[LONG + '"', 'Fog."'])
    role = Role.model_validate({"name": "Tim", "greeting": LONG})
    assert Conversation(model, role).say("What are you afraid of?").text == "Fog."


def test_in_a_group_each_role_is_compared_with_itself_and_with_the_line_it_answers() -> None:
    roles = [Role.model_validate({"name": name}) for name in ("Tim", "Ann")]
    model = ScriptedChatModel(responses=[LONG + '"', LONG + '"', 'Me too."', LONG + '"'])
    chat = GroupChat(model, roles)
    assert chat.say("Who are you, Tim?").text == LONG
    assert chat.go_on("Ann").text == "Me too.", "she repeated the line of Tim that she answers"
    assert chat.say("And what do you do, Ann?", to="Ann").text == LONG, "which she never said before"


# --- what is not -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "lines", "reply"),
    [
        ("Tim", ["Do you like tea?", "And coffee?"], "Yes."),
        ("Tim", ["How old are you?", "Who is your father?"], "I don't know, my friend."),
        ("Tim", ["What is the king's name?", "And his wife's?"], "I cannot tell you that."),
        ("Tim", ["Good morning!"], "Good morning!"),
        ("Tim", ["Nice to meet you."], "Nice to meet you!"),
        ("Tim", ["Who are you?", "Who are you?!"], LONG),
        ("Tim", ["Who are you?", "Say that again, please."], LONG),
        ("Tim", ["Who are you?", "What did you say?"], LONG),
        ("Tim", ["Repeat after me: the fog is coming in."], "The fog is coming in."),
        ("Tim", ['Say "the fog is coming in from the sea"!'], "The fog is coming in from the sea!"),
        ("悟空", ["你喜欢喝茶吗？", "咖啡呢？"], "喜欢。"),
        ("悟空", ["你多大了？", "你爹是谁？"], "这个我也不知道。"),
        ("悟空", ["早上好！"], "早上好！"),
        ("悟空", ["很高兴认识你！"], "很高兴认识你。"),
        ("悟空", ["你是谁？", "请再说一遍。"], LONG_ZH),
        ("悟空", ["你是谁？", "你刚才说什么？"], LONG_ZH),
        ("悟空", ["跟我说：雾从海上来了，快回家。"], "雾从海上来了，快回家。"),
    ],
)
def test_short_replies_greetings_and_what_was_asked_for_may_be_the_same(
    name: str, lines: list[str], reply: str
) -> None:
    end = "”" if name == "悟空" else '"'
    model, conversation = talk(name, *[reply + end] * len(lines))
    assert [conversation.say(line).text for line in lines] == [reply] * len(lines)
    assert len(model.calls) == len(lines)


def test_a_reply_that_goes_on_after_the_line_or_stops_before_its_end_is_none() -> None:
    line = "Do you like fog, Tim?"
    _, conversation = talk("Tim", line + ' I hate it."', 'Do you like fog?"')
    assert conversation.say(line).text == "Do you like fog, Tim? I hate it."
    assert conversation.say(line).text == "Do you like fog?"


def test_another_word_is_streamed_at_once_and_a_beginning_of_the_line_is_held_back() -> None:
    _, conversation = talk("Tim", 'Do you mean the fog from the sea?"', chunk_size=1)
    *pieces, reply = conversation.stream("Do you like the sea?")
    assert isinstance(reply, Reply)
    assert pieces[0] == "Do you m"
    assert len(pieces) > 20, "and then character by character"
    assert "".join(map(str, pieces)) == reply.text


def test_a_stream_that_is_sampled_again_shows_nothing_of_the_first_sample() -> None:
    _, conversation = talk("Tim", 'Do you like the sea?"', 'I do."')
    *pieces, reply = conversation.stream("Do you like the sea?")
    assert "".join(map(str, pieces)) == "I do."


def test_a_model_whose_drafts_are_revised_is_called_once() -> None:
    class Keeps(Reviser):
        def speech(self, draft: str, view: ConversationView) -> str:
            return draft

    model = ScriptedChatModel(responses=['Do you like the sea?"'])
    assert Conversation(model, "Tim", reviser=Keeps()).say("Do you like the sea?").text == "Do you like the sea?"  # type: ignore[abstract]


def test_nothing_is_compared_where_the_role_goes_on_by_itself() -> None:
    turns = (Turn(speaker="Me", text="Who are you?"), Turn(speaker="Tim", text=LONG))
    assert repeatable_texts(ConversationView(Role(name="Tim"), turns), "Tim") == []
    assert repeatable_texts(ConversationView(Role(name="Tim")), "Tim") == []
