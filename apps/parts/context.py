"""The context of a page: its visitor, their language and time zone, and the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from apps.parts.translations import Translations
from egosrag import Settings
from egosrag.host.escape import escape_markdown
from egosrag.host.times import day_of, local_time
from egosrag.host.visitors import COOKIE, Visitor, is_token, new_token, visitor_of

_KEY = "page context"


@dataclass(frozen=True)
class PageContext:
    """What a page knows of its visitor.

    Attributes:
        language: "en" or "zh".
        t: translates: the text of a key in that language.
        settings: with the model and the style of sampling of the sidebar.
        visitor: owner of the conversations, roles and files that the page shows.
        side: the place in the sidebar for what belongs to the page.
    """

    language: str
    t: Translations
    settings: Settings
    visitor: Visitor
    side: Any

    def plain(self, text: str) -> str:
        """An untrusted text for a label, which Streamlit renders as Markdown."""
        return escape_markdown(text, 60)

    def time(self, at: str) -> str:
        """A stored time in the visitor's time zone, short."""
        return local_time(at, st.context.timezone)

    def day_heading(self, at: str, before: str | None) -> str | None:
        """The heading of a day in a list of conversations, newest first; None below one of the same day.

        Args:
            at: the time of a conversation.
            before: that of the one above it; None for the first.
        """
        day = day_of(at, st.context.timezone)
        above = "today" if before is None else day_of(before, st.context.timezone)
        return None if day == above else self.t(f"list.{day}")


def page_context() -> PageContext:
    """The context that the sidebar stored; defaults for a page that is run by itself."""
    if _KEY in st.session_state:
        context: PageContext = st.session_state[_KEY]
        return context
    settings = Settings.load()
    return PageContext("en", Translations("en"), settings, current_visitor(settings), st.sidebar)


def store_context(page: PageContext) -> None:
    """Store the context for the page that the visitor chose."""
    st.session_state[_KEY] = page


def current_visitor(settings: Settings) -> Visitor:
    """The visitor whose cookie the browser sent."""
    token = str(st.context.cookies.get(COOKIE, ""))
    if not is_token(token):  # without the middleware there is no cookie: a visitor for this browser session only
        token = st.session_state.setdefault("token", new_token())
    return visitor_of(token, settings.data_dir)
