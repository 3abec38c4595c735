"""The sidebar that all pages share: what belongs to the page, then model, sampling and language."""

from __future__ import annotations

import streamlit as st

from apps.parts.context import PageContext, current_visitor, store_context
from apps.parts.display import errors_shown, show_error
from apps.parts.model_picker import model_picker, show_download
from apps.parts.remember import remembered, restore
from apps.parts.shared_model import show_model_status
from apps.parts.translations import LANGUAGES, Translations
from egosrag import EgosRagError, Settings
from egosrag.presets import STYLES

MAX_LENGTHS = (64, 128, 256, 512, 1024)  # tokens of a reply


def sidebar() -> PageContext:
    """Show the sidebar. Returns the context with the visitor's choices, and stores it for the page."""
    configured = Settings.load()
    visitor = current_visitor(configured)
    restore(visitor)
    preferred = "zh" if (st.context.locale or "").lower().startswith("zh") else "en"
    remembered("language", preferred, LANGUAGES)
    language = st.session_state["language"]
    t = Translations(language)
    with st.sidebar:
        side = st.container(key="side")
        with st.expander(t("shared.choices"), key="choices"):
            st.radio("Language / 语言", list(LANGUAGES), key="language", format_func=LANGUAGES.get, horizontal=True)
            try:
                settings = _chosen_settings(t, configured)
            except EgosRagError as error:
                show_error(error)
                st.stop()
        page = PageContext(language, t, settings, visitor, side)
        store_context(page)
        with errors_shown():
            if not show_download(page):
                show_model_status(page)
    return page


def _chosen_settings(t: Translations, configured: Settings) -> Settings:
    """The settings with the model, the style of sampling, the length and the seed of the widgets."""
    model = model_picker(t, configured)
    sampling = st.selectbox(
        t("shared.sampling"), STYLES, key=remembered("sampling", configured.sampling, STYLES),
        format_func=lambda style: t(f"shared.sampling_{style}"), help=t("shared.sampling_help"),
    )  # fmt: skip
    lengths = sorted({*MAX_LENGTHS, configured.max_new_tokens})
    length = st.selectbox(
        t("shared.length"), lengths, key=remembered("length", configured.max_new_tokens, lengths),
        format_func=lambda tokens: t("shared.tokens", n=tokens), help=t("shared.length_help"),
    )  # fmt: skip
    seed = st.number_input(
        t("shared.seed"), min_value=0, max_value=2**31 - 1, step=1, help=t("shared.seed_help"),
        key=remembered("seed", configured.seed), placeholder=t("shared.seed_none"),
    )  # fmt: skip
    changed = {"model": model} if model != configured.model else {}
    return Settings.load(**changed, sampling=sampling, max_new_tokens=length, seed=None if seed is None else int(seed))
