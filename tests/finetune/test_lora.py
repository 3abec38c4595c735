"""LoRA on a base model: only the adapter changes, it learns to stop, and the merged model is the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from egosrag.errors import ModelError, TrainingError
from finetune.merge import MergeArgs, merge
from finetune.sft import sft
from finetune.trainer.model import load_model, load_tokenizer_and_stops, template_tokens
from finetune.trainer.train import train
from tests.finetune.conftest import WORDS, write_jsonl

Make = Callable[..., Any]


def test_the_adapter_changes_and_the_base_does_not(settings: Make) -> None:
    from finetune.data.dataset import load_data

    args = settings(lora=True, lora_dropout=0.1, train_special_tokens=True)
    tokenizer, stops = load_tokenizer_and_stops(args)
    model = load_model(args, tokenizer, stops)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    train(model, tokenizer, load_data(args, tokenizer, stops).rows, args)
    changed = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert changed == trained and trained < before.keys()
    assert all("lora_" in name or "trainable_tokens" in name for name in trained)
    layers = model.config.num_hidden_layers
    assert sum("lora_A" in name for name in trained) == 7 * layers  # q, k, v, o, gate, up, down; not the head


def test_head_and_embedding_share_the_trained_tokens(settings: Make) -> None:
    args = settings(lora=True, train_special_tokens=True)
    tokenizer, stops = load_tokenizer_and_stops(args)
    model = load_model(args, tokenizer, stops)
    tokens = template_tokens(tokenizer)
    assert tokenizer.convert_ids_to_tokens(tokens) == ["<|im_start|>", "<|im_end|>"]
    (delta,) = [weight for name, weight in model.named_parameters() if "trainable_tokens" in name]
    assert delta.shape == (2, model.config.hidden_size)
    with torch.no_grad():
        delta[1] += 1.0
        logits = model(input_ids=torch.tensor([[1, 2, 3]])).logits
        frozen = model.get_base_model().model(input_ids=torch.tensor([[1, 2, 3]])).last_hidden_state
    torch.testing.assert_close(logits[..., tokens[1]], frozen @ delta[1])


@pytest.fixture(scope="module")
def chatty(tiny_qwen: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """An adapter trained on short answers, as in the report: its folder, and 100 questions."""
    from finetune.trainer.args import SftArgs

    folder = tmp_path_factory.mktemp("chatty")
    questions = [f"Say {one} and {other}." for one in WORDS for other in WORDS]
    rows = [{"instruction": q, "output": " ".join(q[4:-1].split(" and "))} for q in questions]
    args = SftArgs(
        model=str(tiny_qwen),
        data=[str(write_jsonl(folder / "rows.jsonl", rows))],
        out=str(folder / "adapter"),
        precision="fp32",
        lora=True,
        lora_r=16,
        lora_alpha=64,
        train_special_tokens=True,
        lr=1e-2,
        warmup=10,
        batch_size=25,
        epochs=12,
        log_steps=20,
    )
    sft(args)
    return folder / "adapter", questions


def test_it_stops_on_at_least_95_of_100_prompts(chatty: tuple[Path, list[str]], tiny_qwen: Path) -> None:
    from langchain_core.messages import HumanMessage

    from egosrag.models import load_chat_model

    adapter, questions = chatty
    model = load_chat_model(str(tiny_qwen), adapter=str(adapter), max_new_tokens=40)
    replies = model.batch([[HumanMessage(question)] for question in questions])
    stopped = sum(reply.response_metadata["finish_reason"] == "eos" for reply in replies)
    assert stopped >= 95, stopped


def test_the_merged_model_has_the_logits_of_the_adapter(
    chatty: tuple[Path, list[str]], tiny_qwen: Path, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    adapter, _ = chatty
    result = merge(MergeArgs(adapter=str(adapter), out=str(tmp_path / "merged"), dtype="fp32"))
    assert result["max_logit_change"]["merged_fp32"] < 1e-3
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    base = AutoModelForCausalLM.from_pretrained(tiny_qwen, dtype=torch.float32)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        expected = PeftModel.from_pretrained(base, adapter).eval()(input_ids=ids).logits
        torch.testing.assert_close(merged(input_ids=ids).logits, expected, atol=1e-3, rtol=1e-3)
    assert merged.lm_head.weight is merged.model.embed_tokens.weight
    end = AutoTokenizer.from_pretrained(tmp_path / "merged").eos_token_id
    assert merged.generation_config.eos_token_id[0] == end


def test_merging_rounds_once_and_reports_how_far_logits_moved(chatty: tuple[Path, list[str]], tmp_path: Path) -> None:
    result = merge(MergeArgs(adapter=str(chatty[0]), out=str(tmp_path / "merged")))
    saved = load_file(tmp_path / "merged" / "model.safetensors")
    assert {weight.dtype for weight in saved.values()} == {torch.bfloat16}
    assert result["max_logit_change"]["merged_fp32"] < result["max_logit_change"]["saved_bf16"]
    assert json.loads((tmp_path / "merged" / "merge.json").read_text()) == result


def test_a_merge_on_a_full_disk_leaves_nothing_and_can_be_repeated(
    chatty: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import PreTrainedTokenizerBase

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "merged"
    with monkeypatch.context() as patch, pytest.raises(TrainingError, match="No space left on device; free some space"):
        patch.setattr(PreTrainedTokenizerBase, "save_pretrained", full)
        merge(MergeArgs(adapter=str(chatty[0]), out=str(out)))
    assert not list(out.iterdir())
    (out / ".partial").mkdir()  # of an interrupted merge
    merge(MergeArgs(adapter=str(chatty[0]), out=str(out)))
    assert (out / "merge.json").exists() and not (out / ".partial").exists()


def test_an_impossible_merge_is_reported_in_one_line(
    chatty: tuple[Path, list[str]], tiny_qwen: Path, tmp_path: Path
) -> None:
    from tests.tiny import make_tiny_qwen

    make_tiny_qwen(tmp_path / "other", vocab=400)
    out = str(tmp_path / "merged")
    for args, message in (
        (MergeArgs(adapter=str(tiny_qwen), out=out), "has no adapter_config.json"),
        (MergeArgs(adapter=str(chatty[0]), out=str(tmp_path)), "is in use"),
        (MergeArgs(adapter=str(chatty[0]), out=out, base=str(tmp_path / "other")), "does not fit"),
    ):
        with pytest.raises((TrainingError, ModelError)) as error:
            merge(args)
        assert message in str(error.value) and "\n" not in str(error.value)
        assert not Path(out).exists()


def test_adapters_with_and_without_trained_tokens_share_a_base(
    chatty: tuple[Path, list[str]], tiny_qwen: Path, settings: Make, tmp_path: Path
) -> None:
    from langchain_core.messages import HumanMessage

    from egosrag.models import load_chat_model

    sft(settings(lora=True, out=str(tmp_path / "plain")))
    question = [HumanMessage(chatty[1][7])]

    def reply(adapter: Path | None) -> str:
        model = load_chat_model(str(tiny_qwen), adapter=str(adapter) if adapter else None, max_new_tokens=12)
        return str(model.invoke(question).text)

    base, tuned = reply(None), reply(chatty[0])
    reply(tmp_path / "plain")
    assert (reply(None), reply(chatty[0])) == (base, tuned)
    assert tuned != base
