"""A training run: what it trains and writes, and that it can be interrupted, split, repeated and resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from egosrag.errors import ModelError, TrainingError
from egosrag.models.runtime.cpu import has_fast_bfloat16
from egosrag.traits import read_traits
from finetune.sft import main, sft
from finetune.trainer import run_folder, train
from finetune.trainer.args import training_device
from finetune.trainer.model import checkpoint_path, load_tokenizer_and_stops
from finetune.trainer.record import git_commit

Make = Callable[..., Any]


def losses(result: dict[str, Any]) -> list[float]:
    return [loss for _, loss in result["loss"]]


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path / "model.safetensors")


def test_every_weight_changes_and_is_saved_in_fp32(settings: Make, tiny_qwen: Path, tmp_path: Path) -> None:
    result = sft(settings())
    before, after = weights(tiny_qwen), weights(tmp_path / "out")
    assert before.keys() == after.keys()
    assert all(not torch.equal(before[name], after[name]) for name in before)
    assert result["dtypes"] == {"trained": ["float32"], "frozen": [], "autocast": None}
    assert {weight.dtype for weight in after.values()} == {torch.float32}


def test_a_run_computes_in_bf16_where_the_processor_multiplies_it(settings: Make, tmp_path: Path) -> None:
    if training_device() == "cpu" and not has_fast_bfloat16():
        pytest.skip("this processor has no bfloat16 instructions")
    result = sft(settings(precision="auto"))
    assert result["dtypes"] == {"trained": ["float32"], "frozen": [], "autocast": "bfloat16"}
    assert {weight.dtype for weight in weights(tmp_path / "out").values()} == {torch.float32}
    assert losses(result)[0] == pytest.approx(losses(sft(settings(out=str(tmp_path / "fp32"))))[0], rel=0.01)


@pytest.mark.parametrize(
    ("fast", "precision", "bf16"), [(True, "auto", True), (False, "auto", False), (True, "fp32", False)]
)
def test_the_precision_follows_the_device_unless_it_is_given(
    settings: Make, fast: bool, precision: str, bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetune.trainer.args.has_fast_bfloat16", lambda device: fast)
    assert settings(precision=precision).computes_in_bf16 == bf16


def test_the_output_folder_has_a_complete_checkpoint_a_record_and_a_plot_and_no_pickle(
    settings: Make, tmp_path: Path
) -> None:
    from PIL import Image

    sft(settings(data=[str(tmp_path / "alpaca.jsonl")]))
    out = tmp_path / "out"
    names = {path.name for path in out.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json", "run.json"} <= names
    assert not names & {"checkpoints", ".partial"} and not list(out.rglob("*.bin")) + list(out.rglob("*.pt"))
    with Image.open(out / "loss.png") as image:
        assert image.size[0] > 500
    run = json.loads((out / "run.json").read_text())
    assert run["versions"]["torch"] == torch.__version__ and len(run["data"]["sha256"]) == 64
    assert run["template"]["used"] and run["settings"]["lr"] == 1e-3 and run["steps"] == 3 == len(run["loss"])
    assert run["commit"] == git_commit()


def test_the_trained_stop_token_is_set_in_every_configuration(settings: Make, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, GenerationConfig

    result = sft(settings())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert result["stops"]["turn"] == end == tokenizer.eos_token_id
    assert GenerationConfig.from_pretrained(tmp_path / "out").eos_token_id == [end, result["stops"]["text"]]
    assert tokenizer.pad_token_id != end


def test_the_loss_does_not_depend_on_how_a_batch_is_split(settings: Make, tmp_path: Path) -> None:
    runs = [sft(settings(out=str(tmp_path / f"m{size}"), micro_batch=size, batch_size=4)) for size in (4, 2, 1)]
    for other in runs[1:]:
        assert losses(other) == pytest.approx(losses(runs[0]), abs=1e-5)


def test_a_seed_repeats_a_run_and_another_does_not(settings: Make, tmp_path: Path) -> None:
    lora = {"lora": True, "lora_dropout": 0.1}
    first, again, other = (
        sft(settings(out=str(tmp_path / name), seed=seed, **lora)) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert losses(first) == losses(again) != losses(other)


def test_a_resumed_run_equals_an_uninterrupted_one(settings: Make, tmp_path: Path) -> None:
    plan = {"max_steps": 8, "save_steps": 3, "batch_size": 4, "lora": True, "lora_dropout": 0.1}
    whole = sft(settings(out=str(tmp_path / "whole"), **plan))
    broken = settings(out=str(tmp_path / "out"), **plan)
    interrupt(broken, at=5)
    assert [p.name for p in (tmp_path / "out" / run_folder.CHECKPOINTS).iterdir()] == ["checkpoint-3"]
    with pytest.raises(TrainingError, match="unfinished run: continue it with --resume true"):
        sft(broken)
    resumed = sft(settings(out=str(tmp_path / "out"), resume=True, **plan))
    assert losses(resumed) == losses(whole)
    a, b = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "out"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def interrupt(args: Any, at: int) -> None:
    """Run ``args`` and kill the training in step ``at``."""

    class Killed(BaseException):
        pass

    step = train.AtomicTrainer.training_step

    def training_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == at:
            raise Killed
        return step(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(train.AtomicTrainer, "training_step", training_step)
        sft(args)


def test_a_full_disk_keeps_the_last_complete_checkpoint(settings: Make, tmp_path: Path) -> None:
    saved = train.Trainer._save_optimizer_and_scheduler

    def full(self: Any, path: str) -> None:
        if path.endswith("-4"):
            raise OSError(28, "No space left on device")
        saved(self, path)

    plan = {"max_steps": 6, "save_steps": 2}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(TrainingError) as error:
        patch.setattr(train.Trainer, "_save_optimizer_and_scheduler", full)
        sft(settings(**plan))
    assert "No space left on device; free some space and continue from checkpoint-2 with --resume true" in str(
        error.value
    )
    assert [p.name for p in (tmp_path / "out" / run_folder.CHECKPOINTS).iterdir()] == ["checkpoint-2"]
    assert sft(settings(resume=True, **plan))["steps"] == 6


def test_torchs_error_for_a_full_disk_is_put_in_words(tmp_path: Path) -> None:
    error = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 756992 vs 756880")
    message = str(run_folder.save_error(tmp_path / "checkpoint-4", error, tmp_path / "checkpoint-2"))
    assert message.endswith(
        "no space left on the disk; free some space and continue from checkpoint-2 with --resume true"
    )


def test_a_run_killed_before_its_result_was_published_is_finished_by_resuming(settings: Make, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match="killed"):
        patch.setattr(run_folder, "publish", lambda *_: (_ for _ in ()).throw(OSError("killed")))
        sft(settings())
    assert not (tmp_path / "out" / "run.json").exists()
    trained = weights(tmp_path / "out" / run_folder.CHECKPOINTS / "checkpoint-3")
    result = sft(settings(resume=True))
    assert result["steps"] == 3 == len(result["loss"])
    after = weights(tmp_path / "out")
    assert all(torch.equal(after[name], trained[name]) for name in trained)


def test_an_incomplete_checkpoint_is_not_resumed_from(settings: Make, tmp_path: Path) -> None:
    plan = {"max_steps": 6, "save_steps": 2}
    interrupt(settings(**plan), at=5)
    incomplete = tmp_path / "out" / run_folder.CHECKPOINTS / "checkpoint-4"
    state = (incomplete / "trainer_state.json").read_text()
    (incomplete / "trainer_state.json").write_text(state[: len(state) // 2])
    assert run_folder.prepare(tmp_path / "out", resume=True, overwrite=False).name == "checkpoint-2"
    assert not incomplete.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "no/such-model"}, "no tokenizer in no/such-model"),
        ({"precision": "bf16"}, "bf16 needs a GPU or a CPU (AMX, AVX-512 BF16) that computes in it"),
        ({"max_length": 5000}, "max_length 5000 exceeds the model's context window of 1024"),
        ({"batch_size": 4, "micro_batch": 3}, "batch_size 4 is not a multiple of 1 processes x micro_batch 3"),
        ({"lora": True, "lora_targets": "nope"}, "no LoRA on lora_targets nope"),
        ({"resume": True}, "there is no complete checkpoint in"),
    ],
)
def test_an_impossible_run_is_reported_in_one_line(
    settings: Make, changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetune.trainer.model.has_fast_bfloat16", lambda device: False)
    with pytest.raises(TrainingError) as error:
        sft(settings(**changes))
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("damage", ["missing", "shape"])
def test_weights_that_do_not_fit_the_configuration_are_reported_in_one_line(
    settings: Make, tiny_qwen: Path, tmp_path: Path, damage: str
) -> None:
    import shutil

    from safetensors.torch import save_file

    broken = shutil.copytree(tiny_qwen, tmp_path / "broken")
    state = weights(broken)
    name = next(key for key in state if "gate_proj" in key)
    if damage == "missing":
        del state[name]
    else:
        state[name] = state[name][:-1].clone()
    save_file(state, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError) as error:
        sft(settings(model=str(broken)))
    assert "config.json" in str(error.value) and "\n" not in str(error.value)


def test_a_model_without_a_chat_template_is_reported(settings: Make, tiny_qwen: Path, tmp_path: Path) -> None:
    import shutil

    plain = shutil.copytree(tiny_qwen, tmp_path / "plain")
    (plain / "chat_template.jinja").unlink(missing_ok=True)
    config = json.loads((plain / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (plain / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(TrainingError, match="no chat template: train with --template false"):
        load_tokenizer_and_stops(settings(model=str(plain)))


def test_the_embedded_model_can_be_trained_and_keeps_its_traits(settings: Make, tmp_path: Path) -> None:
    home = Path(checkpoint_path("pocket"))
    if not (home / "model.safetensors").exists():
        pytest.skip("pocket has not been trained yet: python -m finetune.pocket")
    sft(settings(model="pocket", max_steps=1))
    before, after = weights(home), weights(tmp_path / "out")
    assert before.keys() == after.keys() and any(not torch.equal(before[k].float(), after[k]) for k in before)
    assert read_traits(tmp_path / "out") == replace(read_traits(home), single_turn=True)


def test_a_finished_run_is_only_replaced_with_overwrite(settings: Make) -> None:
    sft(settings(max_steps=1))
    with pytest.raises(TrainingError, match="contains a finished run"):
        sft(settings(max_steps=1))
    assert sft(settings(max_steps=2, overwrite=True))["steps"] == 2


def test_the_command_reports_an_error_in_one_line(
    tiny_qwen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", str(tiny_qwen), "--data", "nope.jsonl", "--out", str(tmp_path / "o"), "--precision", "fp32"]
    assert main(words) == 1
    assert capsys.readouterr().err == "error: there is no data file nope.jsonl: check the path\n"
    assert main([*words, "--lrr", "3"]) == 2
    assert "did you mean lr?" in capsys.readouterr().err
