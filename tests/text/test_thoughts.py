"""Thoughts of reasoning models: removed from the stream however it is cut, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from egosrag.text.thoughts import ThoughtFilter


def visible(*chunks: str, thinking: bool = False) -> str:
    thoughts = ThoughtFilter(thinking)
    return "".join([*map(thoughts.feed, chunks), thoughts.finish()])


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>Who am I? Tim.</think>\n\nI am Tim.", "I am Tim."),
        ("<think>\n\n</think>\n\n我是悟空。", "我是悟空。"),
        ("<THINK>a</THINK>b", "b"),
        ("<thinking>a < b</thinking> c", "c"),
        ("I am Tim.", "I am Tim."),
        ("1 < 2 and <b>bold</b> stay", "1 < 2 and <b>bold</b> stay"),
        ("<think>all of the budget", ""),
        ("Well, <think>hm</think> yes.", "Well, yes."),
        ("thoughts without a beginning</think>\nI am Tim.", "I am Tim."),
        ("I think <thi", "I think <thi"),
    ],
)
def test_the_answer_alone_is_passed_on(text: str, answer: str) -> None:
    assert visible(text) == answer


def test_a_reply_that_begins_inside_thoughts() -> None:
    assert visible("who am I? </thi", "nk>\n\nI am", " Tim.", thinking=True) == "I am Tim."
    thoughts = ThoughtFilter(thinking=True)
    assert thoughts.feed("and so on") + thoughts.finish() == ""
    assert thoughts.thinking


PARTS = ["<think>", "<", "a", " b", "\n", "<thin", "我", "k>", "<think>x</think>"]


@given(st.lists(st.sampled_from(PARTS), max_size=12), st.data())
def test_the_result_does_not_depend_on_the_chunks(parts: list[str], data: st.DataObject) -> None:
    text = "<think>x</think>" + "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert visible(*chunks) == visible(text)


@given(st.text(max_size=80).filter(lambda text: "<" not in text))
def test_text_without_tags_is_unchanged(text: str) -> None:
    assert visible(*text) == text
