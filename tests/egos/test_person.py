"""A card's sentences in the role's own mouth."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from egosrag.egos.person import first_person, gender_of, second_person


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("Edda Marlow is the keeper of the lighthouse.", "I am the keeper of the lighthouse."),
        ("She was born in Skerry.", "I was born in Skerry."),
        ("She watches the ships and carries a lamp.", "I watch the ships and carry a lamp."),
        ("Edda talks fast, jokes a lot, and calls guests “hon”.", "I talk fast, joke a lot, and call guests “hon”."),
        ("She has cats and dogs, and has never been away.", "I have cats and dogs, and have never been away."),
        ("At midnight she still polishes her lamp herself.", "At midnight I still polish my lamp myself."),
        ("Once, she pulled a man out of the sea.", "Once, I pulled a man out of the sea."),
        ("What she wants most is a boat.", "What I want most is a boat."),
        ("She moved for a man who left her two weeks later.", "I moved for a man who left me two weeks later."),
        ("Fog gives her headaches, and she hates her stairs.", "Fog gives me headaches, and I hate my stairs."),
        ("Her tone is warm, and she often says “dear”.", "My tone is warm, and I often say “dear”."),
        ("Edda's boat is old.", "My boat is old."),
        ("They say Edda is fearless.", "They say I am fearless."),
        ("Captain Holt bought Edda a drink.", "Captain Holt bought me a drink."),
        ("Stubborn, but kind.", "Stubborn, but kind."),
    ],
)
def test_english_changes_pronouns_and_their_verbs(sentence: str, said: str) -> None:
    assert first_person(sentence, "Edda", "f", "en") == said


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("Tom is her brother, and he likes her soup.", "Tom is my brother, and he likes my soup."),
        ("Pip is her apprentice and she eats a lot.", "Pip is my apprentice and she eats a lot."),
        ("She shares the house with her cousin Lupe.", "I share the house with my cousin Lupe."),
        ("The sheriff is sweet on her.", "The sheriff is sweet on me."),
    ],
)
def test_somebody_elses_pronoun_stays(sentence: str, said: str) -> None:
    assert first_person(sentence, "Edda", "f", "en", of_others=True) == said


@pytest.mark.parametrize(
    ("sentence", "name", "gender", "said"),
    [
        ("Lucan Pryce drinks black coffee.", "Pryce", "m", "I drink black coffee."),
        ("The thief has escaped him four times.", "Pryce", "m", "The thief has escaped me four times."),
        ("It tends its plants.", "Ilex", "n", "I tend my plants."),
        ("They are a courier and their bike is red.", "Wren", "t", "I am a courier and my bike is red."),
    ],
)
def test_other_pronouns(sentence: str, name: str, gender: str, said: str) -> None:
    assert first_person(sentence, name, gender, "en") == said


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("洛三娘是走茶道的马帮锅头。", "我是走茶道的马帮锅头。"),
        ("大雪封山那年，她带着九个人走出了鹰嘴垭。", "大雪封山那年，我带着九个人走出了鹰嘴垭。"),
        ("阿杏是她的妹妹，她开客栈。", "阿杏是我的妹妹，她开客栈。"),
        ("她的头骡叫追云。", "我的头骡叫追云。"),
    ],
)
def test_chinese(sentence: str, said: str) -> None:
    assert first_person(sentence, "洛三娘", "f", "zh") == said


def test_what_the_user_said_is_told_back() -> None:
    assert second_person("I'm afraid of geese, and my dog bit me.", "en") == (
        "You are afraid of geese, and your dog bit you."
    )
    assert second_person("我把雨伞忘在面馆里了。", "zh") == "你把雨伞忘在面馆里了。"


@pytest.mark.parametrize(
    ("texts", "gender"),
    [
        (["She is old.", "Her son hates him."], "f"),
        (["Ann works.", "It is late."], "n"),
        (["They are old."], "t"),
        (["Ann works."], ""),
        (["他老了。"], "m"),
    ],
)
def test_the_pronoun_of_most_sentences_is_the_roles(texts: list[str], gender: str) -> None:
    assert gender_of(texts) == gender


@given(st.text(max_size=80), st.sampled_from(["m", "f", "n", "t", ""]), st.sampled_from(["en", "zh"]))
def test_numbers_stay_and_nothing_fails(text: str, gender: str, language: str) -> None:
    for said in (first_person(text, "Edda", gender, language), second_person(text, language)):
        assert re.findall(r"\d+", said) == re.findall(r"\d+", text)
        assert "\x01" not in said or "\x01" in text
