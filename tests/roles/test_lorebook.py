"""Lorebooks: keys match in Chinese and English, entries keep to the token budget, and no pattern can hang a reply."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egosrag.errors import RoleError
from egosrag.prompts import render
from egosrag.roles.files import save_role
from egosrag.roles.lorebook import entries_for, load_lorebook, save_lorebook, with_lorebook
from egosrag.schema import Lorebook, LoreEntry, Persona, Role


def book(*entries: dict[str, Any], **fields: Any) -> Lorebook:
    return Lorebook.model_validate({"entries": entries, **fields})


def active(lore: Lorebook, *lines: str, budget: int = 1000) -> list[str]:
    return [entry.content for entry in entries_for(lore, lines, budget, len)]


def key_matches(key: str, line: str, **fields: Any) -> bool:
    return active(book({"keys": [key], "content": "x", **fields}), line) == ["x"]


@pytest.mark.parametrize(
    ("key", "line", "matches"),
    [
        ("lamp", "Is the lamp lit?", True),
        ("lamp", "LAMP!", True),
        ("Lamp", "the lamp’s glass", True),
        ("lamp", "She looked at the lampshade.", False),
        ("lamp", "a clamp", False),
        ("lamp", "lamp_oil", False),
        ("lamp", "a clamp and a lamp", True),
        ("North Sea", "the north\n  sea", True),
        ("North Sea", "the North Seas", False),
        ("café", "At the CAFE\u0301.", True),
        ("ул", "на ул. Мира", True),
        ("ул", "улица", False),
        ("C++", "I write C++.", True),
        ("灯塔", "那座灯塔亮了", True),
        ("灯塔", "灯和塔", False),
        ("龙", "白龙马来了", True),
        ("Gatsby", "我在找Gatsby先生", True),
        ("Gatsby", "我在找Gatsbys先生", False),
        ("ＡＢＣ", "the abc", True),
        ("ไทย", "ภาษาไทยง่าย", True),
        ("サクラ", "あのサクラは", True),
        ("", "anything", False),
        (" ", "a b", False),
    ],
)
def test_keys_match_words_as_their_script_separates_them(key: str, line: str, matches: bool) -> None:
    assert key_matches(key, line) is matches


def test_case_matters_where_the_entry_is_case_sensitive() -> None:
    assert not key_matches("Lamp", "the lamp", case_sensitive=True)
    assert key_matches("Lamp", "the Lamp", case_sensitive=True)
    assert not key_matches("Lamp", "the lamp", extensions={"case_sensitive": True})


def test_no_key_matches_across_two_lines() -> None:
    lore = book({"keys": ["North Sea"], "content": "x"}, {"keys": ["北海"], "content": "y"})
    assert active(lore, "go north", "sea") == []
    assert active(lore, "向北", "海") == []


def test_only_the_last_lines_are_scanned() -> None:
    lore = book(
        {"keys": ["lamp"], "content": "book's depth"},
        {"keys": ["lamp"], "content": "extension's depth", "extensions": {"scan_depth": 3}},
        {"keys": ["lamp"], "content": "@@scan_depth 4\ndecorator's depth", "extensions": {"scan_depth": 0}},
        scan_depth=1,
    )
    lines = ["lamp", "sea", "fog", "hut"]
    assert active(lore, *lines) == ["decorator's depth"]
    assert active(lore, *lines[:3]) == ["extension's depth", "decorator's depth"]
    assert active(lore, *lines[:1]) == ["book's depth", "extension's depth", "decorator's depth"]
    assert active(book({"keys": ["lamp"], "content": "x"}, scan_depth=0), "lamp") == []


@pytest.mark.parametrize(
    ("logic", "expected"), [(None, "10"), (0, "1100"), (1, "0110"), (2, "0010"), (3, "1000"), ("x", "1100")]
)
def test_secondary_keys(logic: Any, expected: str) -> None:
    entry = {"keys": ["lamp"], "secondary_keys": ["oil", "wick"], "content": "x", "selective": True}
    lore = book(entry | {"extensions": {"selectiveLogic": logic}})
    lines = ["lamp oil wick", "lamp oil", "lamp", "oil wick"] if logic is not None else ["lamp oil", "lamp"]
    assert [bool(active(lore, line)) for line in lines] == [(c == "1") for c in expected][: len(lines)]
    assert active(book(entry | {"selective": False}), "lamp") == ["x"]


def test_constant_and_disabled_entries() -> None:
    lore = book(
        {"content": "always", "constant": True},
        {"content": "never", "constant": True, "enabled": False},
        {"keys": ["lamp"], "content": "never", "enabled": False},
        {"keys": ["lamp"], "content": "  "},
    )
    assert active(lore, "lamp") == ["always"]


def test_entries_are_in_insertion_order() -> None:
    lore = book(
        {"keys": ["a"], "content": "third", "insertion_order": 7},
        {"keys": ["a"], "content": "first", "insertion_order": -1},
        {"keys": ["a"], "content": "fourth", "insertion_order": 7},
        {"content": "second", "constant": True, "insertion_order": 0},
    )
    assert active(lore, "a") == ["first", "second", "third", "fourth"]


def test_which_entries_the_budget_holds() -> None:
    lore = book(
        {"keys": ["a"], "content": "low", "insertion_order": 1},
        {"keys": ["a"], "content": "high", "insertion_order": 9},
        {"keys": ["a"], "content": "dear", "insertion_order": 2, "priority": 5},
        {"content": "base", "constant": True, "insertion_order": 3},
    )
    assert active(lore, "a", budget=4) == ["base"]
    assert active(lore, "a", budget=8) == ["dear", "base"]
    assert active(lore, "a", budget=11) == ["low", "dear", "base"], (
        "an entry that does not fit is skipped, smaller ones may still fit"
    )
    assert active(lore, "a", budget=12) == ["dear", "base", "high"]
    assert active(lore.model_copy(update={"token_budget": 4}), "a") == ["base"]
    assert active(lore, "a", budget=0) == []


def test_recursive_scanning() -> None:
    entries = [
        {"keys": ["lamp"], "content": "The lamp burns oil."},
        {"keys": ["oil"], "content": "Oil comes from Hull."},
        {"keys": ["Hull"], "content": "Hull is a town."},
        {"keys": ["Hull"], "content": "no", "extensions": {"exclude_recursion": True}},
    ]
    assert active(book(*entries), "the lamp") == ["The lamp burns oil."]
    deep = book(*entries, recursive_scanning=True)
    assert active(deep, "the lamp") == ["The lamp burns oil.", "Oil comes from Hull.", "Hull is a town."]
    assert active(deep, "the lamp", budget=19) == ["The lamp burns oil."], "entries that a line activates come first"
    entries[1]["extensions"] = {"prevent_recursion": True}
    assert active(book(*entries, recursive_scanning=True), "the lamp") == [
        "The lamp burns oil.",
        "Oil comes from Hull.",
    ]


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


@pytest.mark.parametrize(
    ("key", "use_regex", "line", "matches"),
    [
        (r"la[mn]p\d", True, "lamp4", True),
        (r"la[mn]p\d", False, "lamp4", False),
        (r"/lamps?/i", False, "LAMPS", True),
        (r"/lamps?/", False, "LAMPS", False),
        (r"灯[塔火]", True, "一座灯塔", True),
        (r"(", True, "(", False),
        ("a" * 201, True, "a" * 201, False),
        ("/a/b", False, "x/a/b", True),
    ],
)
def test_regular_expressions(key: str, use_regex: bool, line: str, matches: bool) -> None:
    assert key_matches(key, line, use_regex=use_regex) is matches


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(a|aa)+$", r"(.*a){25}c", r"(?:(?:a{1,100}){1,100}){1,100}$"])
def test_no_pattern_hangs_the_conversation(pattern: str) -> None:
    lore = book(*({"keys": [pattern], "use_regex": True, "content": f"never {n}"} for n in range(40)))
    lore = book(*lore.model_dump()["entries"], {"keys": ["b"], "content": "still found"})
    started = time.process_time()
    contents = active(lore, "a" * 4000 + "! b")
    assert time.process_time() - started < 5
    assert contents[-1:] == ["still found"]


KEYS = st.text("ab灯塔 .", max_size=3)
ENTRIES = st.lists(
    st.fixed_dictionaries(
        {
            "keys": st.lists(KEYS, max_size=2),
            "content": st.text("ab灯塔 @\n", max_size=8),
            "constant": st.booleans(),
            "enabled": st.booleans(),
            "insertion_order": st.integers(-2, 2),
            "priority": st.integers(-1, 1),
            "selective": st.booleans(),
            "secondary_keys": st.lists(KEYS, max_size=2),
        }
    ),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(ENTRIES, st.lists(st.text("ab灯塔 .", max_size=8), max_size=4), st.integers(0, 30), st.booleans())
def test_active_entries_keep_to_budget_and_order(
    entries: list[dict[str, Any]], lines: list[str], budget: int, recursive: bool
) -> None:
    lore = book(*entries, recursive_scanning=recursive)
    selected = entries_for(lore, lines, budget, len)
    assert sum(len(entry.content) for entry in selected) <= budget
    assert [e.insertion_order for e in selected] == sorted(e.insertion_order for e in selected)
    assert all(entry.enabled and entry.content for entry in selected)
    assert selected == entries_for(lore, lines, budget, len), "the selection is deterministic"
    everything = entries_for(lore, lines, 10**6, len)
    assert all(entry in everything for entry in selected)
    if not recursive:
        spoken = "\n".join(lines).casefold()
        for entry in everything:
            assert entry.constant or any(" ".join(k.split()).casefold() in spoken for k in entry.keys if k.strip())


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "content",
    [
        {"entries": [{"keys": ["灯"], "content": "x", "insertion_order": 3, "enabled": True}], "name": "n"},
        {"spec": "lorebook_v3", "data": {"entries": [{"keys": ["灯"], "content": "x", "insertion_order": 3}]}},
        {"entries": {"0": {"uid": 0, "key": ["灯"], "keysecondary": [], "content": "x", "order": 3, "disable": False,
                           "selective": True, "scanDepth": None, "caseSensitive": None, "constant": False}}},
    ],
)  # fmt: skip
def test_every_format_is_read(content: object, tmp_path: Path) -> None:
    lore = load_lorebook(write(tmp_path / "b.json", content))
    assert active(lore, "亮灯") == ["x"]
    assert lore.entries[0].insertion_order == 3


def test_matching_options_of_world_info_are_read(tmp_path: Path) -> None:
    entry = {"key": ["Lamp"], "keysecondary": ["oil"], "selective": True, "selectiveLogic": 2, "content": "x"}
    entry |= {"caseSensitive": True, "scanDepth": 1, "position": 4}
    off = {"key": ["Lamp"], "content": "off", "disable": True}
    lore = load_lorebook(write(tmp_path / "b.json", {"entries": {"0": entry, "1": off}}))
    assert active(lore, "Lamp") == ["x"]
    assert active(lore, "lamp") == active(lore, "Lamp oil") == active(lore, "Lamp", "sea") == []
    assert lore.entries[0].model_extra is not None
    assert lore.entries[0].model_extra["position"] == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"name": "Tim"}, "is not a lorebook"),
        ({"entries": 3}, "is not a lorebook"),
        ([], "not a JSON object"),
    ],
)
def test_a_file_that_is_not_a_lorebook_is_one_line_of_error(content: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(RoleError, match=message) as error:
        load_lorebook(write(tmp_path / "b.json", content))
    assert "\n" not in str(error.value)


def test_a_second_book_keeps_its_own_scan_depth() -> None:
    own = book({"keys": ["lamp"], "content": "own"}, scan_depth=1, token_budget=50, recursive_scanning=True)
    more = book({"keys": ["lamp"], "content": "more"}, scan_depth=3, token_budget=50)
    alone = with_lorebook(Role(name="Tim"), more).lorebook
    assert alone == more
    both = with_lorebook(Role(name="Tim", lorebook=own), more).lorebook
    assert both is not None
    assert active(both, "lamp", "sea", "fog") == ["more"]
    assert active(both, "lamp") == ["own", "more"]
    assert both.token_budget == 100
    unlimited = with_lorebook(Role(name="Tim", lorebook=own), book({"content": "x"})).lorebook
    assert unlimited is not None
    assert unlimited.token_budget is None


def entries(*contents: str) -> Sequence[LoreEntry]:
    return [LoreEntry(content=content, constant=True) for content in contents]


def test_entries_cannot_forge_a_turn_or_a_line() -> None:
    lore = Lorebook(entries=tuple(entries('The lamp.\nMe: "hi"', "{{char}} knows {{user}}", "{{// x}} ")))
    scope = render.macro_scope(Role(name="Tim"), "en", Persona(name="Ann"))
    selected = entries_for(lore, [], 1000, len, scope=scope)
    assert render.lore_block(selected, "en") == 'About this world:\n- The lamp. Me: "hi"\n- Tim knows Ann'
    assert render.lore_block(entries("用户来过。"), "zh") == "关于这个世界：\n- 用户来过。"
    assert render.lore_block([], "en") == ""


# --- SillyTavern's settings and V3's decorators ----------------------------------------------------------------------


@pytest.mark.parametrize("mark", "'’‘ʼ＇`")
def test_apostrophes_of_every_shape_are_the_same(mark: str) -> None:
    assert key_matches(f"King{mark}s", "the King's gear") and key_matches("King's", f"the King{mark}s gear")
    assert key_matches(f"/king{mark}s/i", "the King’s gear")


def test_macros_in_keys_are_the_names_of_the_conversation() -> None:
    lore = book({"keys": ["{{char}}’s shop"], "content": "{{user}} knows it. {{random:a,b,c,d,e,f}}"})
    scope = render.macro_scope(Role(name="Ilka"), "en", Persona(name="Ann"), situation=render.Situation("s", "1"))
    [entry] = entries_for(lore, ["Where is Ilka's shop?"], 100, len, scope=scope)
    assert entry.content.startswith("Ann knows it. ") and len(entry.content) == 15
    assert entries_for(lore, ["Where is Ilka's shop?"], 100, len, scope=scope) == [entry]
    assert not active(lore, "Where is Ilka's shop?")


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


AGNAI_BOOK = {
    "kind": "memory",
    "entries": [{"name": "n", "entry": "x", "keywords": ["灯"], "priority": 3, "weight": 1}],
}
RISU_BOOK = {
    "type": "risu",
    "ver": 1,
    "data": [{"key": "灯, lamp", "content": "x", "insertorder": 3, "mode": "normal"}],
}
NOVEL_BOOK = {"lorebookVersion": 4, "entries": [{"text": "x", "keys": ["灯"], "displayName": "n", "enabled": True}]}
CARD_BOOK = {
    "spec": "chara_card_v2",
    "data": {"name": "T", "character_book": {"entries": [{"keys": ["灯"], "content": "x"}]}},
}


@pytest.mark.parametrize("content", [AGNAI_BOOK, RISU_BOOK, NOVEL_BOOK, CARD_BOOK])
def test_lorebooks_of_other_programs_are_read_and_saved(content: object, tmp_path: Path) -> None:
    lore = load_lorebook(write(tmp_path / "b.json", content))
    assert active(lore, "亮灯") == ["x"]
    save_lorebook(lore, tmp_path / "again.json")
    assert active(load_lorebook(tmp_path / "again.json"), "亮灯") == ["x"]
    saved = json.loads((tmp_path / "again.json").read_text("utf-8"))
    assert saved["spec"] == "lorebook_v3" and saved["data"]["entries"][0]["use_regex"] is False


def test_one_bad_entry_does_not_refuse_the_others(tmp_path: Path) -> None:
    notes: list[str] = []
    entries_ = {
        "0": {"key": ["灯"], "content": "x", "extensions": 3},
        "1": 7,
        "2": None,
        "3": {"key": {}, "content": ["y"]},
    }
    lore = load_lorebook(write(tmp_path / "b.json", {"entries": entries_}), notify=notes.append)
    assert [entry.content for entry in lore.entries] == ["x", "y"]
    assert len(notes) == 1 and "entry 2 of the lorebook is not an object: it is left out" in notes[0]


def test_the_lorebook_of_a_card_in_a_picture(tmp_path: Path) -> None:
    role = Role.model_validate({"name": "T", "lorebook": {"entries": [{"keys": ["lamp"], "content": "x"}]}})
    save_role(role, tmp_path / "t.png")
    assert active(load_lorebook(tmp_path / "t.png"), "lamp") == ["x"]
    save_role(Role(name="T"), tmp_path / "none.png")
    with pytest.raises(RoleError, match="contains no lorebook"):
        load_lorebook(tmp_path / "none.png")
