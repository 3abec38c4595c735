"""``python -m evals.asof``: a role as of a chapter knows what stands before, and leaks nothing later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from egosrag.errors import SourceError
from egosrag.roles.files import save_role
from egosrag.roles.points import timeline_of
from egosrag.roles.timeline import role_until
from egosrag.schema import Reply
from evals.asof import DATA, STORY, check_places, command
from evals.common.command import app_of
from tests.roles.test_timeline import MARA, place

QUESTIONS = [
    {"until": "chapter 1", "question": "Where do you live?", "answer": ["Hull"], "later": ["Skerry"]},
    {"until": "chapter 1", "question": "What is your boat called?", "answer": None, "later": ["Gull"]},
    {"until": "chapter 2", "question": "Who taught you?", "answer": None, "later": ["Tom"]},
]


def measured(tmp_path: Path, *replies: str) -> Any:
    save_role(MARA, tmp_path / "mara.json")
    (tmp_path / "script.json").write_text(json.dumps(replies), encoding="utf-8")
    (tmp_path / "questions.json").write_text(json.dumps(QUESTIONS), encoding="utf-8")
    arguments = ["--model", f"scripted:{tmp_path / 'script.json'}", "--card", str(tmp_path / "mara.json")]
    done = CliRunner().invoke(app_of(command), [*arguments, "--questions", str(tmp_path / "questions.json"), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["scores"]


def test_known_declined_and_leaked(tmp_path: Path) -> None:
    scores = measured(tmp_path, 'In Hull, friend."', "I don't know, friend.\"", "Old Tom did, I don't know when.\"")
    assert scores["known"]["value"] == 1.0
    assert scores["later declined"]["value"] == 0.5, "a leak is no refusal"
    assert scores["leaked"] == {**scores["leaked"], "n": 3, "value": pytest.approx(1 / 3)}


def test_a_later_place_in_a_prompt_ends_the_run() -> None:
    early = role_until(MARA, "chapter 1")
    check_places(early, Reply(speaker="Mara", text="", stop_reason="quote"))
    with pytest.raises(SourceError, match="comes after Chapter 1"):
        check_places(early, Reply(speaker="Mara", text="", stop_reason="quote", evidence=(place("Old Tom drowned"),)))


def test_every_question_has_a_point_of_its_story() -> None:
    text = STORY.read_text(encoding="utf-8")
    timeline = timeline_of([(STORY.name, text)])
    assert [point.label[:3] for point in timeline] == ["第一章", "第二章", "第三章", "第四章", "第五章"]
    rows = json.loads((DATA / "ferry.zh.json").read_text(encoding="utf-8"))
    rows += json.loads((DATA / "gatsby.en.json").read_text(encoding="utf-8"))
    assert len(rows) == 60 and sum(row["answer"] is None for row in rows) == 21
    assert all(row["question"] and row["until"] and isinstance(row["later"], list) for row in rows)
