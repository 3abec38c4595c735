"""Rows of every format, settings of a quick run on a tiny model, and a quiet transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    import torch
    from transformers.utils import logging

    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def alpaca(n: int) -> list[dict[str, str]]:
    return [
        {
            "instruction": f"Count to {WORDS[i % 10]}.",
            "input": "Slowly." if i % 3 else "",
            "output": ", ".join(WORDS[: i % 10 + 1]),
        }
        for i in range(n)
    ]


def roleplay(n: int) -> list[dict[str, Any]]:
    card = {"name": "Tim", "background": ["Tim drives a tram."]}
    return [
        {
            "role": card,
            "turns": [
                {"speaker": "Ann", "text": f"Is it {WORDS[i % 10]}?"},
                {"speaker": "Tim", "text": f"No, it is {WORDS[(i + 1) % 10]}."},
                {"speaker": "Ann", "text": 'What "far" stop is it?'},
                {"speaker": "Tim", "text": "The last one."},
            ],
        }
        for i in range(n)
    ]


def texts(n: int) -> list[dict[str, str]]:
    return [{"text": f'"It is {WORDS[i % 10]}," said Tim. “是的，”悟空说。'} for i in range(n)]


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture()
def alpaca_file(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "alpaca.jsonl", alpaca(20))


@pytest.fixture()
def settings(tiny_qwen: Path, alpaca_file: Path, tmp_path: Path) -> Callable[..., Any]:
    """Makes settings of a run of three steps on the tiny model; keyword arguments override them."""
    from finetune.trainer.args import SftArgs

    def make(**changes: Any) -> SftArgs:
        defaults: dict[str, Any] = {
            "model": str(tiny_qwen),
            "data": [str(alpaca_file)],
            "out": str(tmp_path / "out"),
            "precision": "fp32",
            "max_steps": 3,
            "batch_size": 4,
            "lr": 1e-3,
            "log_steps": 1,
            "max_length": 512,
        }
        return SftArgs(**{**defaults, **changes})

    return make
