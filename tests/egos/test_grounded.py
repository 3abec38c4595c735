"""What pocket says of a card: the card's own sentences where they fit, and nothing that stands nowhere."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from egosrag import Conversation, load_chat_model, load_role
from egosrag.assemble import sample
from egosrag.egos.grounded import grounded, informed, lines_of
from egosrag.schema import Evidence, Reply, Role

EDDA = load_role(sample("edda.en.json"))
LUO = load_role(sample("luo.zh.json"))


@pytest.mark.parametrize(
    ("question", "draft", "said"),
    [
        ("Who is Pip?", "My cat is called Pip, sailor.", "Pip is my apprentice, sailor."),
        ("What is your cat called?", "My cat is called Tom, sailor.", "Biscuit is my grey cat, sailor."),
        ("Where were you born?", "That I do not know.", "I was born in the harbour town of Skerry."),
        ("What are you scared of?", "I fear the 9th of May.", "I am afraid of fog."),
        ("What are you afraid of?", "I am afraid of fog.", "I am afraid of fog."),
        ("What kind of person are you?", "I am Edda.", "I am stubborn and patient."),
    ],
)
def test_the_sentence_that_fits_is_said(question: str, draft: str, said: str) -> None:
    assert grounded(draft, question, EDDA, "en") == said


@pytest.mark.parametrize(
    ("question", "draft", "said"),
    [
        ("阿杏是谁？", "伙计，我的朋友是阿杏。", "伙计，阿杏是我的妹妹，在石门驿开客栈。"),
        ("你的头骡叫什么名字？", "伙计，我的头骡叫阿杏。", "伙计，追云是我的头骡。"),
        ("你有多少匹骡马？", "我有九个人。", "我是走茶道的马帮锅头，手下有二十六匹骡马。"),
        ("你怕什么？", "伙计，这个我不知道。", "伙计，我怕水，宁可绕路也不坐船。"),
    ],
)
def test_in_chinese_as_well(question: str, draft: str, said: str) -> None:
    assert grounded(draft, question, LUO, "zh") == said


@pytest.mark.parametrize(
    ("question", "draft"),
    [
        ("How are you today?", "I am well, thank you."),
        ("It is cold tonight.", "Come in and close the door."),
        ("What is my name?", "Your name is Ann."),
        ("Who are you?", "My name is Edda."),
        ("What is your favourite colour?", "That I do not know, sailor."),
    ],
)
def test_small_talk_the_users_own_and_what_is_not_known_stay(question: str, draft: str) -> None:
    assert grounded(draft, question, EDDA, "en", heard="My name is Ann.") == draft


@pytest.mark.parametrize(
    ("question", "draft"),
    [
        ("How old are you?", "I am 20 years old."),  # the card tells of years of work
        ("Who is Oskar?", "Oskar is my brother."),
        ("What does your mother do?", "My mother is a cook."),
        ("Will it rain?", "I saw Ilmar in 1999."),  # stands nowhere
        ("Will it rain?", "Rain rain rain rain rain rain rain rain rain."),
        ("Will it rain?", "我不怕水。"),
    ],
)
def test_what_stands_nowhere_is_not_said(question: str, draft: str) -> None:
    assert grounded(draft, question, EDDA, "en") == "That I do not know."


def test_what_the_user_said_is_found_where_the_model_did_not() -> None:
    told = ["My dog is called Bramble.", "I play the cello."]
    assert grounded("You have not told me.", "What is my dog called?", EDDA, "en", told=told) == (
        "Your dog is called Bramble."
    )
    assert grounded("You have not told me.", "Where do I live?", EDDA, "en", told=told) == "You have not told me."
    kept = "Your dog is Bramble."
    assert grounded(kept, "What is my dog called?", EDDA, "en", told=told) == kept
    assert grounded("你还没有告诉我。", "我的狗叫什么？", LUO, "zh", told=["我的狗叫来福。"]) == "你的狗叫来福。"


def test_places_in_the_sources_tell_what_the_card_does_not() -> None:
    quote = "The fog came in. Edda lives in a hut of tarred boards. She owes Brannoch forty crowns."
    role = informed(Role(name="Edda"), [Evidence(source="edda.txt", start=0, end=len(quote), quote=quote)])
    draft = "That I do not know."
    assert grounded(draft, "Where do you live?", role, "en") == "I live in a hut of tarred boards."
    assert grounded(draft, "How much do you owe Brannoch?", role, "en") == "I owe Brannoch forty crowns."


def test_an_empty_card_leaves_the_models_words() -> None:
    assert grounded("I am well.", "Who is Pip?", Role(name="Edda"), "en") == "I am well."
    assert lines_of(Role(name="Edda"), "Who is Pip?") == []


@given(
    st.text(max_size=60),
    st.text(max_size=60) | st.sampled_from(["How old are you?", "Who is Tom?", "Where do you live?"]),
    st.sampled_from([(EDDA, "en"), (LUO, "zh")]),
)
def test_no_number_is_made_up_and_nothing_fails(draft: str, question: str, of: tuple[Role, str]) -> None:
    role, language = of
    said = grounded(draft, question, role, language, told=[draft])
    assert set(re.findall(r"\d+", said)) <= set(re.findall(r"\d+", f"{draft} {question} {role.model_dump_json()}"))


def test_pocket_speaks_from_its_card_in_one_piece() -> None:
    conversation = Conversation(load_chat_model("pocket"), EDDA)
    *pieces, reply = conversation.stream("Who is Pip?")
    assert isinstance(reply, Reply)
    assert pieces == [reply.text]
    assert reply.stop_reason == "quote"
    assert "my apprentice" in reply.text
    assert conversation.turns()[-1].text == reply.text
