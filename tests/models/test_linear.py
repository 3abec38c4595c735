"""The faster product is the same product, where it may be used, and is left alone elsewhere."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from egosrag.models.linear import quicken, restore


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    inside=st.integers(1, 70),
    outside=st.integers(1, 70),
    bias=st.booleans(),
)
def test_it_gives_what_pytorch_gives(shape: list[int], inside: int, outside: int, bias: bool) -> None:
    layer = torch.nn.Linear(inside, outside, bias=bias)
    x = torch.randn(*shape, inside)
    with torch.inference_mode():
        plain = layer(x)
        turned = layer(x.transpose(0, -2)) if len(shape) > 1 else plain
        quicken(layer)
        torch.testing.assert_close(layer(x), plain)
        if len(shape) > 1:
            torch.testing.assert_close(layer(x.transpose(0, -2)), turned)


def test_gradients_other_types_and_other_layers_stay_with_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Bilinear(4, 4, 4), torch.nn.Linear(4, 4).bfloat16())
    quicken(model)
    assert [("forward" in layer.__dict__) for layer in model] == [True, False, False]
    x = torch.randn(3, 4)
    model[0](x).sum().backward()
    assert model[0].weight.grad is not None
    restore(model)
    assert not any("forward" in layer.__dict__ for layer in model)
