"""Untrusted text on a page: shown as plain text, without Markdown, HTML, pictures or links. Also errors and streams."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from html import escape as escape_html
from typing import Any

import streamlit as st

from egosrag import EgosRagError
from egosrag.console import Reporter
from egosrag.host.escape import escape_markdown
from egosrag.host.queue import Slot

ROLE_ICON, USER_ICON = ":material/theater_comedy:", ":material/person:"


def show_text(text: str) -> None:
    """Show a text as it is."""
    st.text(text)


def escape(text: str, max_length: int = 80) -> str:
    """A text for labels, captions and headings, which Streamlit renders as Markdown: one line, cut where it is long."""
    return escape_markdown(text, max_length)


def show_error(error: EgosRagError) -> None:
    """Show the one-line message of an error."""
    st.error(escape_markdown(str(error), 600))


def show_highlighted(text: str, start: int, end: int) -> None:
    """Show a text with ``text[start:end]`` highlighted."""
    parts = (escape_html(text[:start]), escape_html(text[start:end]), escape_html(text[end:]))
    st.html('<div style="white-space:pre-wrap;overflow-wrap:anywhere">{}<mark>{}</mark>{}</div>'.format(*parts))


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show an EgosRagError that is raised inside as one line on the page."""
    try:
        yield
    except EgosRagError as error:
        show_error(error)


def show_stream(stream: Iterator[Any]) -> Any:
    """Show the text chunks of a stream as they come and return its last item.

    The stream is closed when the page is stopped, so that the model stops too.
    """
    text, last = "", None
    place = st.empty()
    with closing(stream):  # type: ignore[type-var]
        for item in stream:
            if isinstance(item, str):
                text += item
                place.text(text)
            else:
                last = item
    return last


class _BarReporter(Reporter):
    """Reports progress as a bar, and lets other visitors use the model between two steps."""

    def __init__(self, bar: Any, slot: Slot | None) -> None:
        self._bar, self._slot = bar, slot

    def __call__(self, what: str, done: int, total: int) -> None:
        self._bar.progress(min(1.0, done / max(total, 1)), escape(f"{what}: {done}/{total}", 200))
        if self._slot:
            self._slot.give_way()

    def note(self, text: str) -> None:
        st.caption(escape(text, 300))


@contextmanager
def progress_bar(label: str, slot: Slot | None = None) -> Iterator[Reporter]:
    """A progress bar that disappears at the end; with a ``slot``, other visitors go first between two steps."""
    bar = st.progress(0.0, escape(label))
    yield _BarReporter(bar, slot)
    bar.empty()
