"""The turns of a conversation, and what can be done to each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from apps.parts.show import label
from egosrag.host.talks import Past, Turn

if TYPE_CHECKING:
    from apps.parts.frame import Here

ROLE, USER = ":material/theater_comedy:", ":material/person:"
SHOWN = 40  # turns on the page; older ones are a click away


def turns(here: Here, past: Past, *, until: str | None = None, editing: bool = False, controls: bool = True) -> None:
    """Shows what was said.

    Args:
        here: whoever looks.
        past: the conversation.
        until: the turn before which it ends, where a further reply to an earlier line is on its way.
        editing: whether every turn shows how it can be changed; else the last reply alone shows its own.
        controls: whether anything can be done at all.
    """
    said = past.before(until)
    hidden = max(0, len(said) - SHOWN)
    if hidden and st.toggle(here.words("roleplay.earlier", n=hidden), key=f"earlier {past.session}"):
        hidden = 0
    for turn in said[hidden:]:
        _turn(here, past, turn, editing, controls and (editing or turn is said[-1]))


def bubble(past: Past, speaker: str) -> Any:
    """A place for what somebody says; in a scene of several it bears the name."""
    spoken = speaker in past.names
    place = st.chat_message("assistant", avatar=ROLE) if spoken else st.chat_message("user", avatar=USER)
    if spoken and len(past.names) > 1:
        place.caption(label(speaker))
    return place


def _turn(here: Here, past: Past, turn: Turn, editing: bool, controls: bool) -> None:
    words = here.words
    with bubble(past, turn.speaker):
        if st.session_state.get("editing") == turn.id:
            text = st.text_area(words("roleplay.text"), turn.text, key=f"text {turn.id}", label_visibility="collapsed")
            with st.container(horizontal=True):
                st.button(words("roleplay.save"), type="primary", on_click=do, args=("edit", turn.id, text))
                st.button(words("roleplay.cancel"), on_click=_edit, args=(None,))
            return
        st.text(turn.text)
        if turn.status == "interrupted":
            st.caption(words("roleplay.interrupted"))
        if not controls or not past.begun:
            return
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            if turn.speaker in past.names:
                _siblings(here, past, turn)
            if editing:
                _icon("edit", words("roleplay.edit"), turn.id, _edit, turn.id)
                _icon("delete", words("roleplay.delete"), turn.id, do, "delete", turn.id)


def _siblings(here: Here, past: Past, turn: Turn) -> None:
    """The replies that were given in this place, to look through, and a further one."""
    at, count = past.siblings(turn.id)
    if count > 1:
        _icon("chevron_left", here.words("roleplay.before"), turn.id, do, "choose", turn.id, at - 1, off=at == 0)
        st.caption(f"{at + 1}/{count}")
        off = at + 1 == count
        _icon("chevron_right", here.words("roleplay.after"), turn.id, do, "choose", turn.id, at + 1, off=off)
    if turn.id != past.turns[0].id:
        _icon("refresh", here.words("roleplay.again"), turn.id, do, "again", turn.id)


def _icon(icon: str, told: str, turn_id: str, click: Any, *args: Any, off: bool = False) -> None:
    shown, key = f":material/{icon}:", f"{icon} {turn_id}"
    st.button(shown, key=key, help=told, type="tertiary", disabled=off, on_click=click, args=args)


def _edit(turn_id: str | None) -> None:
    st.session_state["editing"] = turn_id


def do(*what: Any) -> None:
    """Remembers what was asked for, until the page is made anew and does it."""
    st.session_state["editing"] = None
    st.session_state["do"] = what
