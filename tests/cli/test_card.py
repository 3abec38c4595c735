"""``egosrag card`` and the options of ``egosrag chat`` that say who talks, and about what."""

from __future__ import annotations

import json
from collections.abc import Callable
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


def test_a_card_goes_through_every_format_and_comes_back(run: Run, card: Path, tmp_path: Path) -> None:
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


def test_what_is_no_card_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = run("card", "a.png", "--out", "b.json")
    assert (done.code, done.out) == (1, "")
    assert done.err == "egosrag: the picture a.png is damaged: it is truncated; get another copy\n"


def test_persona_lorebook_and_greeting_reach_the_conversation(
    run: Run, card: Path, tmp_path: Path, script: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from egosrag.models.scripted import ScriptedChatModel

    asked = []
    before = ScriptedChatModel._next
    monkeypatch.setattr(ScriptedChatModel, "_next", lambda self, m, stop: (asked.append(m), before(self, m, stop))[1])
    (tmp_path / "lore.json").write_text(json.dumps({"entries": [{"keys": ["oven"], "content": "The oven is Bess."}]}))
    words = ["chat", "--role", str(card), "--model", script('Yes."'), "--memory", "none", "--json", "--greeting", "1"]
    done = run(*words, "--persona", "Ann: a sailor", "--lore", "lore.json", stdin=b"Is the oven hot?\n")
    assert done.code == 0, done.err
    assert done.rows[0]["ledger"]["lore"] > 0
    system, first = asked[0][0].text, asked[0][1].text
    assert "Tim bakes bread for Ann." in system
    assert "Talks with: Ann: a sailor" in system
    assert first == 'Tim: "Closed, Ann."\nAbout this world:\n- The oven is Bess.\nAnn: "Is the oven hot?"'
    done = run(*words[:-1], "7", stdin=b"Hi\n")
    assert (done.code, "Tim has no greeting 7" in done.err) == (1, True)
