"""The context of a page: its visitor, their language, and the settings."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from apps.parts.translations import Translations
from egosrag import Settings
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
    """

    language: str
    t: Translations
    settings: Settings
    visitor: Visitor


def page_context() -> PageContext:
    """The context that the sidebar stored; defaults for a page that is run by itself."""
    return st.session_state[_KEY] if _KEY in st.session_state else make_context("en", Settings.load())


def store_context(page: PageContext) -> None:
    """Store the context for the page that the visitor chose."""
    st.session_state[_KEY] = page


def make_context(language: str, settings: Settings) -> PageContext:
    """The context of the visitor whose cookie the browser sent."""
    token = str(st.context.cookies.get(COOKIE, ""))
    if not is_token(token):  # without the middleware there is no cookie: a visitor for this browser session only
        token = st.session_state.setdefault("token", new_token())
    return PageContext(language, Translations(language), settings, visitor_of(token, settings.data_dir))
