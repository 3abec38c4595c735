"""Files of lorebooks: every program's format is read, saved again, and a bad entry refuses no other."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from egosrag.errors import RoleError
from egosrag.roles import png
from egosrag.roles.files import save_role
from egosrag.roles.lorebook import entries_for, load_lorebook, save_lorebook
from egosrag.schema import Role
from tests.roles.lorebooks import active


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


def world(*entries: dict[str, Any]) -> dict[str, Any]:
    """World info as SillyTavern writes it, each entry with all of its settings."""
    settings = {
        "keysecondary": [], "constant": False, "selective": True, "selectiveLogic": 0, "order": 100, "position": 0,
        "disable": False, "excludeRecursion": False, "preventRecursion": False, "delayUntilRecursion": False,
        "probability": 100, "useProbability": True, "depth": 4, "group": "", "groupOverride": False, "sticky": 0,
        "groupWeight": 100, "scanDepth": None, "caseSensitive": None, "matchWholeWords": None, "role": None,
    }  # fmt: skip
    return {"entries": {str(n): settings | {"uid": n} | entry for n, entry in enumerate(entries)}}


OIL = {"key": ["oil"], "content": "burns"}


@pytest.mark.parametrize(
    ("settings", "line", "expected"),
    [
        ({"selectiveLogic": "2", "keysecondary": ["oil"]}, "lamp", ["x"]),
        ({"selectiveLogic": "2", "keysecondary": ["oil"]}, "lamp oil", []),
        ({"probability": "0"}, "lamp", []),
        ({"probability": "0", "useProbability": "false"}, "lamp", ["x"]),
        ({"matchWholeWords": "false"}, "lamps", ["x"]),
        ({"caseSensitive": "true"}, "Lamp", []),
        ({"disable": "true"}, "lamp", []),
        ({"constant": "1", "key": None}, "sea", ["x"]),
        ({"key": "/la{1,2}mp/i, torch"}, "LAAMP", ["x"]),
        ({"key": "/la{1,2}mp/i, torch"}, "a torch", ["x"]),
    ],
)
def test_settings_may_be_texts(settings: dict[str, Any], line: str, expected: list[str], tmp_path: Path) -> None:
    lore = load_lorebook(write(tmp_path / "b.json", world({"key": ["lamp"], "content": "x"} | settings)))
    assert active(lore, line) == expected
    entry = lore.entries[0].model_dump() | {"extensions": lore.entries[0].extensions}
    assert active(load_lorebook(write(tmp_path / "v2.json", {"entries": [entry]})), line) == expected


@pytest.mark.parametrize("key", ["\\" * 50_000, "/" + "\\" * 50_000, "/\\a" * 50_000, ", " * 50_000])
def test_hostile_keys_are_split_in_a_moment(key: str, tmp_path: Path) -> None:
    lore = load_lorebook(write(tmp_path / "b.json", world({"key": key, "content": "x"})))
    assert active(lore, "lamp") == []


def test_a_place_may_be_a_text(tmp_path: Path) -> None:
    entry = {"key": ["lamp"], "content": "x", "position": "4", "depth": "2"}
    lore = load_lorebook(write(tmp_path / "b.json", world(entry)))
    (placed,) = entries_for(lore, ["lamp"], 100, len)
    assert placed.depth == 2


def test_world_info_is_scanned_recursively_as_sillytavern_does(tmp_path: Path) -> None:
    lamp = {"key": ["lamp"], "content": "needs oil"}

    def of(book: dict[str, Any]) -> list[str]:
        return active(load_lorebook(write(tmp_path / "b.json", book)), "lamp")

    assert of(world(lamp, OIL)) == ["needs oil", "burns"]
    assert of(world(lamp, OIL | {"excludeRecursion": True})) == ["needs oil"]
    assert of(world(lamp | {"preventRecursion": "true"}, OIL)) == ["needs oil"]
    assert of(world(lamp, OIL | {"delayUntilRecursion": "2"})) == ["needs oil", "burns"]
    assert of(world(lamp, OIL) | {"recursive_scanning": False}) == ["needs oil"]
    own = [{"keys": e["key"], "content": e["content"]} for e in (lamp, OIL)]
    assert of({"entries": own}) == ["needs oil"], "a V2 lorebook states it"


def test_what_a_file_is_its_content_says(tmp_path: Path) -> None:
    path = write(tmp_path / "b.lorebook", NOVEL_BOOK)
    assert active(load_lorebook(path), "亮灯") == ["x"]
    text = base64.b64encode(path.read_bytes()).decode()
    (tmp_path / "b.png").write_bytes(png.with_texts(png.blank(), {"naidata": text}))
    assert active(load_lorebook(tmp_path / "b.png"), "亮灯") == ["x"]
    (tmp_path / "b.yaml").write_text("entries:\n- keys: [灯]\n  content: x\n", "utf-8")
    assert active(load_lorebook(tmp_path / "b.yaml"), "亮灯") == ["x"]


def test_orders_and_chances_of_other_programs(tmp_path: Path) -> None:
    novel = {"text": "x", "keys": ["灯"], "contextConfig": {"budgetPriority": 400}}
    lore = load_lorebook(write(tmp_path / "b.json", NOVEL_BOOK | {"entries": [novel]}))
    assert lore.entries[0].insertion_order == 400
    risu = RISU_BOOK | {"data": [{"key": "灯", "content": "x", "activationPercent": 0}]}
    assert active(load_lorebook(write(tmp_path / "b.json", risu)), "亮灯") == []


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


KOBOLD_LIST = [{"key": "灯,lamp", "keysecondary": "", "selective": False, "content": "x", "constant": False}]
KOBOLD_STORY = {"gamestarted": True, "prompt": "", "actions": [], "worldinfo": KOBOLD_LIST}


@pytest.mark.parametrize("content", [AGNAI_BOOK, RISU_BOOK, NOVEL_BOOK, CARD_BOOK, KOBOLD_LIST, KOBOLD_STORY])
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
