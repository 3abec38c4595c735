"""Revision of drafted replies: sentences of the card where they match the line, and nothing that was invented."""

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
from egosrag.pocket.grounding import revise_reply
from egosrag.schema import Evidence, Reply, Role, Scene, Turn


class Hit(NamedTuple):
    """A recalled turn, as dynamic memory retrieves it."""

    turn: Turn
    score: float
    when: str


EDDA = load_role(sample("edda.en.json"))
LUO = load_role(sample("luo.zh.json"))


def reply_to(line: str, draft: str, role: Role = EDDA, *, before: tuple[str, ...] = (), **more: Any) -> str:
    """The revised draft; ``before``: earlier lines of the user."""
    turns = tuple(Turn(speaker="Me", text=text) for text in (*before, line))
    return revise_reply(draft, ConversationView(role, turns, **more))


@pytest.mark.parametrize(
    ("question", "draft", "expected"),
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
def test_the_best_matching_sentence_of_the_card_is_spoken(question: str, draft: str, expected: str) -> None:
    assert reply_to(question, draft) == expected


@pytest.mark.parametrize(
    ("question", "draft", "expected"),
    [
        ("阿杏是谁？", "伙计，我的朋友是阿杏。", "伙计，阿杏是我的妹妹，在石门驿开客栈。"),
        ("你的头骡叫什么名字？", "伙计，我的头骡叫阿杏。", "伙计，追云是我的头骡。"),
        ("你有多少匹骡马？", "我有九个人。", "我是走茶道的马帮锅头，手下有二十六匹骡马。"),
        ("你怕什么？", "伙计，这个我不知道。", "伙计，我怕水，宁可绕路也不坐船。"),
    ],
)
def test_the_best_matching_sentence_of_a_chinese_card_is_spoken(question: str, draft: str, expected: str) -> None:
    assert reply_to(question, draft, LUO) == expected


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
def test_the_draft_stays_for_small_talk_facts_of_the_user_and_unknown_facts(question: str, draft: str) -> None:
    assert reply_to(question, draft, before=("My name is Ann.",)) == draft


@pytest.mark.parametrize(
    ("question", "draft"),
    [
        ("How old are you?", "I am 20 years old."),  # the card mentions years of work
        ("Who is Oskar?", "Oskar is my brother."),
        ("What does your mother do?", "My mother is a cook."),
        ("Will it rain?", "I saw Ilmar in 1999."),  # nowhere in the prompt
        ("Will it rain?", "Rain rain rain rain rain rain rain rain rain."),
        ("Will it rain?", "我不怕水。"),
    ],
)
def test_a_draft_with_invented_names_or_numbers_is_replaced(question: str, draft: str) -> None:
    assert reply_to(question, draft) == "That I do not know."


def test_a_fact_of_the_user_is_found_if_the_draft_misses_it() -> None:
    earlier = ("My dog is called Bramble.", "I play the cello.")
    question = "What is my dog called?"
    assert reply_to(question, "You have not told me.", before=earlier) == "Your dog is called Bramble."
    assert reply_to("Where do I live?", "You have not told me.", before=earlier) == "You have not told me."
    assert reply_to(question, "Your dog is Bramble.", before=earlier) == "Your dog is Bramble."
    assert reply_to("what is my name", "You have not told me.", before=("my name is Bram",)) == "Your name is Bram."
    assert reply_to("我的狗叫什么？", "你还没有告诉我。", LUO, before=("我的狗叫来福。",)) == "你的狗叫来福。"


def test_an_evicted_line_is_forgotten_unless_a_scene_or_recall_has_it() -> None:
    turns = tuple(Turn(speaker="Me", text=text) for text in ("My dog is called Bramble.", "What is my dog called?"))
    draft, known = "You have not told me.", "Your dog is called Bramble."
    view = ConversationView(EDDA, turns)
    assert revise_reply(draft, view) == known
    assert revise_reply(draft, view.without([turns[0].id])) == draft
    scene = Scene(text="Me tells Edda: My dog is called Bramble.", turn_ids=(turns[0].id,))
    assert revise_reply(draft, view.with_scenes((scene,))) == known
    hit = Hit(turns[0], 1.0, "")
    assert revise_reply(draft, replace(view.without([turns[0].id]), recalled=(hit,))) == known


def test_retrieved_sources_answer_what_the_card_does_not() -> None:
    quote = "The fog came in. Edda lives in a hut of tarred boards. She owes Brannoch forty crowns."
    hits = (Evidence(source="edda.txt", start=0, end=len(quote), quote=quote),)
    role, draft = Role(name="Edda"), "That I do not know."
    assert reply_to("Where do you live?", draft, role, source_hits=hits) == "I live in a hut of tarred boards."
    assert reply_to("How much do you owe Brannoch?", draft, role, source_hits=hits) == "I owe Brannoch forty crowns."


def test_an_empty_card_leaves_the_draft() -> None:
    assert reply_to("Who is Pip?", "I am well.", Role(name="Edda")) == "I am well."


@given(
    st.lists(
        st.sampled_from("I have 2 26 mules am 31 years old Ilmar and Oskar my cat 我有 九".split()),  # noqa: SIM905
        max_size=12,
    ),
    st.sampled_from(["How old are you?", "Who is Tom?", "Where do you live?", "你多大了？", "Hm.", "How many mules?"]),
    st.sampled_from([EDDA, LUO]),
)
def test_no_reply_has_an_invented_number(words: list[str], line: str, role: Role) -> None:
    reply = reply_to(line, " ".join(words), role)
    assert set(re.findall(r"\d+", reply)) <= set(re.findall(r"\d+", f"{line} {role.model_dump_json()}"))


@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from([EDDA, LUO]))
def test_arbitrary_lines_and_drafts_are_revised_without_an_error(draft: str, line: str, role: Role) -> None:
    assert isinstance(reply_to(line, draft, role, before=(line,)), str)


