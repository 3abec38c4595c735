"""Chapters, dated entries and files as points, and how a user names one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from egosrag.errors import RoleError
from egosrag.roles.points import find_point, in_order, timeline_of

RAIN = "It rained all day in the long street. " * 3
雨 = "长街上下了一整天的雨，谁也没有出门。" * 4


def labels(text: str, name: str = "book.txt") -> list[str]:
    return [point.label for point in timeline_of([(name, text)])]


def chapters(*headings: str, body: str = RAIN) -> str:
    return "\n\n".join(f"{heading}\n\n{body}" for heading in headings)


@pytest.mark.parametrize(
    "headings",
    [
        ("Chapter 1", "Chapter 2"),
        ("CHAPTER ONE. The Boat", "CHAPTER TWO. The Storm"),
        ("Chapter I: The Boat", "Chapter II: The Storm"),
        ("I", "II", "III"),
        ("Prologue", "Chapter 1", "Epilogue"),
        ("Act 1", "Act 2"),
        ("3 May 1922", "May 12th, 1922, at sea"),
        ("2024-01-05", "2024-02-01"),
    ],
)
def test_headings_are_points(headings: tuple[str, ...]) -> None:
    assert labels(chapters(*headings)) == list(headings)


@pytest.mark.parametrize(
    "headings",
    [
        ("第一章 出海", "第二章 归来"),
        ("第1回：出海", "第2回：归来"),
        ("序章", "第一章", "尾声"),
        ("2024年5月3日", "2024年5月9日"),
        ("第一幕", "第二幕"),
    ],
)
def test_chinese_headings_are_points(headings: tuple[str, ...]) -> None:
    assert labels(chapters(*headings, body=雨)) == list(headings)


def test_markdown_headings_are_points_without_their_marks() -> None:
    assert labels(chapters("# The Boat", "## **The Storm** ##")) == ["The Boat", "The Storm"]


def test_a_table_of_contents_and_sentences_are_no_headings() -> None:
    contents = "Contents\nI\nII\nIII\n\nThe book of the rain, with a dedication to those who stayed at home.\n\n"
    text = (
        contents
        + chapters("I", "II", "III")
        + "\nchapter 4 of his life began here, he said.\nIntroductions, please!”\n"
    )
    assert labels(text) == ["I", "II", "III"]
    points = timeline_of([("book.txt", text)])
    assert text[points[1].start :].startswith("II\n\nIt rained")


def test_chapters_that_are_counted_anew_have_the_name_of_their_part() -> None:
    text = "Part One\n\n" + chapters("Chapter 1", "Chapter 2") + "\n\nPart Two\n\n" + chapters("Chapter 1")
    assert labels(text) == ["Part One, Chapter 1", "Part One, Chapter 2", "Part Two, Chapter 1"]
    timeline = timeline_of([("book.txt", text)])
    assert text[timeline[2].start :].startswith("Part Two")
    assert find_point(timeline, "chapter 2") == 1
    assert find_point(timeline, "part one") == 1 and find_point(timeline, "Part II") == 2
    with pytest.raises(RoleError, match="may be each of 'Part One, Chapter 1', 'Part Two, Chapter 1'"):
        find_point(timeline, "chapter 1")


def test_a_file_without_headings_is_a_point_and_chapters_of_several_files_have_their_names() -> None:
    assert labels(RAIN, "letters/first.txt") == ["first"]
    two = timeline_of([("one.txt", chapters("I", "II")), ("two.txt", chapters("I", "II"))])
    assert [point.label for point in two] == ["one, I", "one, II", "two, I", "two, II"]
    assert find_point(two, "one.txt") == 1 and find_point(two, "two, I") == 2


def test_a_chapter_heading_names_a_file_of_one_chapter() -> None:
    assert [point.label for point in timeline_of([("a.txt", chapters("Chapter 3"))])] == ["Chapter 3"]


def test_files_are_ordered_by_the_numbers_in_their_names() -> None:
    sources = [(f"chapter{n}.txt", RAIN) for n in (1, 10, 2)]
    assert [name for name, _ in in_order(sources)] == ["chapter1.txt", "chapter2.txt", "chapter10.txt"]
    other = [("b.txt", RAIN), ("a.txt", RAIN)]
    assert in_order(other) == other, "the order that was given"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("chapter 5", 4), ("Chapter V", 4), ("V", 4), ("5", 4), ("five", 4), ("第五章", 4), ("chapter five", 4),
        ("the fifth chapter", 4), ("5th chapter", 4), ("12", None), ("", None), ("0", None), ("chapter -1", None),
    ],
)  # fmt: skip
def test_a_point_is_named_as_one_writes_it(words: str, found: int | None) -> None:
    timeline = timeline_of([("gatsby.txt", chapters("I", "II", "III", "IV", "V", "VI"))])
    if found is None:
        with pytest.raises(RoleError, match="give one of I, II, III"):
            find_point(timeline, words)
    else:
        assert find_point(timeline, words) == found


def test_titles_dates_and_positions_name_points() -> None:
    titles = timeline_of([("b.txt", chapters("# The Boat", "# The Storm", "# Home"))])
    assert find_point(titles, "storm") == 1 and find_point(titles, "chapter 3") == 2
    diary = timeline_of([("d.txt", chapters("3 May 1922", "May 12, 1922", "June 1, 1922"))])
    assert find_point(diary, "1922-05-12") == 1
    assert find_point(diary, "20 May 1922") == 1, "the last entry until then"
    with pytest.raises(RoleError):
        find_point(diary, "1 May 1922")


def test_a_card_without_points_says_how_to_get_some() -> None:
    with pytest.raises(RoleError, match="extract it again from sources with chapters"):
        find_point((), "chapter 5")


@given(st.lists(st.text(max_size=200), min_size=1, max_size=4))
def test_any_text_has_points_in_order_with_different_labels(texts: list[str]) -> None:
    sources = [(f"{number}.txt", text) for number, text in enumerate(texts)]
    timeline = timeline_of(sources)
    assert len({point.label for point in timeline}) == len(timeline)
    for name, text in sources:
        starts = [point.start for point in timeline if point.source == name]
        assert starts[0] == 0 and starts == sorted(set(starts)) and starts[-1] <= len(text)
    for number, point in enumerate(timeline):
        if point.label.strip():
            assert find_point(timeline, point.label) == number
