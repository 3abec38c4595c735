"""Quantities are compared by number and unit; numbers in digits, English words and Chinese numerals are equal."""

from __future__ import annotations

import pytest

from egosrag.text.numbers import Quantity, number_values, quantities, quantities_supported, spelled_numbers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Every 60,000 km or 24 months.", {("60000", "km"), ("24", "month")}),
        ("加注4.6升，等待30分钟。", {("4.6", "升"), ("30", "分钟")}),
        ("等30分。", {("30", "分钟")}),
        ("1. Wait 007 s", {("7", "s")}),
        ("2 打开盖子，按3次。", {("3", "次")}),
        ("Type CR2032 is a battery.", set()),
        ("No numbers.", set()),
    ],
)
def test_quantities_are_numbers_with_their_units(text: str, expected: set[tuple[str, str]]) -> None:
    assert quantities(text) == {Quantity(*pair) for pair in expected}


@pytest.mark.parametrize(
    ("text", "source", "supported"),
    [
        ("它在25米内有效。", "距离车辆25 米以内", True),
        ("它在52米内有效。", "距离车辆25米以内", False),
        ("等30秒。", "等待30分钟。", False),
        ("It takes 4.6 litres.", "takes 4.6 litres", True),
        ("It takes 46 litres.", "takes 4.6 litres", False),
        ("It works within 25 meters.", "within 25 metres of the car", True),
        ("Every 60000 km.", "every 60,000 km", True),
        ("1. 打开盖子。", "打开盖子。", True),
        ("没有数字。", "有5个数字。", True),
        ("It takes 30.", "It takes 30 minutes.", True),
        ("It takes 30 minutes.", "It takes 30.", True),
    ],
)
def test_a_source_supports_a_text_with_the_same_numbers_and_units(text: str, source: str, supported: bool) -> None:
    assert quantities_supported(text, source) is supported


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("7 cats", {"7"}),
        ("Seven cats and one dog", {"7"}),
        ("七只猫和十二只狗", {"7", "十二"}),
        ("两位客人，2.5升", {"2", "2.5"}),
        ("a dozen eggs", {"12"}),
    ],
)
def test_number_values_do_not_depend_on_how_a_number_is_written(text: str, values: set[str]) -> None:
    assert number_values(text) == values


def test_spelled_numbers_are_read_as_written_and_in_digits() -> None:
    assert spelled_numbers("Two of 三, twelve of 二十") == [
        ("two", "2"),
        ("twelve", "12"),
        ("三", "3"),
        ("二十", "二十"),
    ]
