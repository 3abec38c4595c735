"""Weights that are missing, pickled or of another shape are refused wherever weights are loaded, by one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.numpy import load_file, save_file

from egosrag.errors import ModelError
from egosrag.models import load_chat_model
from egosrag.rag.index.vectors import load_embedder
from egosrag.rag.retrieval.reranking import Reranker
from evals.ppl.run import Weights
from evals.ppl.run import load_model as load_for_ppl
from finetune.embedder import _load_embedder
from finetune.trainer.model import load_weights
from tests.tiny import make_tiny_adapter

Damage = Callable[[Path], None]


def refusal(load: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(ModelError) as error:
        load(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def without_a_weight(folder: Path) -> None:
    rewrite(folder, lambda name, value: None if "v_proj" in name or "value" in name else value)


def of_another_shape(folder: Path) -> None:
    rewrite(folder, lambda name, value: value[:-1].copy() if "up_proj" in name or "intermediate" in name else value)


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def without_a_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    files = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))


def empty(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


DAMAGE: list[tuple[Damage, str]] = [
    (without_a_weight, r"lacks \d+ of the weights that its config.json describes \(.*(v_proj|value).*\): copy or"),
    (of_another_shape, r"do not fit its config.json: .* has the shape \(\d+.*\) and not \(\d+.*\)"),
    (pickled, "has its weights as pickles, which can run code when loaded: save them as safetensors"),
    (without_a_shard, r"lacks 1 of the 2 files of its weights \(model-00002-of-00002.safetensors\)"),
    (empty, "the folder has no \\*.safetensors"),
]


def rewrite(folder: Path, change: Callable[[str, Any], Any], file: str = "model.safetensors") -> None:
    tensors = {name: change(name, value) for name, value in load_file(folder / file).items()}
    save_file({k: v for k, v in tensors.items() if v is not None}, folder / file, metadata={"format": "pt"})


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of one layer with one output: a reranker, and without its head an embedder."""
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"机油检查电池"]), "utf-8"
    )
    config = BertConfig(
        vocab_size=11, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=1
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


CAUSAL: dict[str, Callable[[str], Any]] = {
    "chat": load_chat_model,
    "evals.ppl": lambda name: load_for_ppl(Weights(name)),
    "finetune": lambda name: load_weights(name, torch.float32),
}
ENCODERS: dict[str, Callable[[str], Any]] = {
    "embedder": load_embedder,
    "reranker": Reranker,
    "finetune.embedder": _load_embedder,
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGE)
@pytest.mark.parametrize("use", CAUSAL)
def test_a_damaged_causal_model_is_refused(
    tiny_qwen: Path, tmp_path: Path, use: str, damage: Damage, reason: str
) -> None:
    folder = shutil.copytree(tiny_qwen, tmp_path / "m")
    damage(folder)
    with pytest.raises(ModelError, match=reason) as error:
        CAUSAL[use](str(folder))
    assert str(folder) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("damage", "reason"), DAMAGE)
@pytest.mark.parametrize("use", ENCODERS)
def test_a_damaged_encoder_is_refused(tiny_bert: Path, tmp_path: Path, use: str, damage: Damage, reason: str) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "m")
    ENCODERS[use](str(folder))
    damage(folder)
    with pytest.raises(ModelError, match=reason) as error:
        ENCODERS[use](str(folder))
    assert str(folder) in str(error.value) and "\n" not in str(error.value)


def test_a_pooler_that_nothing_uses_may_be_missing(tiny_bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "m")
    rewrite(folder, lambda name, value: None if "pooler" in name else value)
    assert load_embedder(str(folder))
    assert "pooler.dense" in refusal(Reranker, str(folder))


def test_a_reranker_without_its_head_is_refused(tiny_bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "m")
    rewrite(folder, lambda name, value: None if "classifier" in name else value)
    assert "(classifier.bias, classifier.weight)" in refusal(Reranker, str(folder))


def test_pickled_weights_in_a_folder_of_an_embedder_are_refused(tiny_bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "m")
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(b"x")
    assert "as pickles" in refusal(load_embedder, str(folder))


def test_an_adapter_is_no_model(adapter: str) -> None:
    for load in (*CAUSAL.values(), *ENCODERS.values()):
        assert "is an adapter: give its base as the model" in refusal(load, adapter)


def test_an_adapter_that_is_damaged_or_of_another_base_is_refused(tiny_qwen: Path, tmp_path: Path) -> None:
    from finetune.merge import MergeArgs, merge

    good = tmp_path / "good"
    make_tiny_adapter(tiny_qwen, good)
    uses: dict[str, Callable[[Path], Any]] = {
        "chat": lambda folder: load_chat_model(str(tiny_qwen), adapter=str(folder)),
        "evals.ppl": lambda folder: load_for_ppl(Weights(str(tiny_qwen), adapter=str(folder))),
        "finetune.merge": lambda folder: merge(MergeArgs(adapter=str(folder), out=str(tmp_path / "out"))),
    }

    def damaged(name: str, change: Callable[[str, Any], Any]) -> Path:
        folder = shutil.copytree(good, tmp_path / name)
        rewrite(folder, change, "adapter_model.safetensors")
        return folder

    lacking = damaged("lacking", lambda name, value: None if "layers.1.self_attn.q_proj.lora_B" in name else value)
    other = damaged("other", lambda name, value: value[:, :-1].copy() if "lora_A" in name else value)
    foreign = shutil.copytree(good, tmp_path / "foreign")
    tensors = load_file(good / "adapter_model.safetensors")
    save_file(
        {f"base_model.other.{n}": v for n, v in enumerate(tensors.values())}, foreign / "adapter_model.safetensors"
    )
    unpickled = shutil.copytree(good, tmp_path / "unpickled")
    (unpickled / "adapter_model.safetensors").rename(unpickled / "adapter_model.bin")
    for use in uses.values():
        assert "lacks 1 of its weights (base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight)" in refusal(
            use, lacking
        )
        assert f"does not fit {tiny_qwen} (base_model" in refusal(use, other)
        assert "(it has no base_model" in refusal(use, foreign)
        assert "has no adapter_model.safetensors: save it as safetensors, pickles are not loaded" in refusal(
            use, unpickled
        )
