"""The comparison with TRL: both sides have the same losses on the same rows, and the figures are right."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from egosrag.errors import EgosRagError
from evals.speed.train import Precision, Shape, _figures, _process, compare, make_rows
from finetune.trainer import flops
from finetune.trainer.model import load_weights


def side(seconds: float, losses: list[float], mfu: float | None = None) -> dict[str, Any]:
    points = list(enumerate(losses, 1))
    return {"tokens": 1000, "seconds": seconds, "loss": points, "mfu": mfu, "peak_memory_gib": mfu and 1.5}


def test_speed_is_tokens_per_second_and_losses_are_compared_step_by_step() -> None:
    mine, other = side(2.0, [3.0, 2.0]), side(4.0, [3.0, 2.25])
    assert _figures(mine, mine)["tokens_per_second"] == 500.0
    assert _figures(other, mine)["tokens_per_second"] == 250.0
    assert _figures(other, mine)["loss_difference"] == 0.25
    assert _figures(mine, mine)["mfu"] is None
    assert _figures(other, side(2.0, [3.0, 2.0], 0.5))["mfu"] == 0.25, "half the speed is half the utilisation"


def test_mfu_counts_the_matrix_products_that_the_loss_needs(tiny_qwen: Path) -> None:
    import torch

    model = load_weights(str(tiny_qwen), torch.float32)
    c = model.config
    key_value = c.hidden_size // c.num_attention_heads * c.num_key_value_heads
    layer = 2 * c.hidden_size**2 + 2 * c.hidden_size * key_value + 3 * c.hidden_size * c.intermediate_size
    body, head = c.num_hidden_layers * layer, c.vocab_size * c.hidden_size
    assert flops.flops_per_token(model, 1.0) == 6 * (body + head)
    assert flops.flops_per_token(model, 0.25) == 6 * (body + head / 4)
    model.requires_grad_(False)
    assert flops.flops_per_token(model, 1.0) == 4 * (body + head), "a frozen weight needs no gradient of its own"
    speed = 0.45 * 2 * 989e12 / (4 * (body + head))
    assert flops.mfu(model, speed, 1.0, "NVIDIA H100 80GB HBM3", 2) == 0.45
    assert flops.mfu(model, speed, 1.0, "another device", 2) is None


def test_rows_are_reproducible(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_rows(tmp_path / name, 200)
    rows = [json.loads(line) for line in (tmp_path / "a").read_text().splitlines()]
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()
    lengths = sorted(len(row["output"].split()) for row in rows)
    assert lengths[0] < 5 and 25 < lengths[100] < 60 and lengths[-1] == 250


def test_trl_has_the_same_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trl", reason="TRL is in the extra evals")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    result = compare(Shape.SMALL, Precision.FP32, 2, 2, ["trl_plain"])
    assert result["peers"]["trl_plain"]["loss_difference"] <= 1e-3
    assert result["ratio"] == pytest.approx(
        result["ours"]["tokens_per_second"] / result["peers"]["trl_plain"]["tokens_per_second"], abs=1e-3
    )


def test_a_failing_side_is_reported_in_one_line() -> None:
    with pytest.raises(EgosRagError, match=r"^-c import sys; .* failed \(1\): no such model$"):
        _process([sys.executable, "-c", "import sys; sys.exit('long\\nstory\\nno such model')"])
