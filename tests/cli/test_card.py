"""``egosrag card``: role files converted between formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from egosrag.roles.files import load_role
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
