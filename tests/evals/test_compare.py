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


def test_items_with_equal_ids_and_different_contents_are_no_pairs(tmp_path: Path) -> None:
    def written(name: str, *contents: dict[str, Any], data: str = "") -> Path:
        records = Records(tmp_path / name, {"data": {"arc": data}} if data else {})
        for n, content in enumerate(contents):
            key = ("arc", n) if data else (f"q{n}",)
            records.add(key, {**content, "measures": {"right": 1.0}})
        return tmp_path / name

    first = written("1.jsonl", {"content": "x"}, {"question": "Why?"}, {"content": "z"})
    second = written("2.jsonl", {"content": "y"}, {"question": "How?"}, {"question": "Old record"})
    done = invoke(first, second, "--json")
    result = json.loads(done.stdout)
    assert (result["n"], result["only"], result["other_contents"]) == (1, [0, 0], 2)
    assert "2 items are left out: their rows have the same ids and different contents" in done.stderr
    ppl = written("3.jsonl", {}, {}, data="one"), written("4.jsonl", {}, {}, data="other")
    assert isinstance(invoke(*ppl).exception, SettingsError), "PPL mode on two files"
    assert json.loads(invoke(ppl[0], ppl[0], "--json").stdout)["n"] == 2


def test_of_several_settings_of_a_run_the_last_one_counts(tmp_path: Path) -> None:
    records = Records(tmp_path / "r.jsonl", {})
    for setting, item, value in [("old", "a", 0), ("old", "b", 0), ("new", "a", 1), ("new", "c", 1)]:
        about = {"who": "m", "item": item, "setting": setting}
        records.add(("m", item, setting), {**about, "measures": {"right": value}})
    done = invoke(tmp_path / "r.jsonl", tmp_path / "r.jsonl", "--json")
    measure = json.loads(done.stdout)["measures"]["right"]
    assert (measure["n"], measure["first"]) == (2, 1.0)
    assert "2 records of other weights, rows or settings are left out" in done.stderr
    twice = write_run(tmp_path / "t.jsonl", "m", 0, 0)  # records without a setting
    with twice.open("a", encoding="utf-8") as file:
        file.write('{"key": ["m", "q0", "e"], "who": "m", "item": "q0", "measures": {"exact": 1}}\n')
    assert read_run(str(twice)) == {"q0": {"exact": 1.0}, "q1": {"exact": 0.0}}


@pytest.mark.parametrize(
    "record",
    [
        '{"key": ["a"], "measures": null}',
        '{"key": ["a"], "measures": {"x": "good"}}',
        '{"key": ["a"], "measures": {"x": 1e999}}',
        '{"key": 5, "measures": {"x": 1}}',
        '{"key": ["a", 0], "prediction": 1}',
        '{"key": ["a"], "measures": {"x": 1' + "0" * 400 + "}}",
    ],
)
def test_a_malformed_record_is_named(tmp_path: Path, record: str) -> None:
    (tmp_path / "r.jsonl").write_text(f'{{"run": {{}}}}\n{record}\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="r.jsonl: line 2 is not a record"):
        read_run(str(tmp_path / "r.jsonl"))
