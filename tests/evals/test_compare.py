"""Two runs compared: paired differences of hand-computed runs, of one file's models, of every evaluation's records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from egosrag.errors import SettingsError
from evals import compare as comparison
from evals.chatbot.data import models_of
from evals.common.command import app_of
from evals.common.records import Records


def invoke(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app_of(comparison._command), [str(a) for a in arguments])


def write_run(path: Path, who: str, *values: float) -> Path:
    kept = Records(path, {})
    for n, value in enumerate(values):
        kept.add((who, f"q{n}", "d"), {"who": who, "item": f"q{n}", "measures": {"exact": value, "none": None}})
    return path


def test_a_comparison_of_hand_computed_runs(tmp_path: Path) -> None:
    first, second = (
        write_run(tmp_path / "1.jsonl", "a", 0, 0, 1, 1),
        write_run(tmp_path / "2.jsonl", "b", 1, 1, 1, 0, 1),
    )
    done = invoke(first, second, "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    exact = result["measures"]["exact"]
    assert (result["n"], result["only"], list(result["measures"])) == (4, [0, 1], ["exact"])
    assert (exact["first"], exact["second"], exact["difference"]) == (0.5, 0.75, 0.25)
    assert (exact["higher"], exact["lower"]) == (["q0", "q1"], ["q3"])
    assert exact["ci95"][0] < 0 < exact["ci95"][1]
    table = invoke(first, second)
    assert "4 common items" in table.stdout and "+0.25" in table.stdout


def test_two_models_of_one_file(tmp_path: Path) -> None:
    path = write_run(tmp_path / "r.jsonl", "a", 0, 0, 0)
    write_run(path, "b", 1, 1, 1)
    assert (
        comparison.compare(comparison.read_run(f"{path}#a"), comparison.read_run(f"{path}#b"))["measures"]["exact"][
            "difference"
        ]
        == 1.0
    )
    with pytest.raises(SettingsError, match="several runs: name one"):
        comparison.read_run(str(path))
    with pytest.raises(SettingsError, match="no run of c: it has a, b"):
        comparison.read_run(f"{path}#c")


def test_records_of_ppl_and_of_the_judge_compare_too(tmp_path: Path) -> None:
    chosen = {"key": ["arc_easy", "1"], "gold": 2, "prediction": 2, "acc": 1, "acc_norm": 2}
    scored = {"key": ["1", "ours", "d"], "scores": [80.0], "reason": None}
    assert comparison.values_of(chosen) == {"accuracy": 1.0, "acc": 0.0, "acc_norm": 1.0}
    assert comparison.values_of(scored) == {"score": 80.0}
    assert comparison.values_of({"key": [], "scores": None}) == {}
    (tmp_path / "p.jsonl").write_text(json.dumps({"run": {}}) + "\n" + json.dumps(chosen) + "\n", encoding="utf-8")
    assert comparison.read_run(str(tmp_path / "p.jsonl")) == {
        "arc_easy/1": {"accuracy": 1.0, "acc": 0.0, "acc_norm": 1.0}
    }


def test_runs_without_a_common_item_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no item in common"):
        comparison.compare({"a": {"x": 1.0}}, {"b": {"x": 1.0}})
    (tmp_path / "e.jsonl").write_text('{"run": {}}\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="holds no records"):
        comparison.read_run(str(tmp_path / "e.jsonl"))


def test_model_names_may_hold_a_hash_or_an_equals_sign(tmp_path: Path) -> None:
    odd = tmp_path / "run#1.jsonl"
    write_run(odd, "m", 1, 0)
    assert set(comparison.read_run(str(odd))) == {"q0", "q1"}
    assert models_of("folder/a=b.json")[0].name == "folder/a=b.json"
