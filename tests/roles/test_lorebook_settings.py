"""An entry's own settings, of SillyTavern and as decorators: chance, groups, time, depth and recursion."""

from __future__ import annotations

from typing import Any

import pytest

from egosrag.prompts import render
from egosrag.roles.lorebook import entries_for
from egosrag.schema import Lorebook, Persona, Role
from tests.roles.lorebooks import active, book


@pytest.mark.parametrize(
    ("content", "line", "expected"),
    [
        ("@@activate\nalways", "", ["always"]),
        ("@@dont_activate\nnever", "lamp", []),
        ("@@additional_keys wick, 灯芯\nx", "换灯芯", ["x"]),
        ("@@exclude_keys sea\nx", "lamp at sea", []),
        ("@@exclude_keys sea\nx", "lamp", ["x"]),
        ("@@unheard_of 3\n@@@activate\nx", "", ["x"]),
        ("@@scan_depth 9\n@@@activate\nx", "", []),
        ("@@depth 4\n@@role user\nx", "lamp", ["x"]),
        ("@@scan_depth many\nx", "lamp", ["x"]),
        ("x\n@@activate", "", []),
        ("@@activate", "lamp", []),
    ],
)
def test_decorators(content: str, line: str, expected: list[str]) -> None:
    assert active(book({"keys": ["lamp"], "content": content}), line) == expected


def with_settings(**settings: Any) -> dict[str, Any]:
    return {"keys": ["lamp"], "content": "x", "extensions": settings}


def seeds(lore: Lorebook, line: str = "lamp", number: int = 300) -> list[list[str]]:
    scopes = [render.macro_scope(Role(name="T"), "en", situation=render.Situation(str(n))) for n in range(number)]
    return [[e.content for e in entries_for(lore, [line], 1000, len, scope=scope)] for scope in scopes]


def test_probability_is_decided_once_a_line() -> None:
    assert 45 < sum(map(bool, seeds(book(with_settings(probability=30))))) < 135
    assert all(seeds(book(with_settings(probability=30, useProbability=False))))
    assert not any(seeds(book(with_settings(probability=0))))
    half = book(with_settings(probability=50))
    assert seeds(half) == seeds(half), "the same line of a conversation has the same entries"


def test_of_a_group_one_entry_is_taken() -> None:
    first, second = with_settings(group="g", group_weight=300), with_settings(group="g, h") | {"content": "y"}
    taken = [contents[0] for contents in seeds(book(first, second, {"keys": ["lamp"], "content": "z"}))]
    assert 190 < taken.count("x") < 260 and taken.count("y") == 300 - taken.count("x")
    override = with_settings(group="g", group_override=True) | {"content": "y"}
    assert {tuple(c) for c in seeds(book(first, override))} == {("y",)}
    scored = with_settings(group="g", use_group_scoring=True) | {"keys": ["lamp", "oil"], "content": "y"}
    assert {tuple(c) for c in seeds(book(first, scored), "lamp oil")} == {("y",)}


def active_after(lore: Lorebook, lines: str) -> str:
    """For each line of the user in ``lines``, whether the entry is active: ``L`` names the lamp, ``-`` does not."""
    talk: list[str] = []
    shown = ""
    for line in lines:
        talk.append("lamp" if line == "L" else "sea")
        shown += "1" if active(lore, *talk) else "0"
        talk.append("a reply")
    return shown


@pytest.mark.parametrize(
    ("settings_", "lines", "expected"),
    [
        ({}, "L--L", "1001"),
        ({"sticky": 3}, "L---", "1100"),
        ({"sticky": 5}, "-L----", "011100"),
        ({"cooldown": 3}, "LLLL", "1010"),
        ({"sticky": 2, "cooldown": 4}, "LLLLL", "10010"),
        ({"delay": 4}, "LLL", "001"),
        ({"sticky": None, "cooldown": "x", "delay": -1}, "L-", "10"),
    ],
)
def test_sticky_cooldown_and_delay_count_lines(settings_: dict[str, Any], lines: str, expected: str) -> None:
    assert active_after(book(with_settings(**settings_), scan_depth=1), lines) == expected


@pytest.mark.parametrize(
    ("decorator", "lines", "expected"),
    [
        ("@@keep_activate_after_match", "-L---", "01111"),
        ("@@dont_activate_after_match", "-LLLL", "01000"),
        ("@@activate_only_after 2", "LLLL", "0011"),
        ("@@activate_only_every 2", "LLLL", "1010"),
        ("@@activate\n@@dont_activate", "--", "11"),
    ],
)
def test_decorators_of_time(decorator: str, lines: str, expected: str) -> None:
    assert active_after(book({"keys": ["lamp"], "content": f"{decorator}\nx"}, scan_depth=1), lines) == expected


def test_depth_and_position_place_an_entry() -> None:
    lore = book(
        {"keys": ["lamp"], "content": "last", "extensions": {"position": 2}},
        {"keys": ["lamp"], "content": "middle", "insertion_order": 1},
        {"keys": ["lamp"], "content": "first", "position": "before_char", "insertion_order": 9},
        {"keys": ["lamp"], "content": "deep", "extensions": {"position": 4, "depth": 2}},
        {"keys": ["lamp"], "content": "@@depth 7\ndeeper"},
    )
    selected = entries_for(lore, ["lamp"], 1000, len)
    assert [(e.content, e.depth) for e in selected] == [
        ("first", None), ("middle", None), ("deep", 2), ("deeper", 7), ("last", None),
    ]  # fmt: skip


def test_recursion_has_its_own_settings() -> None:
    entries_ = [
        {"keys": ["lamp"], "content": "The lamp. {{hidden_key:whale}}{{// shark}}"},
        {"keys": ["whale"], "content": "w", "extensions": {"delay_until_recursion": True}},
        {"keys": ["shark"], "content": "s"},
    ]
    scope = render.macro_scope(Role(name="T"), "en")
    lore = book(*entries_, recursive_scanning=True)
    assert [e.content for e in entries_for(lore, ["lamp"], 1000, len, scope=scope)] == ["The lamp.", "w"]
    assert active(lore, "whale") == [], "it waits for another entry"


def test_texts_of_the_card_are_scanned_where_the_entry_says_so() -> None:
    entry = with_settings(match_persona_description=True)
    ann = render.macro_scope(Role(name="T"), "en", Persona(name="Ann", description="has a lamp"))
    assert entries_for(book(entry), ["sea"], 100, len, scope=ann)
    assert not entries_for(book(with_settings()), ["sea"], 100, len, scope=ann)
    assert active(book(with_settings(match_whole_words=False)), "the lamplight") == ["x"]
