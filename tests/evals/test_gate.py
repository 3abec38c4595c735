"""``python -m evals.gate``: measures beside a baseline; what has become worse fails."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evals.common.command import app_of
from evals.common.estimates import proportion
from evals.gate import MEASURES, ROOT, command, compare, estimates_in, read_measures


def share(hits: int, n: int) -> dict[str, Any]:
    found = proportion(hits, n)
    assert found is not None
    return found


def test_estimates_and_shares_are_found_by_their_paths() -> None:
    result = {"scores": {"fact.en": {"right": share(3, 4)}}, "n": 10, "hit@1": 0.8, "index_s": 3.5, "model": "m"}
    found = dict(estimates_in(result, "x"))
    assert set(found) == {"x scores fact.en right", "x hit@1"}
    assert found["x hit@1"] == share(8, 10)


def test_only_a_difference_beyond_its_interval_is_worse() -> None:
    before = {"a right": share(90, 100), "b right": share(9, 10), "c leaked": share(0, 60), "d seconds": share(1, 2)}
    now = {"a right": share(60, 100), "b right": share(7, 10), "c leaked": share(30, 60), "d seconds": share(0, 2)}
    rows = {row.name: row for row in compare(before, now, ["leaked", "seconds"], [])}
    assert {name for name, row in rows.items() if row.worse} == {"a right", "c leaked"}
    assert rows["a right"].difference == pytest.approx(-0.3) and rows["a right"].ci95[1] < 0
    assert not any(row.worse for row in compare(now, before, ["leaked", "seconds"], []))
    assert [row.name for row in compare(before, now, [], ["right"])] == ["c leaked", "d seconds"]


def test_chance_makes_none_of_many_measures_worse() -> None:
    rng = random.Random(0)

    def drawn() -> dict[str, Any]:
        return {f"m{n}": share(sum(rng.random() < 0.7 for _ in range(20)), 20) for n in range(92)}

    failed = sum(any(row.worse for row in compare(drawn(), drawn(), [], [])) for _ in range(100))
    assert failed <= 10


def gate(tmp_path: Path, *options: str) -> Any:
    arguments = ["--model", "pocket", "--baseline", str(tmp_path / "gate.json"), "--out", str(tmp_path / "runs")]
    return CliRunner().invoke(app_of(command), [*arguments, *options])


def test_a_baseline_is_stored_and_compared_with(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    manual = "egosrag/data/samples/manual.en"
    line = f"evals.retrieval --pages {manual}.pdf --questions {manual}.questions.json --json"
    own.write_text(f"measures:\n  retrieval: {line}\nignore: [index_s, query_ms]\n", encoding="utf-8")
    done = gate(tmp_path, "--measures", str(own))
    assert done.exit_code == 1 and "store one with --write" in str(done.exception)
    assert gate(tmp_path, "--measures", str(own), "--write").exit_code == 0
    stored = json.loads((tmp_path / "gate.json").read_text(encoding="utf-8"))
    assert stored["measures"]["retrieval hit@1"]["n"] == 54
    done = gate(tmp_path, "--measures", str(own), "--json")
    assert done.exit_code == 0 and not json.loads(done.stdout)["missing"]
    n = stored["measures"]["retrieval hit@1"]["n"]
    stored["measures"]["retrieval hit@1"] = share(n, n)
    stored["measures"]["gone"] = share(1, 1)
    (tmp_path / "gate.json").write_text(json.dumps(stored), encoding="utf-8")
    done = gate(tmp_path, "--measures", str(own))
    assert done.exit_code == 1 and "WORSE" in done.stdout and "gone is missing" in done.stdout


def test_the_measures_that_come_with_it_are_evaluations_of_this_folder() -> None:
    for line in read_measures(MEASURES)["measures"].values():
        module = line.split()[0].replace(".", "/")
        assert (ROOT / f"{module}.py").is_file() or (ROOT / module / "__main__.py").is_file()
        assert "--json" in line


def test_a_wrong_file_of_measures_is_one_line(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("measures:\n  x: rm -rf /\n", encoding="utf-8")
    done = gate(tmp_path, "--measures", str(own), "--write")
    assert done.exit_code == 1 and "no measures" in str(done.exception)
