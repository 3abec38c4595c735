"""Packed linear layers: the same sums for any number of rows; other layers and types untouched."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from egosrag.models.runtime.packed import many_at_once, multiplies_bfloat16, pack

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch was built without oneDNN")


class Own(nn.Linear):
    """A layer that computes something else than its base class."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return -super().forward(inputs)


@torch.no_grad()
def test_sums_are_the_same_for_any_number_of_rows() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(24, 40), nn.GELU(), nn.Sequential(nn.Linear(40, 8, bias=False)))
    inputs = [torch.randn(*rows, 24) for rows in ((1,), (7,), (2, 90), (1, 3, 5), (0,))]
    before = [model(rows) for rows in inputs]
    pack(model)
    assert not any(isinstance(layer, nn.Linear) for layer in model.modules())
    for rows, expected in zip(inputs, before, strict=True):
        torch.testing.assert_close(model(rows), expected)


@torch.no_grad()
def test_other_layers_and_types_stay_as_they_are() -> None:
    model = nn.Sequential(Own(4, 4), nn.Linear(4, 4).to(torch.bfloat16), nn.LayerNorm(4), nn.Embedding(3, 4))
    layers = list(model)
    pack(model)
    assert list(model) == layers


@pytest.mark.skipif(not multiplies_bfloat16(), reason="this processor is not faster with bfloat16")
@torch.no_grad()
def test_many_at_once_are_multiplied_in_bfloat16_and_one_is_not() -> None:
    torch.manual_seed(0)
    model, rows = nn.Sequential(nn.Linear(64, 40), nn.LayerNorm(40), nn.Linear(40, 8)), torch.randn(30, 64)
    before = model(rows)
    pack(model)
    with many_at_once():
        half = model(rows)
    assert half.dtype == torch.bfloat16 and not torch.equal(half.float(), before)
    assert torch.cosine_similarity(half.float(), before).min() > 0.999
    torch.testing.assert_close(model(rows), before)
