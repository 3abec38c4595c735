"""The fused loss on packed sequences equals the plain loss, computed at once or in chunks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, DataCollatorWithFlattening

from finetune.trainer import loss
from finetune.trainer.model import load_weights


@pytest.fixture()
def rows() -> list[dict[str, list[int]]]:
    generator = torch.Generator().manual_seed(0)
    rows = []
    for length in (5, 17, 9, 30):
        ids = torch.randint(0, 400, (length,), generator=generator).tolist()
        rows.append({"input_ids": ids, "labels": [-100] * 3 + ids[3:]})
    return rows


@pytest.fixture()
def packed(rows: list[dict[str, list[int]]]) -> dict[str, Any]:
    return DataCollatorWithFlattening(return_flash_attn_kwargs=True)(rows)


def reference(path: Path, rows: list[dict[str, list[int]]]) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Logits of every row alone with transformers' own attention and forward, and their loss."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        logits = [model(input_ids=torch.tensor([row["input_ids"]])).logits[0] for row in rows]
    targets = torch.cat([torch.tensor(row["labels"][1:]) for row in rows])
    return logits, F.cross_entropy(torch.cat([one[:-1] for one in logits]), targets)


def test_packed_logits_equal_those_of_each_row_alone(
    tiny_qwen: Path, rows: list[dict[str, list[int]]], packed: dict[str, Any]
) -> None:
    model = load_weights(str(tiny_qwen), torch.float32).eval()
    inputs = {key: value for key, value in packed.items() if key != "labels"}
    with torch.no_grad():
        logits = model(**inputs, use_cache=False).logits[0]
    torch.testing.assert_close(logits, torch.cat(reference(tiny_qwen, rows)[0]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("max_logits", [2**28, 640 * 7])
def test_the_fused_loss_is_cross_entropy_over_labelled_tokens(
    tiny_qwen: Path,
    rows: list[dict[str, list[int]]],
    packed: dict[str, Any],
    max_logits: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loss, "MAX_LOGITS", max_logits)
    monkeypatch.setattr(loss, "_LOGITS_ON_CPU", 640 * 3)
    model = load_weights(str(tiny_qwen), torch.float32)
    loss.use_fused_loss(model)
    output = model(**packed)
    torch.testing.assert_close(output.loss.detach(), reference(tiny_qwen, rows)[1], atol=1e-6, rtol=1e-6)
    assert output.logits is None
    output.loss.backward()
    torch.testing.assert_close(gradients(model), padded_gradients(tiny_qwen, rows), atol=1e-6, rtol=1e-4)


def gradients(model: Any) -> torch.Tensor:
    return torch.cat([weight.grad.flatten() for weight in model.parameters()])


def padded_gradients(path: Path, rows: list[dict[str, list[int]]]) -> torch.Tensor:
    """The gradients with padded rows and an attention mask."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    longest = max(len(row["input_ids"]) for row in rows)

    def pad(key: str, value: int) -> torch.Tensor:
        return torch.tensor([row[key] + [value] * (longest - len(row[key])) for row in rows])

    mask = torch.tensor([[1] * len(r["input_ids"]) + [0] * (longest - len(r["input_ids"])) for r in rows])
    model(input_ids=pad("input_ids", 0), attention_mask=mask, labels=pad("labels", -100)).loss.backward()
    return gradients(model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_loss_in_place_is_cross_entropy_in_fp32_and_so_is_its_gradient(dtype: torch.dtype) -> None:
    logits = (5 * torch.randn(9, 101, generator=torch.Generator().manual_seed(0))).to(dtype).requires_grad_()
    targets = torch.arange(9) * 11
    expected = F.cross_entropy(logits.float(), targets, reduction="sum")
    (gradient,) = torch.autograd.grad(expected / 3, logits)
    head = torch.nn.Identity()
    copy = logits.detach().clone().requires_grad_()
    found = loss._summed_cross_entropy(copy * 1, head, targets)
    torch.testing.assert_close(found, expected)
    (found / 3).backward()
    assert copy.grad is not None and copy.grad.dtype == dtype
    torch.testing.assert_close(copy.grad, gradient)


def test_a_batch_without_labels_has_zero_gradients_and_no_nan(tiny_qwen: Path) -> None:
    model = load_weights(str(tiny_qwen), torch.float32)
    loss.use_fused_loss(model)
    ids = torch.tensor([[1, 2, 3]])
    output = model(input_ids=ids, labels=torch.full_like(ids, -100), num_items_in_batch=torch.tensor(5))
    output.loss.backward()
    assert output.loss.item() == 0.0 and not gradients(model).any()


def test_without_labels_the_fused_model_returns_logits(tiny_qwen: Path) -> None:
    model = load_weights(str(tiny_qwen), torch.float32)
    loss.use_fused_loss(model)
    assert model(input_ids=torch.tensor([[1, 2, 3]])).logits.shape[:2] == (1, 3)
