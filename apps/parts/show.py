"""Untrusted text on a page, as text: no Markdown, no HTML, no pictures, no links that lead away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from html import escape
from typing import Any

import streamlit as st

from egosrag import EgosRagError
from egosrag.console import Reporter
from egosrag.host.queue import Turn
from egosrag.host.shown import as_markdown


def text(body: str) -> None:
    """A text as it is."""
    st.text(body)


def label(body: str, most: int = 80) -> str:
    """A text for what Streamlit reads as Markdown: labels, captions, headings; one line, cut where it is long."""
    return as_markdown(body, most)


def problem(error: EgosRagError) -> None:
    """What is wrong, in its one line."""
    st.error(as_markdown(str(error), 600))


def marked(body: str, start: int, end: int) -> None:
    """A text with the part from ``start`` to ``end`` marked."""
    parts = (escape(body[:start]), escape(body[start:end]), escape(body[end:]))
    st.html('<div style="white-space:pre-wrap;overflow-wrap:anywhere">{}<mark>{}</mark>{}</div>'.format(*parts))


@contextmanager
def told() -> Iterator[None]:
    """An error that is raised on purpose becomes its line on the page."""
    try:
        yield
    except EgosRagError as error:
        problem(error)


def streamed(pieces: Iterator[Any]) -> Any:
    """Shows a stream's text as it comes and gives its last piece; whatever stops the page closes the stream."""
    said, last = "", None
    place = st.empty()
    with closing(pieces):  # type: ignore[type-var]
        for piece in pieces:
            if isinstance(piece, str):
                said += piece
                place.text(said)
            else:
                last = piece
    return last


class _Bar(Reporter):
    """Progress as a bar; between two pieces it lets other visitors go first."""

    def __init__(self, bar: Any, turn: Turn | None) -> None:
        self._bar, self._turn = bar, turn

    def __call__(self, what: str, done: int, total: int) -> None:
        self._bar.progress(min(1.0, done / max(total, 1)), label(f"{what}: {done}/{total}", 200))
        if self._turn:
            self._turn.rest()

    def note(self, text: str) -> None:
        st.caption(label(text, 300))


@contextmanager
def progress(what: str, turn: Turn | None = None) -> Iterator[Reporter]:
    """A bar that is gone when the work is done; ``turn`` rests between the pieces of the work."""
    bar = st.progress(0.0, label(what))
    yield _Bar(bar, turn)
    bar.empty()
