"""The messages of a conversation, with the buttons to edit, delete and regenerate them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import streamlit as st

from apps.parts.context import PageContext
from apps.parts.display import ROLE_ICON, USER_ICON, escape
from egosrag.host.conversations import Transcript, Turn

SHOWN_TURNS = 40  # the last ones; older ones are shown on demand


class Action(NamedTuple):
    """A visitor's action on a conversation, with its arguments.

    Attributes:
        name: "message", "regenerate" and "continue" need a reply from the model; the others change stored turns.
        turn_id: the turn that is regenerated, edited or deleted, or whose alternative is chosen.
        text: of a new message or an edited turn.
        number: of the alternative that is chosen, from 0.
    """

    name: Literal["message", "regenerate", "continue", "edit", "delete", "choose"]
    turn_id: str | None = None
    text: str = ""
    number: int = 0


def request_action(*args: Any) -> None:
    """Store an :class:`Action` for the next run of the page; the callback of buttons."""
    st.session_state["editing"] = None
    st.session_state["action"] = Action(*args)


def take_action() -> Action | None:
    """The stored action, which is removed."""
    action: Action | None = st.session_state.pop("action", None)
    return action


def show_transcript(
    page: PageContext, transcript: Transcript, *, until: str | None = None, editing: bool = False, controls: bool = True
) -> None:
    """Show the turns of a conversation.

    Args:
        page: the page's context.
        transcript: the conversation.
        until: show the turns before this one only: it is being regenerated.
        editing: show the buttons of every turn, not only those of the last reply.
        controls: show any buttons at all.
    """
    shown = transcript.before(until)
    hidden = max(0, len(shown) - SHOWN_TURNS)
    if hidden and st.toggle(page.t("roleplay.show_earlier", n=hidden), key=f"earlier {transcript.session}"):
        hidden = 0
    for turn in shown[hidden:]:
        _show_turn(page, transcript, turn, editing, controls and (editing or turn is shown[-1]))


def message_bubble(transcript: Transcript, speaker: str) -> Any:
    """A container for a message of ``speaker``; with several roles it shows the name."""
    is_role = speaker in transcript.names
    bubble = st.chat_message("assistant", avatar=ROLE_ICON) if is_role else st.chat_message("user", avatar=USER_ICON)
    if is_role and len(transcript.names) > 1:
        bubble.caption(escape(speaker))
    return bubble


def _show_turn(page: PageContext, transcript: Transcript, turn: Turn, editing: bool, controls: bool) -> None:
    t = page.t
    with message_bubble(transcript, turn.speaker):
        if st.session_state.get("editing") == turn.id:
            _show_editor(page, turn)
            return
        st.text(turn.text)
        if turn.status == "interrupted":
            st.caption(t("roleplay.interrupted"))
        if not controls or not transcript.started:
            return
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            if turn.speaker in transcript.names:
                _show_alternatives(page, transcript, turn)
            if editing:
                _icon_button("edit", t("roleplay.edit"), turn.id, _start_editing, turn.id)
                _icon_button("delete", t("roleplay.delete"), turn.id, request_action, "delete", turn.id)


def _show_editor(page: PageContext, turn: Turn) -> None:
    text = st.text_area(page.t("roleplay.text"), turn.text, key=f"text {turn.id}", label_visibility="collapsed")
    with st.container(horizontal=True):
        st.button(page.t("roleplay.save"), type="primary", on_click=request_action, args=("edit", turn.id, text))
        st.button(page.t("roleplay.cancel"), on_click=_start_editing, args=(None,))


def _show_alternatives(page: PageContext, transcript: Transcript, turn: Turn) -> None:
    """Buttons that switch between the alternatives of a reply and generate a new one."""
    t = page.t
    index, count = transcript.siblings(turn.id)
    if count > 1:

        def choose(icon: str, tooltip: str, number: int) -> None:
            args = ("choose", turn.id, "", number)
            _icon_button(icon, tooltip, turn.id, request_action, *args, disabled=not 0 <= number < count)

        choose("chevron_left", t("roleplay.previous"), index - 1)
        st.caption(f"{index + 1}/{count}")
        choose("chevron_right", t("roleplay.next"), index + 1)
    if turn.id != transcript.turns[0].id:
        _icon_button("refresh", t("roleplay.regenerate"), turn.id, request_action, "regenerate", turn.id)


def _icon_button(
    icon: str, tooltip: str, turn_id: str, on_click: Callable[..., None], *args: Any, disabled: bool = False
) -> None:
    key = f"{icon} {turn_id}"
    st.button(
        f":material/{icon}:", key=key, help=tooltip, type="tertiary", disabled=disabled, on_click=on_click, args=args
    )


def _start_editing(turn_id: str | None) -> None:
    st.session_state["editing"] = turn_id
