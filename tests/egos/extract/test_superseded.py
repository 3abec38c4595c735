"""Which statements a later place of the sources supersedes."""

from __future__ import annotations

import pytest

from egosrag.egos.extract.evidence import FoundStatement
from egosrag.egos.extract.superseded import mark_superseded, supersedes
from egosrag.schema import Evidence, Point, Statement


def found(text: str, start: int = 0, source: str = "a") -> FoundStatement:
    place = Evidence(source=source, start=start, end=start + 1, quote="x")
    return FoundStatement("background", Statement(text=text, evidence=(place,)), 1.0)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Mara is 17 years old", "Mara is 19 years old"),
        ("Mara lives in Hull", "Mara moved to Skerry"),
        ("Mara lives with her aunt in Hull", "Mara now lives in Skerry"),
        ("Mara works as a cook", "Mara works as a pilot"),
        ("Mara is a cook", "Mara is now a pilot"),
        ("Mara is a cook", "Mara becomes the harbour's pilot"),
        ("Mara is engaged to Tom", "Mara is married to Tom"),
        ("Mara smokes a pipe", "Mara no longer smokes a pipe"),
        ("玛拉十七岁", "玛拉十九岁"),
        ("玛拉住在赫尔", "玛拉搬到了斯凯里"),
        ("玛拉是厨师", "玛拉当上了领航员"),
        ("玛拉未婚", "玛拉已婚"),
        ("玛拉喜欢抽烟斗", "玛拉不再抽烟斗"),
    ],
)
def test_what_is_so_no_longer(before: str, after: str) -> None:
    assert supersedes(found(after), found(before), "玛拉" if "玛拉" in before else "Mara")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Mara lived in Hull as a child", "Mara lived in Skerry"),  # a novel looks back
        ("Mara lives in Hull", "Mara lives in Hull with her aunt"),
        ("Mara is a cook", "Mara is a mother"),
        ("Mara is a cook", "Mara likes Tom"),
        ("Mara likes the sea", "Mara no longer trusts Tom"),
        ("玛拉是厨师", "玛拉是母亲"),
        ("玛拉住在赫尔", "玛拉喜欢斯凯里"),
        ("Mara is 17 years old", "玛拉十九岁"),
        ("Tom lives in Hull, near Mara", "Mara moved to Skerry"),
        ("何望山住在茶馆楼上，常常同玛拉下棋", "玛拉搬到了斯凯里"),
    ],
)
def test_what_may_still_be_so(before: str, after: str) -> None:
    assert not supersedes(found(after), found(before), "玛拉" if "玛拉" in before else "Mara")


def test_the_first_later_place_says_until_when() -> None:
    timeline = [Point(label="1", source="b", start=0), Point(label="2", source="a", start=0)]
    first, second, third = (
        found("Mara is 17 years old", 90, "b"),
        found("Mara is 18 years old", 5, "a"),
        found("Mara is 19 years old", 50, "a"),
    )
    marked = mark_superseded([third, first, second], timeline, "Mara")
    assert [item.statement.text for item in marked] == [item.statement.text for item in (third, first, second)]
    assert [item.statement.until for item in marked] == [
        None,
        second.statement.evidence[0],
        third.statement.evidence[0],
    ]
