"""Role files and personas: nothing in a card is lost, and a file that is not a card is one line of error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from egosrag.errors import RoleError
from egosrag.roles.files import load_role, save_role, with_greeting
from egosrag.roles.personas import load_persona
from egosrag.schema import Persona, Role


def written(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "role.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def test_name_alone_is_a_card(tmp_path: Path) -> None:
    assert load_role(written(tmp_path, {"name": "Tim"})).name == "Tim"


def test_unknown_keys_round_trip(tmp_path: Path) -> None:
    card = {"name": "悟空", "background": ["来自花果山。"], "voice": {"pitch": 3}, "标签": ["猴"]}
    role = load_role(written(tmp_path, card))
    save_role(role, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == card
    assert load_role(tmp_path / "out.json") == role


def test_evidence_round_trips(tmp_path: Path) -> None:
    place = {"source": "a.txt", "start": 3, "end": 6, "quote": "abc"}
    card = {"name": "Tim", "background": [{"text": "He is calm.", "evidence": [place]}, "He is old."]}
    save_role(load_role(written(tmp_path, card)), tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == card


@pytest.mark.parametrize("spec", ["chara_card_v2", "chara_card_v3"])
def test_character_card_is_read_and_kept(tmp_path: Path, spec: str) -> None:
    card = {
        "spec": spec,
        "spec_version": spec[-1] + ".0",
        "data": {
            "name": "Edda",
            "description": "{{char}} keeps the lighthouse.",
            "personality": "stubborn",
            "scenario": "{{user}} arrives by boat.",
            "first_mes": "Wipe your feet, {{user}}.",
            "mes_example": "<START>\n{{user}}: Were you a captain?\n{{char}}: I was a cook.",
            "character_book": {"entries": [{"keys": ["lamp"], "content": "It is old.", "extensions": {"x": 1}}]},
            "extensions": {"depth_prompt": {"depth": 4}},
            "unheard_of": [1, 2],
        },
    }
    role = load_role(written(tmp_path, card))
    assert role.name == "Edda"
    assert [s.text for s in role.background] == ["{{char}} keeps the lighthouse.", "{{user}} arrives by boat."]
    assert [s.text for s in role.personality] == ["stubborn"]
    assert role.greeting == "Wipe your feet, {{user}}."
    assert [(line.speaker, line.text) for line in role.sample_dialogue] == [
        ("{{user}}", "Were you a captain?"),
        ("{{char}}", "I was a cook."),
    ]
    assert role.lorebook is not None
    assert [entry.keys for entry in role.lorebook.entries] == [("lamp",)]
    save_role(role, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["character_card"] == card
    assert load_role(tmp_path / "out.json") == role


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("{", "is not JSON"),
        ("[" * 200_000, "is not JSON"),
        ("[1]", "is not a JSON object"),
        ({"age": 3}, "has no name"),
        ({"name": "  "}, "has no name"),
        ({"name": 7}, "has no name"),
        ({"name": "Tim", "background": [3]}, "background.0"),
        ({"name": "Tim", "language": "fr"}, "language"),
        ({"spec": "chara_card_v2", "data": None}, 'no "data" object'),
        ({"spec": "chara_card_v2", "data": {}}, "has no name"),
        ('{"name": "Tim", "x": ' + "[" * 150 + "]" * 150 + "}", "nested more than"),
    ],
)
def test_a_file_that_is_not_a_card_is_one_line_of_error(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(RoleError, match=message) as error:
        load_role(written(tmp_path, content))
    assert "role.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_not_quite_json_is_read(tmp_path: Path) -> None:
    text = '{"name": "Tim", "x": NaN, "y": 1e999, "z": "a\tb\\ud800", "pair": "\\ud83d\\ude00"}\0\0'
    notes: list[str] = []
    role = load_role(written(tmp_path, text), notify=notes.append)
    assert role.model_extra == {"x": None, "y": None, "z": "a\tb\ufffd", "pair": "\U0001f600"}
    assert len(notes) == 1 and "half of a character" in notes[0]


def test_values_of_other_types_are_read_as_texts(tmp_path: Path) -> None:
    data = {"name": 7, "description": ["x", None, 2], "personality": None, "alternate_greetings": "Hi.", "tags": None}
    data |= {"scenario": True, "mes_example": 3.5, "character_book": {"entries": [{"keys": 3}, 4, {"keys": "a, b"}]}}
    notes: list[str] = []
    role = load_role(written(tmp_path, {"spec": "chara_card_v2", "data": data}), notify=notes.append)
    assert (role.name, [s.text for s in role.background]) == ("7", ["x\n2"])
    assert role.alternate_greetings == ("Hi.",)
    assert role.lorebook is not None
    assert [entry.keys for entry in role.lorebook.entries] == [("3",), ("a", "b")]
    assert len(notes) == 1 and "entry 2 of the lorebook is not an object" in notes[0]


def test_missing_and_binary_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(RoleError, match="No such file"):
        load_role(tmp_path / "none.json")
    with pytest.raises(RoleError, match="directory"):
        load_role(tmp_path)
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00{\x00")
    with pytest.raises(RoleError, match="neither UTF-8 text nor PNG"):
        load_role(tmp_path / "b.json")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "role.json"
    path.write_text("before", encoding="utf-8")

    def disk_full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    with pytest.raises(RoleError, match="No space left"):
        save_role(Role.model_validate({"name": "Tim"}), path)
    assert path.read_text(encoding="utf-8") == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["role.json"]
    with pytest.raises(RoleError, match="cannot be written"):
        save_role(Role.model_validate({"name": "Tim"}), tmp_path / "no" / "role.json")


@pytest.mark.parametrize(
    ("text", "persona"),
    [
        ("Ann", Persona(name="Ann")),
        (
            " Ann  Lee : a sailor: from Hull\nand proud",
            Persona(name="Ann Lee", description="a sailor: from Hull\nand proud"),
        ),
        ("安：来自赫尔：水手", Persona(name="安", description="来自赫尔：水手")),
    ],
)
def test_a_persona_is_a_name_and_a_description(text: str, persona: Persona, tmp_path: Path) -> None:
    assert load_persona(text) == persona
    (tmp_path / "p.txt").write_text(text, encoding="utf-8")
    assert load_persona(str(tmp_path / "p.txt")) == persona
    (tmp_path / "p.json").write_text(persona.model_dump_json(), encoding="utf-8")
    assert load_persona(str(tmp_path / "p.json")) == persona


@pytest.mark.parametrize("text", ["", ": a sailor", "x" * 5000])
def test_a_persona_without_a_name_is_an_error(text: str) -> None:
    with pytest.raises(RoleError, match="persona needs a name"):
        load_persona(text)


def test_one_of_the_greetings_is_selected() -> None:
    role = Role(name="Tim", greeting="Hi.", alternate_greetings=("Ho.", "Hm."))
    assert [with_greeting(role, n).greeting for n in range(3)] == ["Hi.", "Ho.", "Hm."]
    for number in (3, -1):
        with pytest.raises(RoleError, match=f"Tim has no greeting {number}: give 0 for the first, or up to 2"):
            with_greeting(role, number)
