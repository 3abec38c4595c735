"""The faster product is the same product, where it may be used, and is left alone elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage

from egosrag.models.local import LocalChatModel
from egosrag.models.runtime.linear import quicken, restore


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    inside=st.integers(1, 70),
    outside=st.integers(1, 70),
    bias=st.booleans(),
    pack=st.booleans(),
    large=st.booleans(),
)
def test_it_gives_what_pytorch_gives(
    shape: list[int], inside: int, outside: int, bias: bool, pack: bool, large: bool
) -> None:
    layer = torch.nn.Linear(inside, outside, bias=bias)
    x = torch.randn(*shape, inside)
    with torch.inference_mode():
        plain = layer(x)
        turned = layer(x.transpose(0, -2)) if len(shape) > 1 else plain
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("egosrag.models.runtime.linear._LARGE", 1 if large else 1 << 30)
            quicken(layer, pack=pack)
        assert layer.weight.is_mkldnn == (pack and large) and hasattr(layer, "packed") == pack
        torch.testing.assert_close(layer(x), plain)
        assert layer(x[:0]).shape == plain[:0].shape
        if len(shape) > 1:
            torch.testing.assert_close(layer(x.transpose(0, -2)), turned)
    before = layer.weight.to_dense().clone()
    restore(layer)
    assert torch.equal(layer.weight, before) and isinstance(layer.weight, torch.nn.Parameter)
    assert not hasattr(layer, "packed")


def test_gradients_other_types_and_other_layers_stay_with_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Bilinear(4, 4, 4), torch.nn.Linear(4, 4).bfloat16())
    quicken(model)
    assert [("forward" in layer.__dict__) for layer in model] == [True, False, False]
    x = torch.randn(3, 4)
    model[0](x).sum().backward()
    assert model[0].weight.grad is not None
    restore(model)
    assert not any("forward" in layer.__dict__ for layer in model)


def test_large_weights_are_kept_once_and_shared_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("egosrag.models.runtime.linear._LARGE", 36)
    model = torch.nn.Sequential(torch.nn.Embedding(6, 6), *(torch.nn.Linear(6, size) for size in (6, 5, 7)))
    model[1].weight = model[0].weight
    quicken(model, pack=True)
    assert [layer.weight.is_mkldnn for layer in model] == [False, False, False, True]
    assert [hasattr(layer, "packed") for layer in model] == [False, False, True, True]


def test_an_adapter_is_put_on_packed_layers(
    tiny_qwen: Path, adapter: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A checkpoint loaded with packed weights says the same, and an adapter on it changes the same words."""
    said = []
    for name, least in (("plain", 1 << 30), ("packed", 1)):
        monkeypatch.setattr("egosrag.models.runtime.linear._LARGE", least)
        shutil.copytree(tiny_qwen, tmp_path / name)
        one = [LocalChatModel(model=str(tmp_path / name), adapter=a, max_new_tokens=12) for a in (None, adapter)]
        packed = [layer for layer in one[0]._engine.model.modules() if getattr(layer, "weight", None) is not None]
        assert any(layer.weight.is_mkldnn for layer in packed) == (name == "packed")
        said.append([model.invoke([HumanMessage("Who are you? 你是谁？")]).text for model in one])
    assert said[0] == said[1] and said[0][0] != said[0][1]
