"""The widgets that choose how a role is played: a preset of the report, or each option by itself."""

from __future__ import annotations

from typing import Any

import streamlit as st

from apps.parts.context import PageContext
from egosrag import Settings
from egosrag.presets import PRESETS

OPTIONS = {  # by setting, in the order of the select box; None leaves the choice to the model or the role
    "strategy": (None, "static", "dynamic", "none"),
    "history": (None, "single", "multiple"),
    "memory": ("both", "static", "dynamic", "none"),
}


def roleplay_settings(page: PageContext, key: str) -> Settings:
    """Show the widgets and return the chosen settings.

    Args:
        page: the page's context.
        key: prefix of the widgets' keys, for a page that has them twice.

    Raises:
        SettingsError: the choices contradict each other.
    """
    t, configured = page.t, page.settings
    preset = st.selectbox(
        t("settings.preset"), ["", *PRESETS], key=f"{key} preset",
        format_func=lambda name: name or t("settings.no_preset"), help=t("settings.preset_help"),
    )  # fmt: skip
    if preset:
        return Settings.load(preset=preset, sampling=configured.sampling)
    chosen: dict[str, Any] = {}
    quote = t("settings.quote")
    chosen["quote"] = st.toggle(quote, configured.quote, key=f"{key} quote", help=t("settings.quote_help"))
    for setting, values in OPTIONS.items():
        chosen[setting] = st.selectbox(
            t(f"settings.{setting}"),
            values,
            values.index(getattr(configured, setting)),
            key=f"{key} {setting}",
            format_func=lambda value, setting=setting: t(f"settings.{setting}_{value or 'default'}"),
        )
    return Settings.load(model=configured.model, **chosen, sampling=configured.sampling)
