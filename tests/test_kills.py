"""An indexing, an evaluation and a training that are killed (-9) at random moments resume to the same result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from evals.common.records import read_jsonl
from tests.conftest import ROOT
from tests.evals.ppl.data import make_data
from tests.finetune.conftest import alpaca, write_jsonl

FULL = os.environ.get("EGOSRAG_TEST_PROFILE") == "full"
pytestmark = pytest.mark.timeout(3600 if FULL else 300)


def run_with_kills(kind: str, folder: Path, kills: int, **options: Any) -> None:
    words = [sys.executable, "-m", "tests.kills", kind, str(folder), str(200 if FULL else kills), json.dumps(options)]
    process = subprocess.run(
        words, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("where", ["folder", "postgres"])
def test_a_killed_build_leaves_the_old_or_the_new_index(
    where: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place = str(tmp_path / "index") if where == "folder" else request.getfixturevalue("postgres")
    run_with_kills("indexing", tmp_path, 6, place=place)


def test_a_killed_evaluation_resumes_to_the_same_records_without_duplicates(tiny_qwen: Path, tmp_path: Path) -> None:
    data = make_data(tmp_path, 60)
    two = {name: data[name] for name in ("arc_easy", "hellaswag")}
    run_with_kills("evaluation", tmp_path, 3, model=str(tiny_qwen), data=two)
    rows = [list(read_jsonl(tmp_path / name / "records.jsonl")) for name in ("whole", "broken")]
    whole, broken = ({tuple(row["key"]): row["prediction"] for row in some if "key" in row} for some in rows)
    assert whole == broken and len(rows[0]) == len(rows[1]) == 121
    assert (tmp_path / "whole/result.json").read_text() == (tmp_path / "broken/result.json").read_text()


def test_a_killed_training_resumes_to_the_same_weights(tiny_qwen: Path, tmp_path: Path) -> None:
    data = [str(write_jsonl(tmp_path / "rows.jsonl", alpaca(20)))]
    plan = {"max_steps": 5, "save_steps": 2, "batch_size": 4, "lr": 1e-3, "precision": "fp32"}
    run_with_kills("training", tmp_path, 2, model=str(tiny_qwen), data=data, lora=True, lora_dropout=0.1, **plan)
    a, b = (load_file(tmp_path / name / "model" / "adapter_model.safetensors") for name in ("whole", "broken"))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
