"""Who looks at which page in which language, with which settings."""

from __future__ import annotations

import os
from dataclasses import dataclass

import streamlit as st

from apps.parts.server import status
from apps.parts.show import problem
from apps.parts.words import LANGUAGES, Words
from egosrag import EgosRagError, Settings
from egosrag.host.visitors import COOKIE, Visitor, is_token, new_token, visitor_of

MODELS = "EGOSRAG_APP_MODELS"  # names parted by commas: visitors choose among these alone


@dataclass(frozen=True)
class Here:
    """What a page knows of whoever looks at it."""

    language: str
    words: Words
    settings: Settings
    visitor: Visitor


def begin() -> Here:
    """What the frame found out; for a page that is run alone, what it would have."""
    return st.session_state["here"] if "here" in st.session_state else _here("en", Settings.load())


def frame() -> Here:
    """The sidebar of every page, and what was chosen there."""
    preferred = "zh" if (st.context.locale or "").lower().startswith("zh") else "en"
    names = list(LANGUAGES)
    language = st.session_state.get("language", preferred)
    words = Words(language)
    with st.sidebar, st.expander(words("shared.choices"), key="choices"):
        st.radio(
            "Language / 语言", names, names.index(preferred), key="language", format_func=LANGUAGES.get, horizontal=True
        )
        try:
            here = _here(language, _chosen(words))
        except EgosRagError as error:
            problem(error)
            st.stop()
    st.session_state["here"] = here
    with st.sidebar:
        status(here.settings, words)
    return here


def _here(language: str, settings: Settings) -> Here:
    token = str(st.context.cookies.get(COOKIE, ""))
    if not is_token(token):  # no door in front: this visit alone
        token = st.session_state.setdefault("token", new_token())
    return Here(language, Words(language), settings, visitor_of(token, settings.data_dir))


def _chosen(words: Words) -> Settings:
    given = Settings.load()
    allowed = [name.strip() for name in os.environ.get(MODELS, "").split(",") if name.strip()]
    if allowed:
        model = st.selectbox(words("shared.model"), allowed, key="model")
    else:
        model = st.text_input(words("shared.model"), given.model, key="model", help=words("shared.model_help"))
    temperature = st.slider(
        words("shared.temperature"), 0.0, 1.5, min(given.temperature, 1.5), key="temperature",
        help=words("shared.temperature_help"),
    )  # fmt: skip
    named = {"model": model.strip()} if model.strip() and model.strip() != given.model else {}
    return Settings.load(**named, temperature=temperature)
