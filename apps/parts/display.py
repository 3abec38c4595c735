"""Untrusted text on a page: no HTML, pictures or links, what is said with its Markdown. Also errors and streams."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from html import escape as escape_html
from pathlib import Path
from typing import Any

import streamlit as st

from egosrag import EgosRagError
from egosrag.host.escape import escape_markdown
from egosrag.host.manuals import AnswerProgress
from egosrag.host.markup import markup
from egosrag.host.messages import translated

ROLE_ICON, USER_ICON = ":material/theater_comedy:", ":material/person:"
TYPING = '<span class="typing generating"><i></i><i></i><i></i></span>'
REDRAW_S = 0.08  # between two drawings of a text that is being written, each of which sends all of it
STYLE = Path(__file__).parent / "style.css"


def show_style() -> None:
    """Add the style sheet of the pages."""
    st.html(f"<style>{STYLE.read_text(encoding='utf-8')}</style>")


def show_text(text: str) -> None:
    """Show a text as it is."""
    st.text(text)


def show_html(template: str, *texts: str) -> None:
    """Show HTML of our own with untrusted texts in its places ``{}``, escaped."""
    st.html(template.format(*map(escape_html, texts)))


def show_said(text: str, *, mine: bool = False) -> None:
    """Show what a role, or the visitor (``mine``), says: with its Markdown, without HTML, pictures and links."""
    st.html(markup(text, "mine" if mine else ""))


def escape(text: str, max_length: int = 80) -> str:
    """A text for labels, captions and headings, which Streamlit renders as Markdown: one line, cut where it is long."""
    return escape_markdown(text, max_length)


def show_error(error: EgosRagError) -> None:
    """Show the one-line message of an error, in the language of the page."""
    st.error(escape_markdown(error_text(error), 600))


def error_text(error: EgosRagError | str) -> str:
    """The message of an error in the language of the page."""
    return translated(str(error), st.session_state.get("language", "en"))


def show_highlighted(text: str, start: int, end: int) -> None:
    """Show a text with ``text[start:end]`` highlighted."""
    parts = (escape_html(text[:start]), escape_html(text[start:end]), escape_html(text[end:]))
    st.html('<div class="page-text">{}<mark>{}</mark>{}</div>'.format(*parts))


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show an EgosRagError that is raised inside as one line on the page."""
    try:
        yield
    except EgosRagError as error:
        show_error(error)


def show_step(place: Any, text: str) -> None:
    """Show a step of an answer in ``place``, until its first text comes."""
    place.html(f'<p class="step generating">{escape_html(text)} {TYPING}</p>')


def show_stream(stream: Iterator[Any], place: Any = None, step: Callable[[AnswerProgress], str] | None = None) -> Any:
    """Show the text chunks of a stream as they come and return its last item.

    The stream is closed when the page is stopped, so that the model stops too.

    Args:
        stream: chunks of text, then the last item.
        place: an ``st.empty()`` that shows something until the first text comes; by default a sign of typing.
        step: words for a step of answering, shown until the next one or the first text; none where they are empty.
    """
    text, last, shown_at = "", None, 0.0
    if place is None:
        place = st.empty()
        place.html(TYPING)
    with closing(stream):  # type: ignore[type-var]
        for item in stream:
            if isinstance(item, str):
                text += item
                if time.monotonic() - shown_at > REDRAW_S:
                    place.html(markup(text, "generating"))
                    shown_at = time.monotonic()
            elif isinstance(item, AnswerProgress):
                if step and (words := step(item)):
                    show_step(place, words)
            else:
                last = item
    place.html(markup(text, "generating"))
    return last
