"""The same command under torchrun: two processes on a CPU have the same loss as one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from finetune.sft import sft
from finetune.trainer.args import SftArgs
from finetune.trainer.train import split_batch

ROOT = Path(__file__).resolve().parent.parent.parent


def torchrun(args: SftArgs, *more: str) -> dict[str, Any]:
    """The record of a run of ``args`` with two processes."""
    words = ["--model", args.model, "--data", *args.data, "--out", args.out, "--precision", args.precision]
    for key in ("lr", "max_steps", "batch_size", "log_steps", "max_length"):
        words += [f"--{key}", str(getattr(args, key))]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    done = subprocess.run(
        [sys.executable, *launcher, "finetune.sft", *words, *more],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads((Path(args.out) / "run.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("more", [(), ("--fsdp", "true")], ids=["ddp", "fsdp2"])
def test_two_processes_have_the_same_loss_as_one(
    settings: Callable[..., SftArgs], tmp_path: Path, more: tuple[str, ...]
) -> None:
    one = sft(settings(out=str(tmp_path / "one")))
    two = torchrun(settings(out=str(tmp_path / "two")), *more)
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["tokens"] == two["tokens"] and one["data"]["sha256"] == two["data"]["sha256"]
    assert [x for _, x in two["loss"]] == pytest.approx([x for _, x in one["loss"]], abs=1e-5)
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert max((a[name] - b[name]).abs().max().item() for name in a) < 1e-4


def test_a_step_has_the_same_number_of_rows_with_any_number_of_processes() -> None:
    assert split_batch(8, None, 1) == (8, 1)
    assert split_batch(8, None, 2) == (4, 1)
    assert split_batch(24, 4, 2) == (4, 3)
    assert split_batch(8, 16, 4) == (2, 1)
