"""What all visitors share: the loaded models and the queue before them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import streamlit as st

from apps.parts.show import label, problem
from egosrag import EgosRagError, Settings
from egosrag.host.loading import Loader
from egosrag.host.queue import FairQueue, Turn

if TYPE_CHECKING:
    from apps.parts.frame import Here
    from apps.parts.words import Words


@st.cache_resource(show_spinner=False)
def _loader() -> Loader:
    return Loader()


@st.cache_resource(show_spinner=False)
def _queue() -> FairQueue:
    return FairQueue()


def model(here: Here, settings: Settings | None = None) -> Any:
    """The chat model of the settings; while it loads, the page says so.

    Raises:
        ModelError: it cannot be found or loaded.
    """
    chosen = settings or here.settings
    future, started = _loader().get(chosen), time.monotonic()
    place = st.empty()
    while not future.done():
        seconds = round(time.monotonic() - started)
        place.caption(here.words("shared.loading", model=label(chosen.model), seconds=seconds))
        _wait(future)
    place.empty()
    return future.result()


@contextmanager
def turn(here: Here) -> Iterator[Turn]:
    """The visitor's turn at the model, once it has come; the page says how many come before."""
    place = st.empty()

    def waiting(before: int) -> None:
        place.caption(here.words("shared.waiting", before=before))

    with _queue().turn(here.visitor.key, waiting) as own:
        place.empty()
        yield own


def status(settings: Settings, words: Words) -> None:
    """Begins to load the model, and says how far it is, without holding up the page."""
    future = _loader().get(settings)
    if future.done():
        _said(future, settings, words, 0)
        return
    started = time.monotonic()

    @st.fragment(run_every=1.0)
    def loading() -> None:
        if future.done():
            st.rerun()
        _said(future, settings, words, round(time.monotonic() - started))

    loading()


def _said(future: Future[Any], settings: Settings, words: Words, seconds: int) -> None:
    name = label(settings.model)
    if not future.done():
        st.caption(words("shared.loading", model=name, seconds=seconds))
    elif (error := future.exception()) is None:
        st.caption(words("shared.ready", model=name))
    elif isinstance(error, EgosRagError):
        problem(error)
    else:
        raise error


def _wait(future: Future[Any]) -> None:
    try:
        future.exception(timeout=0.5)
    except NotYet:
        return
