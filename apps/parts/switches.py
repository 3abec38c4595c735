"""The choices that a role is played by: a system of the report, or each of its parts by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from egosrag import Settings
from egosrag.presets import PRESETS

if TYPE_CHECKING:
    from apps.parts.frame import Here

CHOICES = {  # setting: what it can be, None first: as the model was trained, or as a role was made
    "strategy": (None, "static", "dynamic", "none"),
    "history": (None, "single", "multiple"),
    "memory": ("both", "static", "dynamic", "none"),
}


def switches(here: Here, key: str) -> Settings:
    """The settings of one way to play a role.

    Args:
        here: whoever looks.
        key: tells these widgets from others on the page.

    Raises:
        SettingsError: what was chosen does not go together.
    """
    words = here.words
    preset = st.selectbox(
        words("switches.preset"), ["", *PRESETS], key=f"{key} preset",
        format_func=lambda name: name or words("switches.own"), help=words("switches.preset_help"),
    )  # fmt: skip
    named: dict[str, Any] = {"preset": preset} if preset else {"model": here.settings.model}
    if not preset:
        quote, given = words("switches.quote"), here.settings
        named["quote"] = st.toggle(quote, given.quote, key=f"{key} quote", help=words("switches.quote_help"))
        for setting, values in CHOICES.items():
            named[setting] = st.selectbox(
                words(f"switches.{setting}"),
                values,
                values.index(getattr(given, setting)),
                key=f"{key} {setting}",
                format_func=lambda value, setting=setting: words(f"switches.{setting}_{value or 'own'}"),
            )
    return Settings.load(**named, temperature=here.settings.temperature)
