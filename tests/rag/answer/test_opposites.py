"""A quote does not support a sentence that says the opposite of one of its words in the same position."""

from __future__ import annotations

import pytest

from egosrag.rag.answer.neighbouring_words import Match
from egosrag.rag.answer.opposites import match_opposites, opposites
from egosrag.rag.index.manual_index import ManualIndex
from evals.common.citation_check import evaluate
from evals.opposites import cases

KEY = "To lock all doors, press the lock button once."
WINDOW = "Pull the switch to close the window, push it to open the window."
TYRE = "The left lever moves the seat; the right lever folds the backrest."


@pytest.mark.parametrize(
    ("text", "quote", "supported"),
    [
        ("To unlock all doors, press the lock button once.", KEY, False),
        ("To lock all doors, press the unlock button once.", KEY, False),
        ("Press the lock button once to lock all doors.", KEY, True),
        ("Press the unlock button once.", KEY, False),
        ("The doors lock.", "The doors lock.", True),
        ("Push the switch to open the window.", WINDOW, True),
        ("Pull the switch to open the window.", WINDOW, False),
        ("The right lever moves the seat.", TYRE, False),
        ("The left lever moves the seat.", TYRE, True),
        ("The right lever folds the backrest.", TYRE, True),
        ("Turn the heating on before you start.", "Turn the heating off before you start.", False),
        ("Switch the lamp off.", "Switch off the lamp.", True),
        ("The lamp is on the roof.", "Turn off the lamp on the roof.", True),
        ("Reduce the pressure.", "Increasing the pressure is allowed.", False),
        ("The pressure was lowered.", "Decrease the pressure.", True),
        ("Check the oil before driving.", "Check the oil after driving.", False),
        ("Open the hood with the left lever.", "Pull the lever. The hood stays closed until then.", True),
        ("短按解锁键锁定车门。", "短按锁定键锁定车门。", False),
        ("向左转动旋钮。", "向右转动旋钮。", False),
        ("后排座椅可以放倒。", "前排座椅可以放倒。", False),
        ("关闭空调后再熄火。", "打开空调后再熄火。", False),
        ("增大音量。", "减小音量。", False),
        ("提高音量。", "增大音量。", True),
        ("打开后备厢。", "打开后备厢门。", True),
        ("目前没有故障。", "后轮目前没有故障。", True),
    ],
)
def test_a_quote_supports_no_sentence_with_an_opposite(text: str, quote: str, supported: bool) -> None:
    assert match_opposites(text, quote).supports is supported


def test_an_equal_sentence_elsewhere_supports_what_another_contradicts() -> None:
    assert match_opposites("Pull the left lever up.", "Pull the left lever up.") is Match.COPIED
    assert match_opposites("Pull the left lever up.", "Pull the right lever up.") is Match.ALTERED
    assert match_opposites("Push it to open the door.", "Pull it to close the door.") is Match.UNSUPPORTED


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("All right, drive right away.", []),
        ("It is based on the manual.", []),
        ("The lights come on.", ["on"]),
        ("Unlocking is easier when it has been opened.", ["Unlocking", "opened"]),
        ("最后看后视镜，然后向前开。", ["前"]),
        ("左右两侧", []),
    ],
)
def test_words_with_an_opposite_are_found_in_their_sense(text: str, found: list[str]) -> None:
    assert [text[word.start : word.end] for word in opposites(text)] == found


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_sample_manuals_sentences_keep_their_support_and_their_opposites_have_none(
    manuals: dict[str, ManualIndex], language: str
) -> None:
    result = evaluate(manuals[language], cases)
    assert result["lost"] <= 0.02
    assert result["caught"] >= 0.95


def test_the_sentences_of_a_real_manual(car_manual: ManualIndex) -> None:
    result = evaluate(car_manual, cases)
    assert result["lost"] <= 0.02
    assert result["caught"] >= 0.95
