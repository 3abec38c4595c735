"""Products by oneDNN are those of PyTorch, and layers that cannot use it stay as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage

from egosrag.models.local import LocalChatModel
from egosrag.models.runtime.cpu import (
    bfloat16_products,
    has_fast_bfloat16,
    pack_encoder,
    restore_linear,
    use_onednn,
)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    inside=st.integers(1, 70),
    outside=st.integers(1, 70),
    bias=st.booleans(),
    pack=st.booleans(),
    large=st.booleans(),
)
def test_products_are_those_of_pytorch(
    shape: list[int], inside: int, outside: int, bias: bool, pack: bool, large: bool
) -> None:
    layer = torch.nn.Linear(inside, outside, bias=bias)
    x = torch.randn(*shape, inside)
    with torch.inference_mode():
        plain = layer(x)
        turned = layer(x.transpose(0, -2)) if len(shape) > 1 else plain
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("egosrag.models.runtime.cpu._LARGE_WEIGHT", 1 if large else 1 << 30)
            use_onednn(layer, pack=pack)
        assert layer.weight.is_mkldnn == (pack and large) and hasattr(layer, "packed") == pack
        torch.testing.assert_close(layer(x), plain)
        assert layer(x[:0]).shape == plain[:0].shape
        if len(shape) > 1:
            torch.testing.assert_close(layer(x.transpose(0, -2)), turned)
    before = layer.weight.to_dense().clone()
    restore_linear(layer)
    assert torch.equal(layer.weight, before) and isinstance(layer.weight, torch.nn.Parameter)
    assert not hasattr(layer, "packed")


def test_gradients_other_types_and_other_layers_stay_with_pytorch() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Bilinear(4, 4, 4), torch.nn.Linear(4, 4).bfloat16())
    use_onednn(model)
    assert [("forward" in layer.__dict__) for layer in model] == [True, False, False]
    x = torch.randn(3, 4)
    model[0](x).sum().backward()
    assert model[0].weight.grad is not None
    restore_linear(model)
    assert not any("forward" in layer.__dict__ for layer in model)


def test_large_weights_are_kept_packed_alone_and_shared_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("egosrag.models.runtime.cpu._LARGE_WEIGHT", 36)
    model = torch.nn.Sequential(torch.nn.Embedding(6, 6), *(torch.nn.Linear(6, size) for size in (6, 5, 7)))
    model[1].weight = model[0].weight
    use_onednn(model, pack=True)
    assert [layer.weight.is_mkldnn for layer in model] == [False, False, False, True]
    assert [hasattr(layer, "packed") for layer in model] == [False, False, True, True]


def test_an_adapter_is_loaded_onto_packed_layers(
    tiny_qwen: Path, adapter: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The replies of a checkpoint and of an adapter on it are the same with packed weights."""
    replies = []
    for name, large in (("plain", 1 << 30), ("packed", 1)):
        monkeypatch.setattr("egosrag.models.runtime.cpu._LARGE_WEIGHT", large)
        shutil.copytree(tiny_qwen, tmp_path / name)
        models = [LocalChatModel(model=str(tmp_path / name), adapter=a, max_new_tokens=12) for a in (None, adapter)]
        packed = [layer for layer in models[0].engine.model.modules() if getattr(layer, "weight", None) is not None]
        assert any(layer.weight.is_mkldnn for layer in packed) == (name == "packed")
        replies.append([model.invoke([HumanMessage("Who are you? 你是谁？")]).text for model in models])
    assert replies[0] == replies[1] and replies[0][0] != replies[0][1]


onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch was built without oneDNN")


class Negated(torch.nn.Linear):
    """A subclass of Linear that computes something else."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return -super().forward(inputs)


@onednn
@torch.no_grad()
def test_a_packed_encoder_computes_the_same_for_any_number_of_rows() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(24, 40), torch.nn.GELU(), torch.nn.Sequential(torch.nn.Linear(40, 8, bias=False))
    )
    inputs = [torch.randn(*rows, 24) for rows in ((1,), (7,), (2, 90), (1, 3, 5), (0,))]
    before = [model(rows) for rows in inputs]
    pack_encoder(model)
    assert not any(isinstance(layer, torch.nn.Linear) for layer in model.modules())
    for rows, expected in zip(inputs, before, strict=True):
        torch.testing.assert_close(model(rows), expected)


@onednn
@torch.no_grad()
def test_packing_leaves_other_layers_and_types_as_they_are() -> None:
    model = torch.nn.Sequential(
        Negated(4, 4), torch.nn.Linear(4, 4).to(torch.bfloat16), torch.nn.LayerNorm(4), torch.nn.Embedding(3, 4)
    )
    layers = list(model)
    pack_encoder(model)
    assert list(model) == layers


@pytest.mark.skipif(not has_fast_bfloat16(), reason="this processor is not faster with bfloat16")
@onednn
@torch.no_grad()
def test_a_packed_encoder_multiplies_in_bfloat16_within_the_context_alone() -> None:
    torch.manual_seed(0)
    model, rows = (
        torch.nn.Sequential(torch.nn.Linear(64, 40), torch.nn.LayerNorm(40), torch.nn.Linear(40, 8)),
        torch.randn(30, 64),
    )
    before = model(rows)
    pack_encoder(model)
    with bfloat16_products():
        half = model(rows)
    assert half.dtype == torch.bfloat16 and not torch.equal(half.float(), before)
    assert torch.cosine_similarity(half.float(), before).min() > 0.999
    torch.testing.assert_close(model(rows), before)
