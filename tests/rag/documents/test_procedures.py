"""Procedures: numbered steps and bulleted lists are found as a whole, with their introductions and over page ends."""

from __future__ import annotations

import pytest

from egosrag.rag.documents.procedures import around, goes_on, number_of, procedures
from egosrag.schema import Heading, Page

HOOD = (
    "The hood.\nOpen it so:\n1. Stop.\n2. Pull.\nNote: it rises.\n3. Lift.\n- with care\nDone.\n\n"
    "Wheels\n1. Park.\n2. Loosen."
)


def page(text: str, number: int = 1, headings: tuple[str, ...] = ()) -> Page:
    marked = tuple(Heading(start=text.index(title), level=1, title=title) for title in headings)
    return Page(source="m", page=number, text=text, headings=marked)


def test_steps_are_found_with_their_introduction_notes_and_bullets() -> None:
    texts = [HOOD[p.start : p.end] for p in procedures(page(HOOD))]
    first = "Open it so:\n1. Stop.\n2. Pull.\nNote: it rises.\n3. Lift.\n- with care"
    assert texts == [first, "1. Park.\n2. Loosen."]
    assert around(page(HOOD), HOOD.index("2. Pull"), HOOD.index("Note")) == (HOOD.index("Open"), HOOD.index("\nDone"))
    assert around(page(HOOD), 0, 4) == (0, 4)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1 打开盖子。\n2\n取出电池。\n3 合上。", ["1 打开盖子。\n2\n取出电池。\n3 合上。"]),
        ("01打开。\n02关闭。", ["01打开。\n02关闭。"]),
        ("①打开。\n②关闭。", ["①打开。\n②关闭。"]),
        ("（1）打开。\n（2）关闭。", ["（1）打开。\n（2）关闭。"]),
        ("■油。\n■水。\n完。", ["■油。\n■水。"]),
        ("2 seats and\n5 doors.", ["2 seats and"]),
        ("Text.\n3.5 bar\n4.5 bar", []),
        ("Oil: 1 | Water: 2\nOil: 3 | Water: 4", []),
    ],
)
def test_kinds_of_lists(text: str, found: list[str]) -> None:
    assert [text[p.start : p.end] for p in procedures(page(text))] == found


def test_steps_go_on_on_the_next_page() -> None:
    one, two = page("Hood\n1. Stop.\n2. Pull."), page("3. Lift.\n4. Hold.\nDone.", 2)
    assert goes_on(one, two)
    assert goes_on(page("Hood\n1. Stop."), page("2. Pull.", 2))
    assert not goes_on(one, page("1. Park.\n2. Loosen.", 2))
    assert not goes_on(one, page("3. Lift.", 3))
    assert not goes_on(page("1. Stop.\n2. Pull.\nDone."), two)
    assert not goes_on(one, None)


def test_the_number_of_a_step() -> None:
    lines = ["1. a", "2) a", "3 打开", "步骤4 打开", "Step 5: a", "⑥a", "(7) a", "08关", "1.5 l", "2025", "a 1", "3"]
    assert [number_of(line) for line in lines] == [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0]
