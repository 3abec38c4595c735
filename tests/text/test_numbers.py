"""Numbers in digits, English words and Chinese numerals are equal."""

from __future__ import annotations

import pytest

from egosrag.text.numbers import number_values, spelled_numbers


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
