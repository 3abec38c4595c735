"""Sentence splitting: spans that cover the text without gaps, and ends where a reader sees them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egosrag.text.sentences import sentence_spans

TEXT = st.text(alphabet=st.sampled_from("开关门盖尾abcDr 12.5,!?。！？；，…“”（）「」\"'\n■|：e.g"), max_size=900)


def split(text: str) -> list[str]:
    return [text[start:end].strip() for start, end in sentence_spans(text)]


@given(TEXT)
@settings(max_examples=150, deadline=None)
def test_spans_cover_the_text_without_gap_or_overlap(text: str) -> None:
    spans = sentence_spans(text)
    assert "".join(text[start:end] for start, end in spans) == text
    assert all(start < end for start, end in spans)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("打开。关闭！真的吗？好…再见", ["打开。", "关闭！", "真的吗？", "好…", "再见"]),
        ("Open it. Close it! Really? Yes.", ["Open it.", "Close it!", "Really?", "Yes."]),
        ("Open it.\nClose it", ["Open it.", "Close it"]),
        ("", []),
    ],
)
def test_stops_and_line_breaks_end_a_sentence(text: str, expected: list[str]) -> None:
    assert split(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Use an oil, e.g. 5W-30. Then drive.", ["Use an oil, e.g. 5W-30.", "Then drive."]),
        ("Use an oil (e.g. 5W-30). Then drive.", ["Use an oil (e.g. 5W-30).", "Then drive."]),
        ("See e.g. Fig. 3 by Dr. Who. It is 3.5 mm.", ["See e.g. Fig. 3 by Dr. Who.", "It is 3.5 mm."]),
        ("Use fuse No. 5. Then drive.", ["Use fuse No. 5.", "Then drive."]),
        ("胎压为2.3巴。转速3.5。", ["胎压为2.3巴。", "转速3.5。"]),
    ],
)
def test_abbreviations_and_decimals_do_not_end_a_sentence(text: str, expected: list[str]) -> None:
    assert split(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("“你好。我走了。”", ["“你好。我走了。”"]),
        ("他说：“你好。我走了。”然后走了。", ["他说：“你好。我走了。”", "然后走了。"]),
        ("Stop! “Hello. I am leaving.” He left.", ["Stop!", "“Hello. I am leaving.”", "He left."]),
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        ("充电（约30分钟。勿拔）后断开；再检查。", ["充电（约30分钟。勿拔）后断开；", "再检查。"]),
        ("“你好。\n我走了。”", ["“你好。", "我走了。”"]),  # quotation marks in two lines are not a pair
    ],
)
def test_a_quotation_or_bracket_on_one_line_is_not_split(text: str, expected: list[str]) -> None:
    assert split(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1. Open it.\n2. Close it.", ["1. Open it.", "2. Close it."]),
        ("| a. | b。 |\n| c | d |", ["| a. | b。 |", "| c | d |"]),
    ],
)
def test_list_items_and_table_rows_are_not_split(text: str, expected: list[str]) -> None:
    assert split(text) == expected