@pytest.mark.parametrize(
    ("line", "draft", "expected"),
    [
        ("Who are you afraid of?", "I am afraid of fog.", "I am afraid of fog."),
        ("Do you have any cats?", "Biscuit is my cat.", "Biscuit is my cat."),
        ("What are you afraid of, Captain?", "I am afraid of fog.", "I am afraid of fog."),
        ("May I ask what you are afraid of?", "That I do not know.", "I am afraid of fog."),
        ("Good night!", "", "I see. Tell me more."),
        ("What is that noise?", "", "That I do not know."),
    ],
)
def test_lines_in_the_wording_of_users(line: str, draft: str, expected: str) -> None:
    assert reply_to(line, draft) == expected


def test_a_full_stop_is_added_to_sentences_of_the_card() -> None:
    role = Role.model_validate({"name": "Edda", "background": ["She was born in Skerry", "She calls everyone sailor"]})
    assert reply_to("Where were you born?", "That I do not know, sailor.", role) == "I was born in Skerry, sailor."


def test_lines_of_another_role_are_not_taken_for_the_users() -> None:
    turns = (Turn(speaker="Tim", text="My name is Tim."), Turn(speaker="Me", text="What is my name?"))
    assert (
        revise_reply("You have not told me.", ConversationView(EDDA, turns, others=("Tim",))) == "You have not told me."
    )


def test_a_nickname_refers_to_the_role() -> None:
    role = Role.model_validate({"name": "Edda", "nickname": "Ace", "personality": ["{{char}} is afraid of fog."]})
    assert reply_to("What are you afraid of?", "That I do not know.", role) == "I am afraid of fog."


def test_a_number_that_is_a_prefix_of_the_cards_is_replaced() -> None:
    role = Role.model_validate({"name": "Edda", "background": ["She has 26 mules."]})
    assert reply_to("How many mules do you have?", "I have 2 mules.", role) == "I have 26 mules."


def test_placeholders_are_filled_in() -> None:
    role = Role.model_validate({"name": "Edda", "relations": ["{{user}} is {{char}}'s oldest friend."]})
    assert reply_to("Who is your oldest friend?", "That I do not know.", role, user="Ann") == "Ann is my oldest friend."


def test_pocket_streams_its_revised_reply_as_one_chunk() -> None:
    model = load_chat_model("pocket")
    conversation = Conversation(model, EDDA, reviser=reviser_for(model))
    *pieces, reply = conversation.stream("Who is Pip?")
    assert isinstance(reply, Reply)
    assert pieces == [reply.text]
    assert reply.stop_reason == "quote"
    assert "my apprentice" in reply.text
    assert conversation.turns()[-1].text == reply.text
