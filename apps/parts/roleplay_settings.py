"""The widgets that choose how a role is played: a preset of the report, or each option by itself."""

from __future__ import annotations

from typing import Any

import streamlit as st

from apps.parts.context import PageContext
from apps.parts.remember import remembered
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
    drawn = {name: getattr(configured, name) for name in ("sampling", "max_new_tokens", "seed")}
    preset = st.selectbox(
        t("settings.preset"), ["", *PRESETS], key=remembered(f"{key} preset", "", ["", *PRESETS]),
        format_func=lambda name: name or t("settings.no_preset"), help=t("settings.preset_help"),
    )  # fmt: skip
    if preset:
        return Settings.load(preset=preset, **drawn)
    chosen: dict[str, Any] = {}
    quote = t("settings.quote")
    chosen["quote"] = st.toggle(quote, key=remembered(f"{key} quote", configured.quote), help=t("settings.quote_help"))
    for setting, values in OPTIONS.items():
        chosen[setting] = st.selectbox(
            t(f"settings.{setting}"),
            values,
            key=remembered(f"{key} {setting}", getattr(configured, setting), values),
            format_func=lambda value, setting=setting: t(f"settings.{setting}_{value or 'default'}"),
        )
    return Settings.load(model=configured.model, **chosen, **drawn)
