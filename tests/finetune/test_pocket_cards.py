"""The cards in pocket's training samples: freely written, and still containing their facts."""

from __future__ import annotations

import re

import pytest

from finetune.pocket.data import train_tokenizer
from finetune.pocket.grammar import Dice, cards, draw, roles
from finetune.pocket.grammar.conversation import RandomConversation
from finetune.pocket.grammar.names import COMMON_CHARACTERS, in_words
from finetune.pocket.grammar.sample import table

LANGUAGES = ("en", "zh")


def _texts(talk: RandomConversation) -> list[str]:
    role = talk.role
    return [s.text for part in (role.background, role.personality, role.speaking_style, role.relations) for s in part]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_fact_is_on_the_card_however_freely_it_is_written(language: str) -> None:
    joined = more = 0
    for n in range(300):
        talk = RandomConversation(Dice(f"free/{n}", language))
        texts = "\n".join(_texts(talk)).lower()
        for fact in talk.facts:
            restated = fact.value == fact.answer[:-1]  # the question names the value, so the whole answer is expected
            assert restated or fact.value.lower() in texts, (fact, texts)
        joined += len(_texts(talk)) < len(talk.facts)
        more += len(_texts(talk)) > len(talk.facts)
    assert joined > 20 and more > 20


def test_every_sentence_of_a_card_is_complete_and_capitalized() -> None:
    for n in range(200):
        for text in _texts(RandomConversation(Dice(f"whole/{n}", "en"))):
            assert text[0].isupper() or not text[0].isalpha()
            assert text.endswith((".", '"', '."')) and ".." not in text and ".," not in text and "{" not in text
            assert not re.search(r", and [A-Z][a-z]+ (?:has|is|was)\b", text) or " and and " not in text
        for text in _texts(RandomConversation(Dice(f"whole/{n}", "zh"))):
            assert text.endswith("。") and "。，" not in text and "。。" not in text and "{" not in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_past_event_is_answered_in_the_first_person(language: str) -> None:
    for n in range(100):
        fact = roles.fact(Dice(str(n), language), "story")
        statement = roles.by_name(fact, "Ida" if language == "en" else "阿安", language)
        assert fact.answer.startswith("I ") if language == "en" else "我" in fact.answer
        whom = fact.value if fact.value != fact.answer[:-1] else ""
        assert whom in statement and whom in fact.answer and "Ida" not in fact.answer


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_framed_question_keeps_its_words(language: str) -> None:
    ask = "Where do you live?" if language == "en" else "你住在哪里？"
    framed = {cards.framed_question(Dice(str(n), language), ask, "Bo") for n in range(200)}
    assert len(framed) > 15
    for text in framed:
        assert ask[1:-1] in text and "{" not in text
    assert any("Bo" in text for text in framed)
    assert cards.framed_question(Dice("1", "zh"), "你怕水吗？", "Bo").count("吗") == 1


def test_numbers_are_written_in_words() -> None:
    assert [in_words(n, "zh") for n in (4, 10, 11, 20, 26, 99)] == ["四", "十", "十一", "二十", "二十六", "九十九"]
    assert [in_words(n, "en") for n in (4, 11, 20, 26)] == ["four", "eleven", "twenty", "twenty-six"]
    for language in LANGUAGES:
        drawn = {Dice(str(n), language).amount(5, 60) for n in range(200)}
        assert any(text.isdecimal() for text in drawn) and not all(text.isdecimal() for text in drawn)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_question_that_no_card_answers_is_declined(language: str) -> None:
    unknown = table("talk", language)["unknown"]
    questions = {cards.unanswerable_question(Dice(str(n), language)) for n in range(300)}
    assert len(questions) > 100
    talk = RandomConversation(Dice("3", language))
    answers = [talk.exchange("unknown")[1] for _ in range(60)]
    assert any(unknown.strip(".。") in answer for answer in answers)


def test_every_common_character_is_one_token() -> None:
    samples = [draw("role", "zh", str(n)) for n in range(40)]
    vocabulary = train_tokenizer(samples, 6400)
    assert all(len(vocabulary.encode(character).ids) == 1 for character in COMMON_CHARACTERS)
