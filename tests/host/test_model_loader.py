"""Models loaded in the background, once for all visitors."""

from __future__ import annotations

import threading

import pytest

from egosrag.errors import ModelError
from egosrag.host.model_loader import ModelLoader
from egosrag.settings import Settings


class FakeLoad:
    """Records the names of loaded models; loading waits for ``gate``."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, settings: Settings) -> object:
        self.gate.wait(10)
        if settings.model == "broken":
            raise ModelError("no such model: give another")
        self.names.append(settings.model)
        return object()


def test_a_model_is_loaded_once_in_the_background() -> None:
    load = FakeLoad()
    loader = ModelLoader(load=load)
    load.gate.clear()
    first = loader.get(Settings(model="a"))
    assert not first.done()
    assert loader.get(Settings(model="a", quote=False)) is first  # a setting that the model does not depend on
    load.gate.set()
    assert first.result(10) is loader.get(Settings(model="a")).result(10)
    assert load.names == ["a"]


def test_the_least_recently_used_model_is_evicted() -> None:
    load = FakeLoad()
    loader = ModelLoader(max_models=2, load=load)
    for name in ("a", "b", "a", "c", "a", "b"):
        loader.get(Settings(model=name)).result(10)
    assert load.names == ["a", "b", "c", "b"]


def test_sampling_variants_do_not_evict_another_model() -> None:
    load = FakeLoad()
    loader = ModelLoader(max_models=2, load=load)
    loader.get(Settings(model="a")).result(10)
    for number in range(10):
        loader.get(Settings(model="b", temperature=number / 10)).result(10)
    loader.get(Settings(model="a")).result(10)
    assert load.names.count("a") == 1


def test_a_failed_load_is_reported_once_and_then_retried() -> None:
    loader = ModelLoader(load=FakeLoad())
    future = loader.get(Settings(model="broken"))
    with pytest.raises(ModelError, match="no such model"):
        future.result(10)
    assert loader.get(Settings(model="broken")) is future
    assert loader.get(Settings(model="broken")) is not future
