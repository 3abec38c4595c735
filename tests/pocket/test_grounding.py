"""What pocket says of a card: the card's own sentences where they fit, and nothing that stands nowhere."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from egosrag import Conversation, load_chat_model, load_role
from egosrag.assemble import reviser_for, sample
from egosrag.egos.view import ConversationView
from egosrag.pocket.grounding import grounded
from egosrag.schema import Evidence, Reply, Role, Scene, Turn


class Recalled(NamedTuple):
    """What a dynamic memory found."""

    turn: Turn
    score: float
    when: str


EDDA = load_role(sample("edda.en.json"))
LUO = load_role(sample("luo.zh.json"))


def said_to(line: str, draft: str, role: Role = EDDA, *, before: tuple[str, ...] = (), **more: Any) -> str:
    """What becomes of a draft; ``before``: what the user said earlier."""
    turns = tuple(Turn(speaker="Me", text=text) for text in (*before, line))
    return grounded(draft, ConversationView(role, turns, **more))


@pytest.mark.parametrize(
    ("question", "draft", "said"),
    [
        ("Who is Pip?", "My cat is called Pip, sailor.", "Pip is my apprentice, sailor."),
        ("What is your cat called?", "My cat is called Tom, sailor.", "Biscuit is my grey cat, sailor."),
        ("Where were you born?", "That I do not know.", "I was born in the harbour town of Skerry."),
        ("What are you scared of?", "I fear the 9th of May.", "I am afraid of fog."),
        ("What are you afraid of?", "I am afraid of fog.", "I am afraid of fog."),
        ("What kind of person are you?", "I am Edda.", "I am stubborn and patient."),
        ("who are you", "Goodbye, sailor.", "I am the keeper of the lighthouse on Gull Rock, sailor."),
    ],
)
def test_the_sentence_that_fits_is_said(question: str, draft: str, said: str) -> None:
    assert said_to(question, draft) == said


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
    assert said_to(question, draft, LUO) == said


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
    assert said_to(question, draft, before=("My name is Ann.",)) == draft


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
    assert said_to(question, draft) == "That I do not know."


def test_what_the_user_said_is_found_where_the_model_did_not() -> None:
    told = ("My dog is called Bramble.", "I play the cello.")
    asked = "What is my dog called?"
    assert said_to(asked, "You have not told me.", before=told) == "Your dog is called Bramble."
    assert said_to("Where do I live?", "You have not told me.", before=told) == "You have not told me."
    assert said_to(asked, "Your dog is Bramble.", before=told) == "Your dog is Bramble."
    assert said_to("what is my name", "You have not told me.", before=("my name is Bram",)) == "Your name is Bram."
    assert said_to("我的狗叫什么？", "你还没有告诉我。", LUO, before=("我的狗叫来福。",)) == "你的狗叫来福。"


def test_a_line_that_left_the_prompt_is_forgotten_unless_a_scene_or_the_memory_has_it() -> None:
    turns = tuple(Turn(speaker="Me", text=text) for text in ("My dog is called Bramble.", "What is my dog called?"))
    draft, known = "You have not told me.", "Your dog is called Bramble."
    talk = ConversationView(EDDA, turns)
    assert grounded(draft, talk) == known
    assert grounded(draft, talk.without([turns[0].id])) == draft
    scene = Scene(text="Me tells Edda: My dog is called Bramble.", turn_ids=(turns[0].id,))
    assert grounded(draft, talk.with_scenes((scene,))) == known
    found = Recalled(turns[0], 1.0, "")
    assert grounded(draft, replace(talk.without([turns[0].id]), recalled=(found,))) == known


def test_places_in_the_sources_tell_what_the_card_does_not() -> None:
    quote = "The fog came in. Edda lives in a hut of tarred boards. She owes Brannoch forty crowns."
    facts = (Evidence(source="edda.txt", start=0, end=len(quote), quote=quote),)
    role, draft = Role(name="Edda"), "That I do not know."
    assert said_to("Where do you live?", draft, role, source_hits=facts) == "I live in a hut of tarred boards."
    assert said_to("How much do you owe Brannoch?", draft, role, source_hits=facts) == "I owe Brannoch forty crowns."


def test_an_empty_card_leaves_the_models_words() -> None:
    assert said_to("Who is Pip?", "I am well.", Role(name="Edda")) == "I am well."


@given(
    st.lists(
        st.sampled_from("I have 2 26 mules am 31 years old Ilmar and Oskar my cat 我有 九".split()),  # noqa: SIM905
        max_size=12,
    ),
    st.sampled_from(["How old are you?", "Who is Tom?", "Where do you live?", "你多大了？", "Hm.", "How many mules?"]),
    st.sampled_from([EDDA, LUO]),
)
def test_no_number_is_made_up(words: list[str], line: str, role: Role) -> None:
    said = said_to(line, " ".join(words), role)
    assert set(re.findall(r"\d+", said)) <= set(re.findall(r"\d+", f"{line} {role.model_dump_json()}"))


@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from([EDDA, LUO]))
def test_any_line_and_any_draft_can_be_given(draft: str, line: str, role: Role) -> None:
    assert isinstance(said_to(line, draft, role, before=(line,)), str)


@pytest.mark.parametrize(
    ("line", "draft", "said"),
    [
        ("Who are you afraid of?", "I am afraid of fog.", "I am afraid of fog."),
        ("Do you have any cats?", "Biscuit is my cat.", "Biscuit is my cat."),
        ("What are you afraid of, Captain?", "I am afraid of fog.", "I am afraid of fog."),
        ("May I ask what you are afraid of?", "That I do not know.", "I am afraid of fog."),
        ("Good night!", "", "I see. Tell me more."),
        ("What is that noise?", "", "That I do not know."),
    ],
)
def test_lines_as_people_put_them(line: str, draft: str, said: str) -> None:
    assert said_to(line, draft) == said


def test_a_card_without_full_stops_is_said_with_them() -> None:
    role = Role.model_validate({"name": "Edda", "background": ["She was born in Skerry", "She calls everyone sailor"]})
    assert said_to("Where were you born?", "That I do not know, sailor.", role) == "I was born in Skerry, sailor."


def test_what_another_role_says_is_not_the_users() -> None:
    turns = (Turn(speaker="Tim", text="My name is Tim."), Turn(speaker="Me", text="What is my name?"))
    assert grounded("You have not told me.", ConversationView(EDDA, turns, others=("Tim",))) == "You have not told me."


def test_a_nickname_is_the_role_too() -> None:
    role = Role.model_validate({"name": "Edda", "nickname": "Ace", "personality": ["{{char}} is afraid of fog."]})
    assert said_to("What are you afraid of?", "That I do not know.", role) == "I am afraid of fog."


def test_a_number_that_only_begins_like_the_cards_is_not_said() -> None:
    role = Role.model_validate({"name": "Edda", "background": ["She has 26 mules."]})
    assert said_to("How many mules do you have?", "I have 2 mules.", role) == "I have 26 mules."


def test_placeholders_are_filled_in() -> None:
    role = Role.model_validate({"name": "Edda", "relations": ["{{user}} is {{char}}'s oldest friend."]})
    assert said_to("Who is your oldest friend?", "That I do not know.", role, user="Ann") == "Ann is my oldest friend."


def test_pocket_speaks_from_its_card_in_one_piece() -> None:
    model = load_chat_model("pocket")
    conversation = Conversation(model, EDDA, reviser=reviser_for(model))
    *pieces, reply = conversation.stream("Who is Pip?")
    assert isinstance(reply, Reply)
    assert pieces == [reply.text]
    assert reply.stop_reason == "quote"
    assert "my apprentice" in reply.text
    assert conversation.turns()[-1].text == reply.text
