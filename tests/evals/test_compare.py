"""``python -m evals.compare``: paired differences of two runs, or of two models in a file of records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from egosrag.errors import SettingsError
from evals.chatbot.questions import parse_models
from evals.common.command import app_of
from evals.common.records import Records, measures_of
from evals.compare import command, compare, read_run


def invoke(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app_of(command), [str(a) for a in arguments])


def write_run(path: Path, who: str, *values: float) -> Path:
    records = Records(path, {})
    for n, value in enumerate(values):
        records.add((who, f"q{n}", "d"), {"who": who, "item": f"q{n}", "measures": {"exact": value, "none": None}})
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
    assert compare(read_run(f"{path}#a"), read_run(f"{path}#b"))["measures"]["exact"]["difference"] == 1.0
    with pytest.raises(SettingsError, match="several runs: name one"):
        read_run(str(path))
    with pytest.raises(SettingsError, match="no run of c: it has a, b"):
        read_run(f"{path}#c")


def test_records_of_ppl_and_of_the_judge_are_compared_too(tmp_path: Path) -> None:
    chosen = {"key": ["arc_easy", "1"], "gold": 2, "prediction": 2, "acc": 1, "acc_norm": 2}
    scored = {"key": ["1", "ours", "d"], "scores": [80.0], "reason": None}
    assert measures_of(chosen) == {"accuracy": 1.0, "acc": 0.0, "acc_norm": 1.0}
    assert measures_of(scored) == {"score": 80.0}
    assert measures_of({"key": [], "scores": None}) == {}
    (tmp_path / "p.jsonl").write_text(json.dumps({"run": {}}) + "\n" + json.dumps(chosen) + "\n", encoding="utf-8")
    assert read_run(str(tmp_path / "p.jsonl")) == {"arc_easy/1": {"accuracy": 1.0, "acc": 0.0, "acc_norm": 1.0}}


def test_runs_without_a_common_item_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no item in common"):
        compare({"a": {"x": 1.0}}, {"b": {"x": 1.0}})
    (tmp_path / "e.jsonl").write_text('{"run": {}}\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="has no records"):
        read_run(str(tmp_path / "e.jsonl"))


def test_file_names_may_contain_a_hash_and_model_names_an_equals_sign(tmp_path: Path) -> None:
    odd = tmp_path / "run#1.jsonl"
    write_run(odd, "m", 1, 0)
    assert set(read_run(str(odd))) == {"q0", "q1"}
    assert parse_models("folder/a=b.json")[0].name == "folder/a=b.json"
