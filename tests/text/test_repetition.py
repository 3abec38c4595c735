"""Loops of a model that lost the thread, and what is none: laughs, refrains, rows of dots."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from egosrag.text.repetition import is_runaway


@pytest.mark.parametrize(
    "text",
    [
        "I am a cook. " + "I am a captain. " * 4,
        "I fear fog. " + "I am afraid of the ship's crew's crew. " * 3,
        "我怕雾。" + "我害怕船上的那些人，他们总是在夜里唱歌，唱得很响。" * 3,
        "and on " * 12,
    ],
)
def test_the_same_sentence_over_and_over_is_a_loop(text: str) -> None:
    assert is_runaway(text)


@pytest.mark.parametrize(
    "text",
    [
        "Row, row, row your boat, gently down the stream. Row, row, row your boat, gently down the stream.",
        "Ha ha ha ha ha! Stop it.",
        "........................................................................",
        "No! No! No! I will not go down to the harbour at night, and neither will you.",
        "冲啊！冲啊！冲啊！跟我来。",
        "",
    ],
)
def test_a_refrain_a_laugh_and_a_row_of_dots_are_none(text: str) -> None:
    assert not is_runaway(text)


_units = st.text(alphabet="abc de", min_size=16, max_size=60)


@given(_units.filter(lambda unit: any(map(str.isalpha, unit)) and unit not in (unit + unit)[1:-1]))
def test_three_times_any_sentence_is_a_loop(unit: str) -> None:
    assert is_runaway(f"Well. {unit * 3}")
