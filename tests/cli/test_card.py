"""``egosrag card``: role files converted between formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from egosrag.roles.files import load_role, save_role
from tests.conftest import Run

CARD = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        "name": "Tim",
        "description": "{{char}} bakes bread for {{user}}.",
        "first_mes": "Come in, {{user}}!",
        "alternate_greetings": ["Closed, {{user}}."],
        "unheard_of": 1,
    },
}


@pytest.fixture
def card(tmp_path: Path) -> Path:
    path = tmp_path / "tim.json"
    path.write_text(json.dumps(CARD), encoding="utf-8")
    return path


def test_a_card_round_trips_through_every_format(run: Run, card: Path, tmp_path: Path) -> None:
    for source, out, spec in (
        ("tim.json", "tim.png", "egos"),
        ("tim.png", "own.json", "egos"),
        ("own.json", "v3.json", "v3"),
        ("v3.json", "v2.json", "v2"),
    ):
        done = run("card", source, "--out", out, "--spec", spec)
        assert (done.code, done.out, done.err) == (0, out + "\n", "")
    again = json.loads((tmp_path / "v2.json").read_text(encoding="utf-8"))
    assert (again["spec"], again["data"]["unheard_of"]) == ("chara_card_v2", 1)
    assert again["data"].items() >= CARD["data"].items()  # type: ignore[attr-defined]
    assert load_role("v2.json").greeting == "Come in, {{user}}!"


def test_a_broken_picture_is_one_line_of_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = run("card", "a.png", "--out", "b.json")
    assert (done.code, done.out) == (1, "")
    assert done.err == "egosrag: the picture a.png is damaged: it is truncated; get another copy\n"


def test_a_folder_of_cards_is_imported_with_a_table(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "cards"
    (folder / "sub").mkdir(parents=True)
    (folder / "tim.json").write_text(json.dumps(CARD), encoding="utf-8")
    save_role(load_role(folder / "tim.json"), folder / "sub" / "tim.png")
    (folder / "pyg.yaml").write_text("char_name: 罗\nchar_persona: 修表\n", encoding="utf-8")
    (folder / "evil.json").write_text('{"name": "../../\\u001b[31mx"}', encoding="utf-8")
    (folder / "bad.json").write_text("[1]", encoding="utf-8")
    (folder / "readme.txt").write_text("no card", encoding="utf-8")
    done = run("card", "cards", "--out", "roles")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].split() == [
        "file",
        "role",
        "format",
        "greetings",
        "lore",
        "tokens",
        "picture",
        "written",
        "as",
        "notes",
    ]
    assert lines[-1] == "4 of 5 files were read"
    assert "is not a JSON object" in next(line for line in lines if line.startswith("bad.json"))
    assert "\x1b" not in done.out
    written = sorted(file.name for file in (tmp_path / "roles").iterdir())
    assert written == ["Tim 2.json", "Tim.json", "Tim.png", "[31mx.json", "罗.json"]
    again = run("card", "cards", "--out", "again", "--spec", "v2", "--json")
    rows = [json.loads(line) for line in again.out.splitlines()]
    assert [row["out"] for row in rows if row["file"] == "bad.json"] == [""]
    assert json.loads((tmp_path / "again" / "Tim.json").read_text("utf-8"))["data"]["unheard_of"] == 1


def test_an_import_overwrites_no_other_role(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "cards"
    folder.mkdir()
    (folder / "tim.json").write_text(json.dumps(CARD), encoding="utf-8")

    def written() -> list[str]:
        assert run("card", "cards", "--out", "roles").code == 0
        return sorted(file.name for file in (tmp_path / "roles").iterdir())

    assert written() == written() == ["Tim.json"], "the same import again changes nothing"
    own = b'{"name": "Tim", "background": ["changed by hand"]}'
    (tmp_path / "roles" / "Tim.json").write_bytes(own)
    assert written() == written() == ["Tim 2.json", "Tim.json"]
    assert (tmp_path / "roles" / "Tim.json").read_bytes() == own


def test_a_folder_without_cards_is_an_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "has no cards" in run("card", "empty", "--out", "roles").err
    (tmp_path / "empty" / "bad.json").write_text("[1]", encoding="utf-8")
    done = run("card", "empty", "--out", "roles")
    assert done.code == 1 and "0 of 1 files were read" in done.out and "no card in empty could be read" in done.err


def test_a_card_that_is_long_for_the_embedded_model_is_named(run: Run, tmp_path: Path) -> None:
    long = {"spec": "chara_card_v2", "data": {"name": "Ilka", "description": "Ilka mends clocks. " * 250}}
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "ilka.json").write_text(json.dumps(long), encoding="utf-8")
    done = run("card", "cards/ilka.json", "--out", "ilka.png")
    assert done.code == 0 and "are long for a window of 768 (pocket)" in done.err
    assert "are looked up for each line" in run("card", "cards", "--out", "roles").out
