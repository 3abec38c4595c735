"""Replies of finished runs: collected once, labelled by hand, and the detectors measured on them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from egosrag.errors import SettingsError, SourceError
from evals.common.command import app_of
from evals.roleplay.detectors import detector_quality, loops, slop
from evals.roleplay.replies import COMMANDS, QUESTIONS, collect, replies_of, spread


def invoke(*arguments: str, typed: str = "") -> Any:
    return CliRunner().invoke(app_of(*COMMANDS), list(arguments), input=typed)


@pytest.fixture()
def records(tmp_path: Path) -> Path:
    """Records as evals.roleplay and evals.talk write them."""
    rows: list[dict[str, Any]] = [
        {"run": {"evaluation": "talk", "settings": json.dumps({"model": "m1"})}},
        {"key": ["fact", "en", "Tim", 0], "said": [["Hello?", "I am Tim."], ["And?", " "]], "closed": [True, True]},
        {"key": ["fact", "zh", "吴", 1], "said": [["你好？", "我是吴。"]], "closed": [True]},
        {"key": ["EGOS-Small", "edda-en-scene", "x"], "who": "EGOS-Small", "item": "edda-en-scene",
         "said": ["Who are you?"], "replies": [{"text": "Edda, sailor.", "stop_reason": "quote"}]},
        {"key": ["EGOS-Small", "su-scene", "y"], "who": "EGOS-Small", "item": "su-scene",
         "said": ["先搬哪些书？"], "replies": [{"text": "先搬孤本。", "stop_reason": "quote"}]},
    ]  # fmt: skip
    path = tmp_path / "talk.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_replies_are_read_with_their_role_line_and_language(records: Path) -> None:
    rows = list(replies_of(records))
    assert [(r["role"], r["language"], r["line"], r["reply"]) for r in rows] == [
        ("Tim", "en", "Hello?", "I am Tim."),
        ("吴", "zh", "你好？", "我是吴。"),
        ("Edda", "en", "Who are you?", "Edda, sailor."),
        ("苏砚", "zh", "先搬哪些书？", "先搬孤本。"),
    ]
    assert all(row["model"] == "m1" and row["stance"] is None for row in rows)
    records.write_text('{"run": {}}\n{"key": [1]}\n', encoding="utf-8")
    with pytest.raises(SourceError, match="has no replies"):
        list(replies_of(records))


def test_a_sample_has_each_reply_once_spread_over_models_and_languages() -> None:
    rows = [
        {"model": "ab"[n % 2], "language": ("en", "zh")[n // 10], "role": "Tim", "reply": f"r{n % 8}"}
        for n in range(20)
    ]
    chosen = spread(rows, 8, 0)
    assert len({(r["language"], r["reply"]) for r in chosen}) == 8
    assert set(Counter((r["model"], r["language"]) for r in chosen).values()) == {2}
    assert chosen == spread(rows, 8, 0)


def test_labels_are_kept_as_they_are_given_and_the_detectors_are_measured(records: Path, tmp_path: Path) -> None:
    out = tmp_path / "replies.jsonl"
    assert invoke("collect", "--records", str(records), "--out", str(out), "--number", "3").exit_code == 0
    with pytest.raises(SettingsError, match="exists, perhaps with labels"):
        collect([records], out)
    with pytest.raises(SourceError, match="no labelled replies"):
        detector_quality(out)
    found = invoke("label", "--labels", str(out), typed="i\nn\nn\nn\nx\ny\n\n")
    assert found.exit_code == 0 and "stopped; the labels so far are kept" in found.output
    first = json.loads(out.read_text(encoding="utf-8").splitlines()[0])
    assert first["stance"] == "in character" and first["slop"] is True and first["loops"] is False
    assert invoke("label", "--labels", str(out), typed="b\nn\nn\nn\nn\n" * 2).exit_code == 0
    result = json.loads(invoke("measure", "--labels", str(out), "--json").stdout)
    assert result.keys() == {"in character", "declined", "broke", *QUESTIONS}
    assert result["broke"]["positive"] == 2 and result["broke"]["found"] == 0 and result["slop"]["n"] == 3
    assert "detector" in invoke("measure", "--labels", str(out)).stdout


def test_loops_and_stock_phrases() -> None:
    assert loops("I will go. " * 30) and not loops("No, no, no! I will not go.")
    assert slop("Her voice was barely above a whisper.", "en") and not slop("Her voice was low.", "en")
    assert slop("让我们携手前行，迎接充满希望的明天。", "zh") and not slop("明天见。", "zh")
