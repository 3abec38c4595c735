"""A training run: what it trains, what it leaves, and that it can be stopped, split, repeated and resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from egosrag.errors import TrainingError
from finetune.sft import main, sft
from finetune.trainer import folder, model, record, train

Make = Callable[..., Any]


def losses(result: dict[str, Any]) -> list[float]:
    return [loss for _, loss in result["loss"]]


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path / "model.safetensors")


def test_every_weight_moves_and_is_kept_in_fp32(settings: Make, tiny_qwen: Path, tmp_path: Path) -> None:
    result = sft(settings())
    before, after = weights(tiny_qwen), weights(tmp_path / "out")
    assert before.keys() == after.keys()
    assert all(not torch.equal(before[name], after[name]) for name in before)
    assert result["dtypes"] == {"trained": ["float32"], "frozen": [], "autocast": None}
    assert {weight.dtype for weight in after.values()} == {torch.float32}


def test_the_folder_holds_a_whole_checkpoint_a_record_and_a_plot_and_no_pickle(settings: Make, tmp_path: Path) -> None:
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
    assert run["commit"] == record.commit()


def test_the_trained_stop_token_is_declared_everywhere(settings: Make, tmp_path: Path) -> None:
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
    _interrupt(broken, at=5)
    assert [p.name for p in (tmp_path / "out" / folder.CHECKPOINTS).iterdir()] == ["checkpoint-3"]
    with pytest.raises(TrainingError, match="unfinished run: go on with --resume true"):
        sft(broken)
    resumed = sft(settings(out=str(tmp_path / "out"), resume=True, **plan))
    assert losses(resumed) == losses(whole)
    a, b = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "out"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def _interrupt(args: Any, at: int) -> None:
    """Run ``args`` and lose the process in step ``at``."""

    class Killed(BaseException):
        pass

    step = train.WholeTrainer.training_step

    def dies(self: Any, *given: Any, **named: Any) -> Any:
        if self.state.global_step == at:
            raise Killed
        return step(self, *given, **named)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(train.WholeTrainer, "training_step", dies)
        sft(args)


def test_a_full_disk_keeps_the_last_good_checkpoint(settings: Make, tmp_path: Path) -> None:
    saved = train.Trainer._save_optimizer_and_scheduler

    def full(self: Any, path: str) -> None:
        if path.endswith("-4"):
            raise OSError(28, "No space left on device")
        saved(self, path)

    plan = {"max_steps": 6, "save_steps": 2}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(TrainingError) as error:
        patch.setattr(train.Trainer, "_save_optimizer_and_scheduler", full)
        sft(settings(**plan))
    assert "No space left on device; free some space and go on from checkpoint-2 with --resume true" in str(error.value)
    assert [p.name for p in (tmp_path / "out" / folder.CHECKPOINTS).iterdir()] == ["checkpoint-2"]
    assert sft(settings(resume=True, **plan))["steps"] == 6


def test_what_torch_says_of_a_full_disk_is_put_in_words(tmp_path: Path) -> None:
    error = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 756992 vs 756880")
    told = str(folder.unsaved(tmp_path / "checkpoint-4", error, tmp_path / "checkpoint-2"))
    assert told.endswith("no space left on the disk; free some space and go on from checkpoint-2 with --resume true")


def test_a_run_killed_before_its_result_was_moved_is_finished_by_resuming(settings: Make, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match="killed"):
        patch.setattr(folder, "publish", lambda *_: (_ for _ in ()).throw(OSError("killed")))
        sft(settings())
    assert not (tmp_path / "out" / "run.json").exists()
    trained = weights(tmp_path / "out" / folder.CHECKPOINTS / "checkpoint-3")
    result = sft(settings(resume=True))
    assert result["steps"] == 3 == len(result["loss"])
    after = weights(tmp_path / "out")
    assert all(torch.equal(after[name], trained[name]) for name in trained)


def test_a_checkpoint_cut_off_by_a_kill_is_not_resumed_from(settings: Make, tmp_path: Path) -> None:
    plan = {"max_steps": 6, "save_steps": 2}
    _interrupt(settings(**plan), at=5)
    cut = tmp_path / "out" / folder.CHECKPOINTS / "checkpoint-4"
    state = (cut / "trainer_state.json").read_text()
    (cut / "trainer_state.json").write_text(state[: len(state) // 2])
    assert folder.prepare(tmp_path / "out", resume=True, overwrite=False).name == "checkpoint-2"
    assert not cut.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "no/such-model"}, "no tokenizer in no/such-model"),
        ({"precision": "bf16"}, "bf16 needs a GPU and there is none that computes in it: add --precision fp32"),
        ({"max_length": 5000}, "max_length 5000 is over the model's window of 1024"),
        ({"batch_size": 4, "micro_batch": 3}, "batch_size 4 is no multiple of 1 processes x micro_batch 3"),
        ({"lora": True, "lora_targets": "nope"}, "no LoRA on lora_targets nope"),
        ({"resume": True}, "there is no whole checkpoint in"),
    ],
)
def test_what_cannot_run_is_one_line(settings: Make, changes: dict[str, Any], said: str) -> None:
    if torch.cuda.is_available() and changes.get("precision") == "bf16":
        pytest.skip("this machine has a GPU")
    with pytest.raises(TrainingError) as error:
        sft(settings(**changes))
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("damage", ["missing", "shape"])
def test_a_checkpoint_of_another_shape_is_one_line(
    settings: Make, tiny_qwen: Path, tmp_path: Path, damage: str
) -> None:
    import shutil

    from safetensors.torch import save_file

    broken = shutil.copytree(tiny_qwen, tmp_path / "broken")
    found = weights(broken)
    name = next(key for key in found if "gate_proj" in key)
    if damage == "missing":
        del found[name]
    else:
        found[name] = found[name][:-1].clone()
    save_file(found, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TrainingError) as error:
        sft(settings(model=str(broken)))
    assert "config.json" in str(error.value) and "\n" not in str(error.value)


def test_a_model_without_a_template_says_so(settings: Make, tiny_qwen: Path, tmp_path: Path) -> None:
    import shutil

    plain = shutil.copytree(tiny_qwen, tmp_path / "plain")
    (plain / "chat_template.jinja").unlink(missing_ok=True)
    config = json.loads((plain / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (plain / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(TrainingError, match="no chat template: train with --template false"):
        model.reader(settings(model=str(plain)))


def test_the_embedded_model_can_be_trained_on(settings: Make, tmp_path: Path) -> None:
    home = Path(model.place("pocket"))
    if not (home / "model.safetensors").exists():
        pytest.skip("pocket has not been trained yet: python -m finetune.pocket")
    sft(settings(model="pocket", max_steps=1))
    before, after = weights(home), weights(tmp_path / "out")
    assert before.keys() == after.keys() and any(not torch.equal(before[k].float(), after[k]) for k in before)


def test_a_finished_run_is_not_overwritten_unasked(settings: Make) -> None:
    sft(settings(max_steps=1))
    with pytest.raises(TrainingError, match="holds a finished run"):
        sft(settings(max_steps=1))
    assert sft(settings(max_steps=2, overwrite=True))["steps"] == 2


def test_the_command_prints_one_line_of_error(
    tiny_qwen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", str(tiny_qwen), "--data", "nope.jsonl", "--out", str(tmp_path / "o"), "--precision", "fp32"]
    assert main(words) == 1
    assert capsys.readouterr().err == "error: there is no data file nope.jsonl: check the path\n"
    assert main([*words, "--lrr", "3"]) == 2
    assert "did you mean lr?" in capsys.readouterr().err
