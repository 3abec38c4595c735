"""The small component in the page that does what Streamlit cannot: follow the newest line, focus, keys, reconnect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from apps.parts.translations import Translations, sections

_FILE = Path(__file__).with_suffix(".js")


@st.cache_resource(show_spinner=False)
def _component(source: str) -> Any:
    return st.components.v2.component("egosrag_pilot", js=source, isolate_styles=False)


def pilot(language: str) -> None:
    """Mount the component: once, before the page."""
    t = Translations(language)
    texts = {"newest": t("pilot.newest"), "offline": t("pilot.offline")}
    data = {"language": language, "texts": texts, "widgets": sections(language)["widgets"]}
    with st.container(key="pilot"):
        _component(_FILE.read_text(encoding="utf-8"))(data=data, key="pilot_component", on_stopped_change=_nothing)


def _nothing() -> None:
    """A stopped page only has to run again."""
