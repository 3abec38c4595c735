"""PPL mode chooses what lm-evaluation-harness chooses, row by row, for a folder and a GGUF file of the same weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evals.common.command import app_of
from evals.ppl import harness
from evals.ppl.harness import command, harness_choices
from evals.ppl.tasks import Item
from tests.models.conftest import gguf_of

pytest.importorskip("lm_eval")


@pytest.mark.parametrize("kind", ["folder", "gguf"])
def test_both_sides_agree_on_every_task_and_the_run_resumes(
    tiny_qwen: Path, data: dict[str, str], tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_qwen if kind == "folder" else gguf_of(tiny_qwen)
    flags = [flag for task, source in data.items() for flag in ("--data", f"{task}={source}")]
    arguments = ["--model", str(model), *flags, "--limit", "6", "--predictions", str(tmp_path / "p.jsonl"), "--json"]
    found = CliRunner().invoke(app_of(command), arguments)
    assert found.exit_code == 0, found.output
    result = json.loads(found.stdout)
    assert result.keys() == data.keys()
    for name, r in result.items():
        assert r["n"] == 6 and r["ours"] == r["harness"] and set(r["same"].values()) == {6} and r["largest"] < 1e-3
        assert r["same"].keys() == ({"acc"} if name == "winogrande" else {"acc", "acc_norm"})
    monkeypatch.setattr(harness, "load_model", lambda weights: pytest.fail("everything is recorded"))
    assert json.loads(CliRunner().invoke(app_of(command), arguments).stdout) == result


def test_the_harness_rules() -> None:
    item = Item(0, ("c",) * 2, (" ab", " abcd"), ("ab", "abcd"), 0)
    assert harness_choices(item, [-3.0, -4.0]) == {"acc": 0, "acc_norm": 1}
    assert harness_choices(item, [-2.0, -2.0]) == {"acc": 0, "acc_norm": 1}
