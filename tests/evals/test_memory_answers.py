"""The question of a dialogue answered under each kind of memory, and the measure of what is right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from egosrag.errors import SettingsError, SourceError
from evals.memory import main
from evals.memory.answers import hidden, parse_kinds, summary
from evals.memory.content import LABELS, is_right, key_words, quality
from tests.conftest import ROOT

FILLER = [
    {"speaker": ("user", "character")[n % 2], "text": f"The ferry number {n} goes to the island of Ona and comes back."}
    for n in range(20)
]
ROWS: list[dict[str, Any]] = [
    {"id": 1, "role": "Tim", "question": "What is your sister called, Tim?", "evidence": [1],
     "turns": [{"speaker": "user", "text": "Have you family?"},
               {"speaker": "character", "text": "My sister Maren repairs clocks."}, *FILLER]},
    {"id": 2, "role": "Tim", "question": "What did you eat?", "evidence": [21],
     "turns": [*FILLER, {"speaker": "user", "text": "Hungry?"},
               {"speaker": "Tim", "text": "I had pickled herring."}]},
]  # fmt: skip


@pytest.fixture()
def dialogues(tmp_path: Path) -> Path:
    path = tmp_path / "dialogues.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_reply_is_right_if_it_says_what_the_evidence_says_and_the_question_does_not() -> None:
    evidence, question = ["My sister Maren repairs clocks in Vadren."], "What is your sister called?"
    assert is_right("Maren, she repairs clocks.", evidence, question)
    assert not is_right("My sister is called Ann.", evidence, question)
    assert not is_right("", evidence, question) and not is_right("Maren.", [], question)
    assert not is_right("(repairs the clocks of Maren) No.", evidence, question)
    assert is_right("陈雨桐，在医院当护士", ["我姐姐叫陈雨桐，在县医院当护士。"], "你姐姐叫什么？")
    assert not is_right("我姐姐在学校。", ["我姐姐叫陈雨桐，在县医院当护士。"], "你姐姐叫什么？")


def test_words_that_the_dialogue_repeats_weigh_less() -> None:
    weights = key_words("Maren likes the ferry.", "Who?", ["The ferry is late.", "Which ferry?"])
    assert weights["maren"] == 1 and weights["ferri"] == pytest.approx(1 / 3)


def test_the_measure_is_measured_on_labelled_replies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = quality(LABELS)
    assert found["precision"]["value"] >= 0.9 and found["recall"]["value"] >= 0.8
    assert run(capsys, "--labels", str(LABELS)) == json.loads(json.dumps(found))
    for bad in ('{"reply": "x"}', '{"question": "q", "evidence": "text", "reply": "x", "right": true}', ""):
        (tmp_path / "l.jsonl").write_text(bad, encoding="utf-8")
        with pytest.raises(SourceError):
            quality(tmp_path / "l.jsonl")


def test_each_kind_of_memory_shows_what_it_brings_and_the_run_resumes(
    dialogues: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--conversations", str(dialogues), "--answer", "pocket", "--embedder", "none",
                 "--memory", "dynamic,none", "--predictions", str(tmp_path / "r.jsonl")]  # fmt: skip
    first = run(capsys, *arguments)
    assert {kind: part["n"] for kind, part in first.items()} == {"dynamic": 2, "none": 2}
    assert first["dynamic"]["n_hidden"] == 1
    # The sister was said twenty turns ago: only recalled turns have her. The herring is among the last turns.
    assert first["dynamic"]["in_prompt_hidden"] == 1 and first["none"]["in_prompt_hidden"] == 0
    assert first["none"]["in_prompt"] == 0.5 and first["dynamic"]["prompt_tokens"] > first["none"]["prompt_tokens"]
    records = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()[1:]]
    assert all(record["reply"] for record in records)
    monkeypatch.setattr("evals.memory.answers._ask", lambda *_: pytest.fail("everything is recorded"))
    assert run(capsys, *arguments) == first


KEY = """
import sys
from pathlib import Path
from evals.common.experiment import digest
from evals.memory.conversations import read_conversations
print([digest(conversation, 300) for conversation in read_conversations(Path(sys.argv[1]))])
"""


def test_the_key_of_a_record_is_the_same_in_every_process(tmp_path: Path) -> None:
    path = tmp_path / "dialogues.jsonl"
    path.write_text(json.dumps({**ROWS[1], "evidence": [21, 3, 5, 7, 11]}), encoding="utf-8")
    keys = {
        subprocess.run(
            [sys.executable, "-c", KEY, str(path)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "123"
    }
    assert len(keys) == 1, "with a set in it, a run that is resumed would begin anew"


def test_shares_are_of_all_dialogues_and_of_those_that_only_a_memory_can_answer() -> None:
    def record(item: str, right: float, visible: float) -> dict[str, Any]:
        measures = {"right": right, "in_prompt": 1.0, "visible": visible, "prompt_tokens": 10.0, "seconds": 1.0}
        return {"item": item, "measures": measures}

    results = {"static": [record("a", 1, 0), record("b", 0, 1)], "none": [record("a", 0, 0), record("b", 1, 0)]}
    assert hidden(results) == {"a"}
    assert summary(results)["static"]["right"] == 0.5 and summary(results)["static"]["right_hidden"] == 1.0


def test_a_question_that_is_empty_or_too_long_is_named_and_the_others_are_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "d.jsonl"
    asked = [ROWS[0], ROWS[1] | {"id": "blank", "question": " "}, ROWS[1] | {"id": "long", "question": "why " * 3000}]
    path.write_text("".join(json.dumps(row) + "\n" for row in asked), encoding="utf-8")
    arguments = ["--conversations", str(path), "--answer", "pocket", "--embedder", "none", "--memory", "dynamic,none"]
    assert main([*arguments, "--json"]) == 0
    printed = capsys.readouterr()
    assert {kind: part["n"] for kind, part in json.loads(printed.out).items()} == {"dynamic": 1, "none": 1}
    notes = [line for line in printed.err.splitlines() if "is left out" in line]
    assert [note.split(": ")[0] for note in notes] == ["d/blank is left out", "d/long is left out"]
    path.write_text(json.dumps(asked[1]), encoding="utf-8")
    assert main([*arguments, "--json"]) == 1
    assert "no question can be asked" in capsys.readouterr().err


def test_what_cannot_be_asked_is_refused(tmp_path: Path, dialogues: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SettingsError, match="give some of static, dynamic, both, none"):
        parse_kinds("all")
    assert parse_kinds("none, static") == ["none", "static"]
    assert main([]) == 1 and "give --conversations" in capsys.readouterr().err
    locomo = {"session_1": [{"speaker": "Ann", "dia_id": "D1:1", "text": "I paint."}],
              "qa": [{"question": "What does Ann do?", "category": 4, "evidence": ["D1:1"]}]}  # fmt: skip
    (tmp_path / "locomo").mkdir()
    (tmp_path / "locomo" / "a.json").write_text(json.dumps(locomo), encoding="utf-8")
    assert main(["--conversations", str(tmp_path / "locomo"), "--answer", "pocket", "--embedder", "none"]) == 1
    assert "name no role that answers" in capsys.readouterr().err
    assert main(["--conversations", str(dialogues), "--answer", "pocket", "--budget", "3"]) == 1


def test_the_real_dialogues_are_read_with_their_role(shared_data: Path) -> None:
    from evals.memory import read_conversations

    for language, n in (("zh", 122), ("en", 120)):
        found = read_conversations(shared_data / "characterbench" / f"memory.{language}.jsonl")
        assert len(found) == n and all(one.role and len(one.questions) == 1 for one in found)
