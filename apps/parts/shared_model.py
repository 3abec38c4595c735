"""The chat models that all visitors share: loaded once, and used in the turns of a fair queue."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from typing import Any

import streamlit as st

from apps.parts.context import PageContext
from apps.parts.display import escape, show_error
from apps.parts.translations import Translations
from egosrag import EgosRagError, Settings
from egosrag.host.model_choices import short_name
from egosrag.host.model_loader import ModelLoader
from egosrag.host.queue import FairQueue, Slot


@st.cache_resource(show_spinner=False)
def _loader() -> ModelLoader:
    return ModelLoader()


@st.cache_resource(show_spinner=False)
def _queue() -> FairQueue:
    return FairQueue()


def model_queue() -> FairQueue:
    """The queue in front of the models, for work in the background."""
    return _queue()


def model_of(settings: Settings) -> Any:
    """The chat model of some settings, for work in the background; waits until it is loaded.

    Raises:
        ModelError: it cannot be found or loaded.
    """
    return _loader().get(settings).result()


def chat_model(page: PageContext, settings: Settings | None = None) -> Any:
    """The chat model of ``settings``, or of the page's; shows that it is loading.

    Raises:
        ModelError: it cannot be found or loaded.
    """
    settings = settings or page.settings
    future, started = _loader().get(settings), time.monotonic()
    place = st.empty()
    while not future.done():
        seconds = round(time.monotonic() - started)
        place.caption(page.t("shared.loading", model=escape(short_name(settings.model)), seconds=seconds))
        _wait(future)
    place.empty()
    return future.result()


@contextmanager
def model_slot(page: PageContext) -> Iterator[Slot]:
    """Wait for the visitor's slot at the model and hold it; shows how many are ahead."""
    place = st.empty()

    def on_wait(ahead: int) -> None:
        place.caption(page.t("shared.waiting", ahead=ahead))

    with _queue().slot(page.visitor.key, on_wait) as slot:
        place.empty()
        yield slot


def show_model_status(page: PageContext) -> None:
    """Start to load the model and show its progress, without blocking the page."""
    settings, t = page.settings, page.t
    future = _loader().get(settings)
    if future.done():
        _show_status(future, settings, t, 0)
        return
    started = time.monotonic()

    @st.fragment(run_every=1.0)
    def show_loading() -> None:
        if future.done():
            st.rerun()
        _show_status(future, settings, t, round(time.monotonic() - started))

    show_loading()


def _show_status(future: Future[Any], settings: Settings, t: Translations, seconds: int) -> None:
    name = escape(short_name(settings.model))
    if not future.done():
        st.caption(t("shared.loading", model=name, seconds=seconds))
    elif (error := future.exception()) is None:
        st.caption(t("shared.ready", model=name))
    elif isinstance(error, EgosRagError):
        show_error(error)
    else:
        raise error


def _wait(future: Future[Any]) -> None:
    try:
        future.exception(timeout=0.5)
    except NotYet:
        return
