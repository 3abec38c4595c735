"""The inverse-data experiment: equal steps in every arm, in the order of the arm, and inverse recall."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import Trainer

from egosrag.errors import SettingsError, TrainingError
from finetune.inverse.args import InverseArgs
from finetune.inverse.experiment import experiment
from finetune.inverse.recall import rouge_l
from finetune.inverse.rows import Task, order_examples, select_tasks
from finetune.trainer import model
from tests.finetune.conftest import alpaca, write_jsonl

TASKS = [Task(f"r:{n}", f"Do {n}.", "", f"Done {n}, as you said.") for n in range(8)]
Make = Callable[..., InverseArgs]


@pytest.fixture()
def inverse(tiny_qwen: Path, tmp_path: Path) -> Make:
    def make(**changes: Any) -> InverseArgs:
        defaults = {
            "model": str(tiny_qwen),
            "data": [str(write_jsonl(tmp_path / "rows.jsonl", alpaca(20)))],
            "out": str(tmp_path / "out"),
            "precision": "fp32",
            "rows": 8,
            "probe": 4,
            "epochs": 4,
            "min_output": 1,
            "seeds": [1],
            "max_length": 512,
            "lr": 3e-3,
        }
        return InverseArgs(**{**defaults, **changes})

    return make


def directions(args: InverseArgs, seed: int = 1) -> list[str]:
    """One letter per row, in order: f (forward) or i (inverse); a bar between two schedules."""
    ask = "Write the instruction"
    schedules = order_examples(args, TASKS, seed)
    return "|".join("".join("i" if ask in e.prompt[-1].text else "f" for e in part) for part in schedules)


def test_every_arm_has_the_same_number_of_rows_in_its_own_order(inverse: Make) -> None:
    assert directions(inverse(arm="normal")) == "f" * 32
    assert directions(inverse(arm="first")) == "i" * 16 + "f" * 16
    assert directions(inverse(arm="last")) == "f" * 16 + "i" * 16
    mixed = directions(inverse(arm="mixed"))
    assert sorted(mixed) == ["f"] * 16 + ["i"] * 16 and mixed[:16].count("i") == 8 and "if" in mixed and "fi" in mixed


def test_two_phases_are_two_schedules_of_the_same_rows(inverse: Make) -> None:
    assert directions(inverse(arm="last", phases="two")) == "f" * 16 + "|" + "i" * 16
    assert directions(inverse(arm="mixed", phases="two")) == directions(inverse(arm="mixed"))


def test_every_pass_is_shuffled_anew_and_a_seed_reproduces_it(inverse: Make) -> None:
    (rows,) = order_examples(inverse(arm="normal"), TASKS, 1)
    first, second = rows[:8], rows[8:16]
    assert first != second and sorted(e.location for e in first) == sorted(e.location for e in second)
    assert order_examples(inverse(arm="normal"), TASKS, 1) == [rows] != order_examples(inverse(arm="normal"), TASKS, 2)


def test_all_arms_share_their_rows_and_the_probes_are_held_out(inverse: Make) -> None:
    one, other = select_tasks(inverse(arm="normal")), select_tasks(inverse(arm="last", seeds=[9]))
    assert one == other
    assert not {task.location for task in one[0]} & {task.location for task in one[1]}


def test_an_inverse_row_asks_for_the_instruction_in_the_language_of_its_output() -> None:
    one = Task("r", "Translate it.", "Guten Tag", "Good day").inverse(None)
    assert one.prompt[-1].text == "Write the instruction that this output answers.\nInput: Guten Tag\nOutput: Good day"
    assert one.answer == "Translate it."
    other = Task("r", "翻译。", "", "你好，世界").inverse("S")
    assert [m.text for m in other.prompt] == ["S", "写出这个输出所回答的指令。\n输出：你好，世界"]


@pytest.mark.parametrize("phases", ["one", "two"])
def test_training_on_inverse_rows_raises_inverse_recall(inverse: Make, phases: str, tmp_path: Path) -> None:
    summary = experiment(inverse(arm="last", phases=phases, seeds=[1, 2], warmup=0.1, epochs=8))
    assert summary["steps"] == 8 and len(summary["seeds"]) == 2
    for seed in summary["seeds"]:
        assert seed["inverse_nll_trained"] < seed["before"]["inverse_nll_trained"] - 0.5
    assert {"inverse_nll_trained", "inverse_nll_others", "inverse_rouge_others"} <= summary["mean"].keys()
    assert json.loads((tmp_path / "out" / "inverse.json").read_text()) == summary
    run = json.loads((tmp_path / "out" / "seed-2" / "run.json").read_text())
    assert len(run["schedules"]) == (2 if phases == "two" else 1) and run["recall"]["seed"] == 2
    rates = [len(part["loss"]) for part in run["schedules"]]
    assert all(rates)


def test_arms_have_equal_steps_where_rows_are_too_long(
    inverse: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = [{"instruction": f"Go on {n}.", "output": "word " * 120} for n in range(12)]
    data = [str(write_jsonl(tmp_path / "mixed.jsonl", [*alpaca(12), *long]))]
    options = {"data": data, "max_length": 256, "epochs": 2, "batch_size": 2}
    steps = {
        arm: experiment(inverse(arm=arm, out=str(tmp_path / arm), **options))["steps"] for arm in ("normal", "last")
    }
    assert steps == {"normal": 8, "last": 8}
    assert "rows that max_length 256 would cut" in capsys.readouterr().err
    with pytest.raises(TrainingError, match=r"12 rows of .*mixed\.jsonl fit max_length 256 whole in both directions"):
        experiment(inverse(out=str(tmp_path / "more"), rows=9, **options))


def test_a_resumed_run_trains_only_the_missing_seeds(inverse: Make, tmp_path: Path) -> None:
    experiment(inverse(seeds=[1]))
    first = tmp_path / "out" / "seed-1" / "model.safetensors"
    written = first.stat().st_mtime_ns
    with pytest.raises(TrainingError, match="contains a finished run"):
        experiment(inverse(seeds=[1, 2]))
    summary = experiment(inverse(seeds=[1, 2], resume=True))
    assert [result["seed"] for result in summary["seeds"]] == [1, 2] and first.stat().st_mtime_ns == written
    with pytest.raises(TrainingError, match="seed-1 was trained with another lr: give another --out"):
        experiment(inverse(seeds=[1, 2], resume=True, lr=1e-4))


@pytest.mark.parametrize("phases", ["one", "two"])
def test_what_a_seed_has_trained_is_not_in_memory_in_the_next(
    inverse: Make, phases: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[weakref.ref[Any]] = []
    optimizers: list[weakref.ref[Any]] = []
    alive: list[int] = []
    load, create = model.load_model, Trainer.create_optimizer

    def loaded(*arguments: Any) -> Any:
        alive.append(sum(each() is not None for each in models))
        models.append(weakref.ref(found := load(*arguments)))
        return found

    def created(self: Any, *arguments: Any) -> Any:
        alive.append(sum(each() is not None for each in optimizers))
        optimizers.append(weakref.ref(found := create(self, *arguments)))
        return found

    monkeypatch.setattr(model, "load_model", loaded)
    monkeypatch.setattr(Trainer, "create_optimizer", created)
    gc.disable()
    try:
        experiment(inverse(arm="last", phases=phases, seeds=[1, 2], rows=2, probe=1, epochs=2))
    finally:
        gc.enable()
    assert (len(models), len(optimizers)) == (2, 2 if phases == "one" else 4) and not any(alive)


def test_bad_rows_are_reported_and_skipped_or_fatal(
    inverse: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_jsonl(tmp_path / "bad.jsonl", [{"instruction": "", "output": "nothing was asked"}, *alpaca(20)])
    assert len(select_tasks(inverse(data=[str(file)]))[0]) == 8
    assert "skipped: bad.jsonl:1: instruction is empty" in capsys.readouterr().err
    with pytest.raises(TrainingError, match=r"bad\.jsonl:1: instruction is empty; correct the row"):
        select_tasks(inverse(data=[str(file)], bad_rows="fatal"))
    other = write_jsonl(tmp_path / "other.jsonl", [{"text": "a story"}])
    with pytest.raises(TrainingError, match="has the columns text, but rows need alpaca"):
        select_tasks(inverse(data=[str(other)]))


def test_rouge_l() -> None:
    assert rouge_l("the cat sat", "the cat sat") == 1.0
    assert rouge_l("the cat", "the dog sat on the cat") == pytest.approx(2 * 2 / 8)
    assert rouge_l("猫坐下了", "猫坐了") == pytest.approx(6 / 7)
    assert rouge_l("", "a") == 0.0


def test_inconsistent_settings_are_reported_in_one_line(inverse: Make) -> None:
    wrong = (({"arm": "first", "epochs": 5}, "even"), ({"max_steps": 3}, "equal steps"), ({"probe": 0}, "at least 1"))
    for changes, message in wrong:
        with pytest.raises(SettingsError, match=message):
            inverse(**changes)
    with pytest.raises(TrainingError, match=r"has 20 rows with .* or more, but rows \+ probe is 54"):
        select_tasks(inverse(rows=50))
