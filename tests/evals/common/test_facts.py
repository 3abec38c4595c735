"""Facts in a text, and estimates with their intervals: exact rules, worked out by hand."""

from __future__ import annotations

import pytest

from evals.common.estimates import estimate, percent, precision_recall
from evals.common.facts import contains, contains_all


@pytest.mark.parametrize(
    ("text", "wordings"),
    [
        ("The capital is Canberra.", ["canberra"]),
        ("It RAINED a lot.", ["rain*"]),
        ("pH是3。", ["3"]),
        ("It cost 1,250 dollars.", ["1250"]),
        ("x = (-b ± √(b² − 4ac)) / 2a", ["b^2 - 4ac"]),
        ("f'(x) = 2x·ln x + x", ["2x·ln x+x"]),
        ("The probability is 3/8.", ["3/8", "0.375"]),
        ("首都是堪培拉。", ["堪培拉"]),
        ("ＮａＣｌ", ["NaCl"]),
    ],
)
def test_a_wording_matches(text: str, wordings: list[str]) -> None:
    assert contains(text, wordings)


@pytest.mark.parametrize(
    ("text", "wordings"),
    [
        ("The reduced price", ["red"]),
        ("In 19450 days", ["1945"]),
        ("about 44.15 metres", ["44.1"]),
        ("It is 13/8.", ["3/8"]),
        ("Training is hard.", ["rain*"]),
        ("一百零二十", ["102"]),
        ("The bees sleep.", ["bee"]),
        ("", ["a"]),
    ],
)
def test_a_part_of_a_longer_word_or_number_does_not_match(text: str, wordings: list[str]) -> None:
    assert not contains(text, wordings)


def test_a_text_has_to_contain_every_fact() -> None:
    facts = [["carbon dioxide", "CO2"], ["oxygen"]]
    assert contains_all("They take in CO2 and give off oxygen.", facts)
    assert not contains_all("They take in CO2.", facts)


def test_the_final_number_is_the_last_one_and_words_match_in_a_text_without_digits() -> None:
    assert contains_all("det = 2·4 - 3·1 = 5", [["5", "five"]], final=True)
    assert not contains_all("5 is the first step, and the result is 8.", [["5", "five"]], final=True)
    assert contains_all("It is five.", [["5", "five"]], final=True)


def test_precision_and_recall_of_a_hand_computed_set() -> None:
    found = precision_recall([True, True, True, False, False], [True, True, False, True, False])
    assert (found["precision"]["value"], found["recall"]["value"]) == (2 / 3, 2 / 3)
    assert (found["n"], found["positive"], found["found"]) == (5, 3, 3)
    assert precision_recall([False], [False])["precision"] is None


def test_an_estimate_leaves_out_none() -> None:
    assert estimate([None, None]) is None
    half = estimate([1.0, None, 0.0])
    assert half is not None and (half["n"], half["value"]) == (2, 0.5)
    mean = estimate([0.25, 0.75])
    assert mean is not None and mean["value"] == 0.5
    assert percent(None) == "-"
    assert percent(estimate([1.0] * 10)) == "100 (72-100)"
