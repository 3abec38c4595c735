"""Mentions: whether a place of a source is about the role, also where it is not named."""

from __future__ import annotations

import pytest

from egosrag.egos.extract.mentions import Mentions

NOVEL = """Hanna Brandt counted coins into a tin. She did not look up.
"Shut it or pay for the coal," she said. "I have sat here for eighteen years."
Laszlo Varga had walked from Minden, and he was cold. His moustache was white.
"I play the fiddle," said Laszlo. "My case is heavy."
Lotte, her niece, came down the ladder. Major is her dog.
It snowed all night.
"""
ZH_NOVEL = """沈砚秋坐在竹篾中间，手里的刀不停。她没有抬头。
“买灯笼的坐，我没空。”
方季笑了：“我问路，也躲雨。”
祝婆婆是她的师父。
雨下了一夜。
"""
WIKI = """Other pages

Imre Sola

| Imre Sola | |
| --- | --- |
| Age | 44 |

Ships of the series

| Name | Tons |
| --- | --- |
| Meridian | 900 |

He is calm in danger.
"""


def about(text: str, name: str, place: str) -> bool:
    start = text.index(place)
    return Mentions(text, name).about(start, start + len(place))


@pytest.mark.parametrize(
    "place",
    [
        "Hanna Brandt counted coins into a tin.",
        "She did not look up.",
        '"Shut it or pay for the coal," she said. "I have sat here for eighteen years."',
        "Lotte, her niece, came down the ladder.",
        "Major is her dog.",
    ],
)
def test_a_place_is_about_a_role_by_name_pronoun_speech_or_relation(place: str) -> None:
    assert about(NOVEL, "Hanna Brandt", place)


@pytest.mark.parametrize(
    "place",
    [
        "Laszlo Varga had walked from Minden, and he was cold.",
        "His moustache was white.",
        '"I play the fiddle," said Laszlo. "My case is heavy."',
        "It snowed all night.",
    ],
)
def test_a_place_about_another_or_about_nobody_is_not(place: str) -> None:
    text = NOVEL + "Hanna smiled. She sat down. She counted again, and her tin was full.\n" * 3
    assert not about(text, "Hanna Brandt", place)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("沈砚秋坐在竹篾中间，手里的刀不停。", True),
        ("她没有抬头。", True),
        ("“买灯笼的坐，我没空。”", True),
        ("祝婆婆是她的师父。", True),
        ("方季笑了：“我问路，也躲雨。”", False),
        ("雨下了一夜。", False),
    ],
)
def test_the_same_in_chinese(place: str, expected: bool) -> None:
    assert about(ZH_NOVEL, "沈砚秋", place) is expected


def test_a_row_of_a_table_is_about_the_role_that_the_table_is_about() -> None:
    assert about(WIKI, "Imre Sola", "| Age | 44 |")
    assert not about(WIKI, "Imre Sola", "| Meridian | 900 |")


def test_a_pronoun_far_from_the_name_is_about_nobody_known() -> None:
    assert about(WIKI, "Imre Sola", "He is calm in danger.")
    text = "Imre Sola is a doctor.\n" + "It rained on the harbour.\n" * 200 + "He was calm."
    assert not about(text, "Imre Sola", "He was calm.")
