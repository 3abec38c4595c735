"""Widgets whose values outlast a reload of the page: they are read from the visitor's file, and written to it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import streamlit as st

from egosrag.host import visits
from egosrag.host.visitors import Visitor

_KEY = "remembered widgets"


def restore(visitor: Visitor) -> None:
    """At the start of a run: read what the visitor had chosen, and store what they changed since the last run."""
    state = st.session_state
    if _KEY not in state:
        state[_KEY] = visits.recall(visitor).get("widgets") or {}
    changed = {key: state[key] for key in state[_KEY] if key in state and state[key] != state[_KEY][key]}
    if changed:
        state[_KEY] |= changed
        visits.remember(visitor, widgets=state[_KEY])


def remembered(key: str, default: Any, options: Collection[Any] | None = None) -> str:
    """Give a widget its remembered value, and remember it from now on. Returns the key, for the widget.

    Args:
        key: of the widget.
        default: its value where nothing is remembered.
        options: the values that it may have; another one becomes the default.
    """
    state = st.session_state
    values = state.setdefault(_KEY, {})
    if key not in values:
        values[key] = default
    # Set at every run: a run that is cut off may not have reached the browser, which would then show another value.
    value = state[key] if key in state else values[key]
    state[key] = value if options is None or value in options else default
    return key
