"""Conversion of a card's sentences to the first person, and of the user's lines to the second."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from egosrag.pocket.first_person import first_person, gender_of, second_person


@pytest.mark.parametrize(
    ("sentence", "expected"),
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
        ("Edda and Tom are twins.", "Tom and I are twins."),
        ("Edda doesn’t like fish and hasn’t learned to swim.", "I don't like fish and haven't learned to swim."),
        ("Once Edda and her crew saw a whale", "Once I and my crew saw a whale."),
    ],
)
def test_english_changes_pronouns_and_their_verbs(sentence: str, expected: str) -> None:
    assert first_person(sentence, ["Edda Marlow"], "f", "en") == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Tom is her brother, and he likes her soup.", "Tom is my brother, and he likes my soup."),
        ("Pip is her apprentice and she eats a lot.", "Pip is my apprentice and she eats a lot."),
        ("She shares the house with her cousin Lupe.", "I share the house with my cousin Lupe."),
        ("The sheriff is sweet on her.", "The sheriff is sweet on me."),
        ("John Marlow is her uncle.", "John Marlow is my uncle."),
        ("Tom Marlow's wife hates her.", "Tom Marlow's wife hates me."),
    ],
)
def test_pronouns_of_other_persons_stay(sentence: str, expected: str) -> None:
    assert first_person(sentence, ["Edda Marlow"], "f", "en", of_others=True) == expected


@pytest.mark.parametrize(
    ("sentence", "name", "gender", "expected"),
    [
        ("Lucan Pryce drinks black coffee.", "Pryce", "m", "I drink black coffee."),
        ("Dr. Patel is her boss.", "Dr. Chen", "f", "Dr. Patel is my boss."),
        ("Captain Ahab is his rival.", "Captain Holt", "m", "Captain Ahab is my rival."),
        ("The fog scares him.", "The Grey Warden", "m", "The fog scares me."),
        ("mr. fox eats mr. hen.", "mr. fox", "m", "I eat mr. hen."),
        ("The thief has escaped him four times.", "Pryce", "m", "The thief has escaped me four times."),
        ("It tends its plants.", "Ilex", "n", "I tend my plants."),
        ("They are a courier and their bike is red.", "Wren", "t", "I am a courier and my bike is red."),
    ],
)
def test_other_pronouns_and_kinds_of_names(sentence: str, name: str, gender: str, expected: str) -> None:
    assert first_person(sentence, [name], gender, "en") == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("洛三娘是走茶道的马帮锅头。", "我是走茶道的马帮锅头。"),
        ("大雪封山那年，她带着九个人走出了鹰嘴垭。", "大雪封山那年，我带着九个人走出了鹰嘴垭。"),
        ("阿杏是她的妹妹，她开客栈。", "阿杏是我的妹妹，她开客栈。"),
        ("她的头骡叫追云。", "我的头骡叫追云。"),
        ("她和她的姐姐，她们开店", "我和我的姐姐，她们开店。"),
    ],
)
def test_chinese_changes_names_and_pronouns(sentence: str, expected: str) -> None:
    assert first_person(sentence, ["洛三娘"], "f", "zh") == expected


def test_chinese_words_that_contain_the_pronoun_stay() -> None:
    assert first_person("他弹吉他，不和其他人说话，也怕他们。", ["李四"], "m", "zh") == (
        "我弹吉他，不和其他人说话，也怕他们。"
    )


def test_second_person_repeats_what_the_user_said() -> None:
    assert second_person("i told you my cat is Tom", "en") == "You told me your cat is Tom."
    assert second_person("我想请你吃饭。", "zh") == "你想请我吃饭。"
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
def test_the_most_frequent_pronoun_is_the_roles(texts: list[str], gender: str) -> None:
    assert gender_of(texts) == gender


_WORDS = """Edda Marlow Edda's she her hers herself he Tom and but is has watches only rarely calls speaks 7 42 the in
everyone “dear” fog, . , 3""".split()  # noqa: SIM905


@given(st.lists(st.sampled_from(_WORDS), max_size=60), st.sampled_from(["m", "f", "n", "t", ""]), st.booleans())
def test_numbers_and_other_names_stay(words: list[str], gender: str, of_others: bool) -> None:
    text = " ".join(words)
    for converted in (
        first_person(text, ["Edda Marlow"], gender, "en", of_others=of_others),
        second_person(text, "en"),
    ):
        assert re.findall(r"\d+", converted) == re.findall(r"\d+", text)
        # Capitalised words behind a part of the role's name are read as more of it: "Edda Marlow Tom".
        longer_names = re.findall(r"\b(?:Edda|Marlow)(?: (?:Edda|Marlow|Tom))*", text)
        assert converted.count("Tom") >= text.count("Tom") - "".join(longer_names).count("Tom")
        assert not re.search("[\x01-\x03]", converted)


@given(st.text(max_size=80), st.sampled_from(["m", "f", "n", "t", ""]), st.sampled_from(["en", "zh"]))
def test_arbitrary_text_is_converted_without_an_error(text: str, gender: str, language: str) -> None:
    for converted in (first_person(text, ["Edda"], gender, language), second_person(text, language)):
        assert re.findall(r"[0-9]+", converted) == re.findall(r"[0-9]+", text)


@pytest.mark.timeout(5)
@pytest.mark.parametrize("word", ["only ", "rarely ", "Edda ", "and calls ", "A. ", "he ", ", speaks "])
def test_a_hostile_card_is_converted_in_time(word: str) -> None:
    first_person("She is here and " + word * 60 + "1.", ["Edda"], "f", "en")
