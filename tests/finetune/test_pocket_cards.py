"""The cards that pocket learns from: written freely, with the facts still to be read from them."""

from __future__ import annotations

import re

import pytest

from finetune.pocket_data import IGNORE, relations, train_tokenizer
from finetune.pocket_grammar import Dice, cards, draw, roles
from finetune.pocket_grammar.names import LEVEL_1, spelt
from finetune.pocket_grammar.sample import table
from finetune.pocket_grammar.talk import Talk

LANGUAGES = ("en", "zh")


def _texts(talk: Talk) -> list[str]:
    role = talk.role
    return [s.text for part in (role.background, role.personality, role.speaking_style, role.relations) for s in part]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_fact_stands_on_the_card_however_freely_it_is_written(language: str) -> None:
    joined = more = 0
    for n in range(300):
        talk = Talk(Dice(f"free/{n}", language))
        texts = "\n".join(_texts(talk)).lower()
        for fact in talk.facts:
            restated = fact.value == fact.answer[:-1]  # the question named the value: the whole answer is wanted
            assert restated or fact.value.lower() in texts, (fact, texts)
        joined += len(_texts(talk)) < len(talk.facts)
        more += len(_texts(talk)) > len(talk.facts)
    assert joined > 20 and more > 20


def test_no_sentence_of_a_card_breaks_off_or_begins_small() -> None:
    for n in range(200):
        for text in _texts(Talk(Dice(f"whole/{n}", "en"))):
            assert text[0].isupper() or not text[0].isalpha()
            assert text.endswith((".", '"', '."')) and ".." not in text and ".," not in text and "{" not in text
            assert not re.search(r", and [A-Z][a-z]+ (?:has|is|was)\b", text) or " and and " not in text
        for text in _texts(Talk(Dice(f"whole/{n}", "zh"))):
            assert text.endswith("。") and "。，" not in text and "。。" not in text and "{" not in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_happened_is_told_in_the_first_person(language: str) -> None:
    for n in range(100):
        fact = roles.fact(Dice(str(n), language), "story")
        told = roles.named(fact, "Ida" if language == "en" else "阿安", language)
        assert fact.answer.startswith("I ") if language == "en" else "我" in fact.answer
        whom = fact.value if fact.value != fact.answer[:-1] else ""
        assert whom in told and whom in fact.answer and "Ida" not in fact.answer


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_framed_question_keeps_its_words(language: str) -> None:
    ask = "Where do you live?" if language == "en" else "你住在哪里？"
    framed = {cards.framed(Dice(str(n), language), ask, "Bo") for n in range(200)}
    assert len(framed) > 15
    for text in framed:
        assert ask[1:-1] in text and "{" not in text
    assert any("Bo" in text for text in framed)
    assert cards.framed(Dice("1", "zh"), "你怕水吗？", "Bo").count("吗") == 1


def test_numbers_are_spelt_as_people_write_them() -> None:
    assert [spelt(n, "zh") for n in (4, 10, 11, 20, 26, 99)] == ["四", "十", "十一", "二十", "二十六", "九十九"]
    assert [spelt(n, "en") for n in (4, 11, 20, 26)] == ["four", "eleven", "twenty", "twenty-six"]
    for language in LANGUAGES:
        drawn = {Dice(str(n), language).amount(5, 60) for n in range(200)}
        assert any(text.isdecimal() for text in drawn) and not all(text.isdecimal() for text in drawn)


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_no_card_tells_is_declined(language: str) -> None:
    unknown = table("talk", language)["unknown"]
    asked = {cards.outside(Dice(str(n), language)) for n in range(300)}
    assert len(asked) > 100
    talk = Talk(Dice("3", language))
    answers = [talk.exchange("unknown")[1] for _ in range(60)]
    assert any(unknown.strip(".。") in answer for answer in answers)


def test_every_common_character_is_a_token() -> None:
    samples = [draw("role", "zh", str(n)) for n in range(40)]
    vocabulary = train_tokenizer(samples, 6400)
    assert all(len(vocabulary.encode(character).ids) == 1 for character in LEVEL_1)


@pytest.mark.parametrize("language", LANGUAGES)
def test_persons_who_stand_close_together_are_asked_for_by_name_and_by_relation(language: str) -> None:
    talks = [talk for n in range(120) if (talk := Talk(Dice(f"bonds/{n}", language))).relations]
    assert 40 < len(talks) < 80
    by_name = 0
    for talk in talks:
        bonds = [fact for fact in talk.facts if fact.kind.startswith("bond")]
        assert len(bonds) == len({fact.kind for fact in bonds}) == len(talk.relations) > 1
        for fact, relation in zip(bonds, talk.relations, strict=True):
            assert relation.split()[-1] in fact.answer
            by_name += fact.value in fact.answer and fact.value == fact.answer[:-1]
    assert by_name > 30


@pytest.mark.parametrize("language", LANGUAGES)
def test_somebody_whom_the_card_lacks_is_not_one_whom_it_has(language: str) -> None:
    for n in range(60):
        talk = Talk(Dice(f"lacks/{n}", language))
        if talk.relations:
            asks = {talk._unasked() for _ in range(20)}
            assert not any(f" your {r}?" in ask or f"你的{r}是谁" in ask for r in talk.relations for ask in asks)


@pytest.mark.parametrize("language", LANGUAGES)
def test_who_is_who_is_asked_of_what_was_told(language: str) -> None:
    declined = 0
    for n in range(40):
        text, answers = roles.who_is_who(Dice(f"who/{n}", language))
        told, _, asked = text.partition("\n")
        assert len(answers) == asked.count("\n") == 8 and "{" not in text
        for start, end in answers:
            answer = text[start:end]
            if answer == table("talk", language)["unknown"]:
                declined += 1
                continue
            mine, _, other = (
                answer[:-1].partition("叫" if "叫" in answer else "是")
                if language == "zh"
                else (answer[:-1].partition(" is called " if " is called " in answer else " is my "))
            )
            assert (
                other and other.removeprefix("我的") in told and mine.removeprefix("My ").removeprefix("我的") in told
            )
    assert 40 < declined < 120


def test_the_batches_of_who_is_who_teach_the_answers_alone() -> None:
    samples = [draw("role", language, str(n)) for n in range(20) for language in LANGUAGES]
    vocabulary = train_tokenizer(samples, 6400)
    ids, labels = relations(vocabulary, 1024, "0")
    assert ids.numel() <= 1024 and len(ids) > 2
    taught = vocabulary.decode(labels[0][labels[0] != IGNORE].tolist())
    unknown = table("talk", "en")["unknown"]
    assert sum(taught.count(part) for part in (" is called ", " is my ", unknown)) == 8
    assert (ids[labels != IGNORE] == labels[labels != IGNORE]).all()
    again, _ = relations(vocabulary, 1024, "0")
    assert (ids == again).all()
