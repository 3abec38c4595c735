"""Trainings on disk: their state, loss and samples, and the configurations with their commands."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from egosrag.errors import SettingsError, TrainingError
from finetune.runs import CONFIGS, Run, find_runs, read_configs, read_samples

Make = Callable[..., Any]
PROMPTS = ["Count to two.", "数到三。"]


@pytest.fixture(scope="module")
def checkpoint() -> Callable[[Path, int, int], Path]:
    def write(run: Path, step: int, of: int) -> Path:
        folder = run / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        log = [{"step": at, "loss": 3.0 / at} for at in range(1, step + 1)]
        state = {"global_step": step, "max_steps": of, "epoch": 0.5, "log_history": [*log, {"step": step, "lr": 1}]}
        (folder / "trainer_state.json").write_text(json.dumps(state), encoding="utf-8")
        return folder

    return write


def test_a_finished_run_has_its_loss_and_samples(settings: Make, tmp_path: Path) -> None:
    from finetune.sft import sft

    result = sft(settings(sample_prompts=PROMPTS, save_steps=2))
    (run,) = find_runs(tmp_path)
    assert (run.name, run.state, run.steps, run.of) == ("out", "finished", 3, 3)
    assert list(run.loss) == result["loss"]
    assert run.settings["lr"] == 1e-3 and run.numbers["tokens"] == result["tokens"]
    samples = read_samples(run)
    assert list(samples) == [0, 2, 3]
    assert all([row["prompt"] for row in rows] == PROMPTS for rows in samples.values())


@pytest.mark.parametrize("changes", [{}, {"lora": True, "lora_dropout": 0.5}], ids=["weights", "lora"])
def test_sample_prompts_do_not_change_the_training(settings: Make, tmp_path: Path, changes: Any) -> None:
    from finetune.sft import sft

    losses = [
        sft(settings(out=str(tmp_path / name), sample_prompts=prompts, save_steps=1, **changes))["loss"]
        for name, prompts in (("without", []), ("with", PROMPTS))
    ]
    assert losses[0] == losses[1]
    assert not (tmp_path / "without" / "samples.jsonl").exists()


def test_a_resumed_run_has_samples_of_each_step_once(settings: Make, tmp_path: Path) -> None:
    from finetune.sft import sft
    from finetune.trainer import run_folder

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_folder, "publish", lambda partial, out: None)  # as if it had been killed before
        sft(settings(sample_prompts=PROMPTS, save_steps=2))
    shutil.rmtree(tmp_path / "out" / "checkpoints" / "checkpoint-3")
    samples = tmp_path / "out" / "samples.jsonl"
    samples.write_text(samples.read_text(encoding="utf-8") + '{"step": 9, "prom', encoding="utf-8")
    sft(settings(sample_prompts=PROMPTS, save_steps=2, resume=True))
    steps = [json.loads(line)["step"] for line in samples.read_text(encoding="utf-8").splitlines()]
    assert steps == [0, 0, 2, 2, 3, 3]


def test_sample_prompts_are_refused_with_fsdp(settings: Make) -> None:
    with pytest.raises(SettingsError, match="fsdp"):
        settings(sample_prompts=PROMPTS, fsdp=True)


def test_an_unfinished_run_ends_at_its_last_complete_checkpoint(tmp_path: Path, checkpoint: Any) -> None:
    checkpoint(tmp_path / "lora", 2, 10)
    (checkpoint(tmp_path / "lora", 4, 10) / "trainer_state.json").write_text('{"global_st', encoding="utf-8")
    (run,) = find_runs(tmp_path)
    assert (run.name, run.state, run.steps, run.of, run.loss) == ("lora", "unfinished", 2, 10, ((1, 3.0), (2, 1.5)))


def test_a_finished_run_that_was_started_again_is_unfinished(tmp_path: Path, checkpoint: Any) -> None:
    run = tmp_path / "sft"
    run.mkdir()
    (run / "run.json").write_text('{"steps": 3, "loss": [[1, 2.0]]}', encoding="utf-8")
    os.utime(run / "run.json", (1, 1))
    checkpoint(run, 1, 10)
    assert [run.state for run in find_runs(tmp_path)] == ["unfinished"]


def test_a_training_of_pocket_is_read_from_its_state(tmp_path: Path) -> None:
    state = {"step": 50, "tokens": 9, "seconds": 61.0, "loss": [[25, 4.0], [50, 3.0]], "config": {"minutes": 1}}
    (tmp_path / "state.json").write_text(json.dumps(state), encoding="utf-8")
    (run,) = find_runs(tmp_path)
    assert (run.name, run.state, run.loss) == (tmp_path.name, "finished", ((25, 4.0), (50, 3.0)))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"loss": 5}', '{"loss": [["a", "b"]]}', '{"steps": "x"}'])
def test_files_that_are_not_of_a_run_are_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    (tmp_path / "state.json").write_text(text, encoding="utf-8")
    assert find_runs(tmp_path) == []


def test_a_damaged_line_of_samples_is_an_error_and_an_incomplete_last_line_is_not(tmp_path: Path) -> None:
    run = Run("x", tmp_path, "unfinished", 1)
    assert read_samples(run) == {}
    file = tmp_path / "samples.jsonl"
    file.write_text('{"step": 1, "prompt": "a", "text": "b"}\n{"step": 2, "pro', encoding="utf-8")
    assert read_samples(run) == {1: [{"prompt": "a", "text": "b"}]}
    file.write_text('{"step": 1, \n', encoding="utf-8")
    with pytest.raises(TrainingError, match="damaged"):
        read_samples(run)


def test_every_configuration_is_listed_with_its_command() -> None:
    configs = {config.name: config for config in read_configs()}
    assert configs.keys() == {file.stem for file in CONFIGS.glob("*.yaml")}
    for name, config in configs.items():
        assert config.command.startswith("python -m finetune.") and f"configs/{name}.yaml" in config.command
        assert "Hardware" in config.notes and not config.text.startswith("#")
