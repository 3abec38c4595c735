"""The same command under torchrun: two processes on a CPU have the loss of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from finetune.train import split_batch
from tests.finetune.conftest import alpaca, write_jsonl

ROOT = Path(__file__).resolve().parent.parent.parent


def run(out: Path, tiny: Path, data: Path, processes: int) -> dict[str, object]:
    words = ["--model", str(tiny), "--data", str(data), "--out", str(out), "--precision", "fp32", "--lr", "1e-3"]
    words += ["--max_steps", "4", "--batch_size", "4", "--log_steps", "1", "--max_length", "512"]
    launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"] if processes > 1 else []
    done = subprocess.run(
        [sys.executable, "-m", *launcher, "finetune.sft", *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((out / "run.json").read_text(encoding="utf-8"))


def test_two_processes_have_the_loss_of_one(tiny_qwen: Path, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "rows.jsonl", alpaca(20))
    one, two = (run(tmp_path / f"p{n}", tiny_qwen, data, n) for n in (1, 2))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["tokens"] == two["tokens"]
    assert [x for _, x in two["loss"]] == pytest.approx([x for _, x in one["loss"]], abs=1e-5)
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in ("p1", "p2"))
    assert max((a[name] - b[name]).abs().max().item() for name in a) < 1e-4


def test_a_batch_is_the_same_however_many_processes_share_it() -> None:
    assert split_batch(8, None, 1) == (8, 1)
    assert split_batch(8, None, 2) == (4, 1)
    assert split_batch(24, 4, 2) == (4, 3)
    assert split_batch(8, 16, 4) == (2, 1)
