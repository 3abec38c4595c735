"""Files of lorebooks: every program's format is read, saved again, and a bad entry refuses no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from egosrag.errors import RoleError
from egosrag.roles.files import save_role
from egosrag.roles.lorebook import load_lorebook, save_lorebook
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
