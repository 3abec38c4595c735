"""The sidebar that all pages share: language, model and sampling, and whether the model is loaded."""

from __future__ import annotations

import os

import streamlit as st

from apps.parts.context import PageContext, make_context, store_context
from apps.parts.display import show_error
from apps.parts.shared_model import show_model_status
from apps.parts.translations import LANGUAGES, Translations
from egosrag import EgosRagError, Settings
from egosrag.presets import STYLES

MODELS = "EGOSRAG_APP_MODELS"  # comma-separated names: visitors can choose among these models only


def sidebar() -> PageContext:
    """Show the sidebar. Returns the context with the visitor's choices, and stores it for the page."""
    preferred = "zh" if (st.context.locale or "").lower().startswith("zh") else "en"
    names = list(LANGUAGES)
    language = st.session_state.get("language", preferred)
    t = Translations(language)
    with st.sidebar, st.expander(t("shared.choices"), key="choices"):
        st.radio(
            "Language / 语言", names, names.index(preferred), key="language", format_func=LANGUAGES.get, horizontal=True
        )
        try:
            page = make_context(language, _chosen_settings(t))
        except EgosRagError as error:
            show_error(error)
            st.stop()
    store_context(page)
    with st.sidebar:
        show_model_status(page.settings, t)
    return page


def _chosen_settings(t: Translations) -> Settings:
    """The settings with the model and the style of sampling of the widgets."""
    configured = Settings.load()
    allowed = [name.strip() for name in os.environ.get(MODELS, "").split(",") if name.strip()]
    if allowed:
        model = st.selectbox(t("shared.model"), allowed, key="model")
    else:
        model = st.text_input(t("shared.model"), configured.model, key="model", help=t("shared.model_help"))
    sampling = st.selectbox(
        t("shared.sampling"), STYLES, STYLES.index(configured.sampling), key="sampling",
        format_func=lambda style: t(f"shared.sampling_{style}"), help=t("shared.sampling_help"),
    )  # fmt: skip
    changed = {"model": model.strip()} if model.strip() and model.strip() != configured.model else {}
    return Settings.load(**changed, sampling=sampling)
