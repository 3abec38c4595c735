"""Models that load beside the pages, once."""

from __future__ import annotations

import threading

import pytest

from egosrag.errors import ModelError
from egosrag.host.loading import Loader
from egosrag.settings import Settings


class Made:
    """Counts what was loaded; ``gate`` holds the loading up."""

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


def test_a_model_is_loaded_once_for_all_and_nobody_waits_for_it() -> None:
    made = Made()
    loader = Loader(load=made)
    made.gate.clear()
    first = loader.get(Settings(model="a"))
    assert not first.done()
    assert loader.get(Settings(model="a", quote=False)) is first  # what the model does not know of changes nothing
    made.gate.set()
    assert first.result(10) is loader.get(Settings(model="a")).result(10)
    assert made.names == ["a"]


def test_the_model_that_was_used_longest_ago_is_let_go() -> None:
    made = Made()
    loader = Loader(most=2, load=made)
    for name in ("a", "b", "a", "c", "a", "b"):
        loader.get(Settings(model=name)).result(10)
    assert made.names == ["a", "b", "c", "b"]


def test_ways_to_sample_do_not_drive_another_model_out() -> None:
    made = Made()
    loader = Loader(most=2, load=made)
    loader.get(Settings(model="a")).result(10)
    for tenth in range(10):
        loader.get(Settings(model="b", temperature=tenth / 10)).result(10)
    loader.get(Settings(model="a")).result(10)
    assert made.names.count("a") == 1


def test_a_failure_is_told_and_then_tried_again() -> None:
    loader = Loader(load=Made())
    future = loader.get(Settings(model="broken"))
    with pytest.raises(ModelError, match="no such model"):
        future.result(10)
    assert loader.get(Settings(model="broken")) is future
    assert loader.get(Settings(model="broken")) is not future
