"""Every shipped configuration runs in miniature with its own command, and the result can be loaded and used."""

from __future__ import annotations

import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from langchain_core.messages import HumanMessage
from safetensors.torch import load_file

from finetune.cli import parse
from finetune.inverse.args import InverseArgs
from finetune.trainer.args import SftArgs
from tests.finetune.conftest import alpaca, roleplay, texts, write_jsonl

ROOT = Path(__file__).resolve().parent.parent.parent
CONFIGS = sorted((ROOT / "finetune" / "configs").glob("*.yaml"))
KINDS = {"finetune.sft": SftArgs, "finetune.inverse": InverseArgs}
SFT_AND_INVERSE = [
    c for c in CONFIGS if c.read_text(encoding="utf-8").startswith(tuple(f"# python -m {name}" for name in KINDS))
]


def name_of(path: Path) -> str:
    return path.stem


def command_of(path: Path) -> list[str]:
    return shlex.split(path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# "))


@pytest.mark.parametrize("path", SFT_AND_INVERSE, ids=name_of)
def test_a_configuration_opens_with_its_command_hardware_and_time(path: Path) -> None:
    head = path.read_text(encoding="utf-8").split("\n\n")[0]
    words = command_of(path)
    assert words[:2] == ["python", "-m"] and words[4] == f"finetune/configs/{path.name}"
    assert "# Hardware: " in head and "# Expected time: " in head


@pytest.mark.parametrize("path", SFT_AND_INVERSE, ids=name_of)
def test_a_configuration_parses_unchanged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    words = command_of(path)
    args = parse(KINDS[words[2]], words[3:])
    assert args.out == f"runs/{path.stem}" and args.precision == "bf16"
    assert "estimate:" in path.read_text(encoding="utf-8")


def miniature(path: Path, tiny: Path, folder: Path) -> tuple[Any, list[str]]:
    """The module and arguments of the configuration's own command, with a tiny model, 20 rows and 3 steps."""
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    rows = {"roleplay": roleplay, "text": texts}.get(config.get("shape", ""), alpaca)(20)
    data = write_jsonl(folder / "rows.jsonl", rows)
    words = ["--config", str(path), "--model", str(tiny), "--data", str(data), "--out", str(folder / "out")]
    words += ["--precision", "fp32", "--max_length", "512", "--lr", "1e-3", "--warmup", "0", "--log_steps", "1"]
    if "arm" in config:
        return import_module("finetune.inverse.__main__"), [
            *words, "--rows", "8", "--probe", "2", "--epochs", "4", "--seeds", "1", "--min_output", "1",
        ]  # fmt: skip
    return import_module("finetune.sft"), [*words, "--max_steps", "3", "--batch_size", "4"]


@pytest.mark.parametrize("path", SFT_AND_INVERSE, ids=name_of)
def test_a_configuration_runs_in_miniature_and_the_result_generates(
    path: Path, tiny_qwen: Path, tmp_path: Path
) -> None:
    from egosrag.models import load_chat_model

    module, words = miniature(path, tiny_qwen, tmp_path)
    assert module.main(words) == 0
    is_inverse = module.__name__ == "finetune.inverse.__main__"
    args: Any = parse(InverseArgs if is_inverse else SftArgs, words)
    out = tmp_path / "out" / ("seed-1" if is_inverse else "")
    before = load_file(tiny_qwen / "model.safetensors")
    if args.lora:
        moved = load_file(out / "adapter_model.safetensors")
        # The B matrices start at zero and the special tokens at the base's embeddings: all of them have changed.
        assert all(weight.any() for name, weight in moved.items() if "lora_B" in name)
        tokens = [weight for name, weight in moved.items() if "trainable_tokens" in name]
        assert len(tokens) == args.train_special_tokens
        embedding = before["model.embed_tokens.weight"]
        assert all((weight[:, None] != embedding).any(-1).all() for weight in tokens)
        assert not (out / "model.safetensors").exists()  # the frozen base is not written
        model = load_chat_model(str(tiny_qwen), adapter=str(out), template=args.template, max_new_tokens=4)
    else:
        after = load_file(out / "model.safetensors")
        assert all(not torch.equal(before[name], after[name]) for name in before)
        model = load_chat_model(str(out), template=args.template, max_new_tokens=4)
    reply = model.invoke([HumanMessage("Who are you?")])
    assert reply.usage_metadata is not None and reply.usage_metadata["output_tokens"] > 0
    assert (out / "run.json").exists() and (out / "loss.png").exists()


def test_the_recipes_are_those_of_the_report() -> None:
    def config(name: str) -> dict[str, Any]:
        return yaml.safe_load((ROOT / "finetune" / "configs" / f"{name}.yaml").read_text(encoding="utf-8"))

    sft = dict(lr="2e-5", schedule="cosine", batch_size=8, epochs=6, warmup=400, precision="bf16")
    assert sft.items() <= config("sft_05b").items()
    lora = dict(lora_r=8, lora_alpha=32, lora_dropout=0.1, lora_targets="all-linear", lr="5e-4", schedule="linear")
    assert {**lora, "batch_size": 24, "epochs": 5, "warmup": 400}.items() <= config("lora_3b").items()
    presets = {"yaml": ("1e-4", 8, 0.1), "webui": ("5e-5", 16, 0)}
    for name, (lr, batch, warmup) in presets.items():
        llama_factory = dict(
            lr=lr, batch_size=batch, warmup=warmup, epochs=3, schedule="cosine", max_length=2048, lora_r=8
        )
        llama_factory |= dict(lora_alpha=16, lora_dropout=0.0, lora_targets="all-linear")
        assert llama_factory.items() <= config(f"lora_3b_lf_{name}").items()
        assert config(f"lora_3b_lf_{name}")["system"].startswith("You are Qwen, created by Alibaba Cloud.")
    for arm in ("normal", "first", "last", "mixed"):
        inverse = dict(arm=arm, lr="1e-4", schedule="cosine", batch_size=8, warmup=0.1, rows=1000, epochs=10)
        assert inverse.items() <= config(f"inverse_{arm}").items()
    differs = {"lr", "schedule", "out", "template", "system"}
    assert {k for k in config("sft_l") if config("sft_l")[k] != config("sft_05b").get(k)} == {"lr", "schedule", "out"}
    assert {k: v for k, v in config("sft_notemplate").items() if k not in differs} == {
        k: v for k, v in config("sft_l").items() if k not in differs
    }
