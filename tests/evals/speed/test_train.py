"""The comparison of training with TRL: both sides learn the same from the same rows, and the figures are right."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from egosrag.errors import EgosRagError
from evals.speed.train import Precision, Shape, compare, figures, make_rows, run_process


def side(seconds: float, losses: list[float], mfu: float | None = None) -> dict[str, Any]:
    points = list(enumerate(losses, 1))
    return {"tokens": 1000, "seconds": seconds, "loss": points, "mfu": mfu, "peak_memory_gib": mfu and 1.5}


def test_speed_counts_the_rows_tokens_and_losses_are_compared_step_by_step() -> None:
    own, other = side(2.0, [3.0, 2.0]), side(4.0, [3.0, 2.25])
    assert figures(own, own)["tokens_per_second"] == 500.0
    assert figures(other, own)["tokens_per_second"] == 250.0
    assert figures(other, own)["loss_difference"] == 0.25
    assert figures(own, own)["mfu"] is None
    assert figures(other, side(2.0, [3.0, 2.0], 0.5))["mfu"] == 0.25, "half the speed is half the utilisation"


def test_the_rows_are_repeatable(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_rows(tmp_path / name, 200)
    rows = [json.loads(line) for line in (tmp_path / "a").read_text().splitlines()]
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()
    lengths = sorted(len(row["output"].split()) for row in rows)
    assert lengths[0] < 5 and 25 < lengths[100] < 60 and lengths[-1] == 250


def test_trl_has_our_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trl", reason="TRL is in the extra evals")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    result = compare(Shape.SMALL, Precision.FP32, 2, 2, ["trl_plain"])
    assert result["peers"]["trl_plain"]["loss_difference"] <= 1e-3
    assert result["ratio"] == pytest.approx(
        result["ours"]["tokens_per_second"] / result["peers"]["trl_plain"]["tokens_per_second"], abs=1e-3
    )


def test_a_failing_side_is_an_error_of_one_line() -> None:
    with pytest.raises(EgosRagError, match=r"^-c import sys; .* failed \(1\): no such model$"):
        run_process([sys.executable, "-c", "import sys; sys.exit('long\\nstory\\nno such model')"])
