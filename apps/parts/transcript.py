"""The messages of a conversation, with a row of small buttons under those that can be changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import streamlit as st

from apps.parts.context import PageContext
from apps.parts.display import USER_ICON, show_html, show_said
from egosrag import EgosRagError
from egosrag.host import cards, conversation_catalog, conversations, feedback
from egosrag.host.conversations import Transcript, Turn
from egosrag.host.portraits import portrait

SHOWN_TURNS = 40  # the last ones; older ones are shown on demand


class Action(NamedTuple):
    """A visitor's action on a conversation, with its arguments.

    Attributes:
        name: "message", "regenerate", "continue" (the next role of a scene), "extend" (the last reply) and
            "impersonate" need the model; the others change stored turns.
        turn_id: the turn that is regenerated, edited or deleted, or whose alternative is chosen.
        text: of a new message or an edited turn.
        number: of the alternative that is chosen, from 0.
    """

    name: Literal["message", "regenerate", "continue", "extend", "impersonate", "edit", "delete", "choose"]
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
    mine = [turn.id for turn in shown if turn.speaker not in transcript.names]
    for turn in shown[hidden:]:
        last_line = bool(mine) and turn.id == mine[-1]
        show = controls and (editing or turn is shown[-1] or last_line)
        _show_turn(page, transcript, turn, show, last_line)


def portraits_of(page: PageContext, transcript: Transcript) -> dict[str, str]:
    """The portrait of each role of a conversation, by name."""
    pictures = {}
    for role_id, name in zip(conversations.role_ids(page.visitor, transcript.session), transcript.names, strict=False):
        try:
            stored = cards.find(page.visitor, role_id)
        except EgosRagError:  # the role was deleted, its conversations can still be read
            stored = None
        pictures[name] = portrait(stored, name)
    return pictures


def message_bubble(page: PageContext, transcript: Transcript, speaker: str) -> Any:
    """A container for a message of ``speaker``: a role with its portrait and name, or the visitor."""
    if speaker not in transcript.names:
        return st.chat_message("user", avatar=USER_ICON)
    picture = portraits_of(page, transcript).get(speaker) or portrait(None, speaker)
    bubble = st.chat_message("assistant", avatar=picture)
    with bubble:
        show_html('<span class="speaker">{}</span>', speaker)
    return bubble


def _show_turn(page: PageContext, transcript: Transcript, turn: Turn, controls: bool, last_line: bool) -> None:
    t, mine = page.t, turn.speaker not in transcript.names
    with message_bubble(page, transcript, turn.speaker):
        if st.session_state.get("editing") == turn.id:
            _show_editor(page, turn)
            return
        show_said(turn.text, mine=mine)
        if turn.status == "interrupted" and not mine:
            st.caption(t("roleplay.interrupted"))
        if not controls or (not transcript.started and len(transcript.greetings) < 2):
            return
        key = f"{'mytools' if mine else 'tools'} tools {turn.id}"
        with st.container(horizontal=True, gap="small", vertical_alignment="center", key=key):
            if not mine:
                _show_alternatives(page, transcript, turn)
            if transcript.started:
                name = "edit-last" if last_line else "edit"
                _icon_button("edit", t("roleplay.edit"), turn.id, _start_editing, turn.id, name=name)
                _show_more(page, transcript, turn, mine)


def _show_more(page: PageContext, transcript: Transcript, turn: Turn, mine: bool) -> None:
    t = page.t
    st.button(":material/content_copy:", key=f"copy {turn.id}", help=t("roleplay.copy"), type="tertiary")
    _icon_button("call_split", t("roleplay.branch"), turn.id, _branch, page, transcript.session, turn.id)
    _icon_button("delete", t("roleplay.delete"), turn.id, request_action, "delete", turn.id)
    if not mine:
        key = f"thumb {turn.id}"
        st.feedback("thumbs", key=key, on_change=_rate, args=(page, key, transcript, turn))


def _branch(page: PageContext, session: str, turn_id: str) -> None:
    try:
        st.session_state["session"] = conversation_catalog.branch_conversation(
            page.settings, page.visitor, session, turn_id
        )
        st.toast(page.t("roleplay.branched"))
    except EgosRagError as error:
        st.session_state["list error"] = error


def _rate(page: PageContext, key: str, transcript: Transcript, turn: Turn) -> None:
    thumb = st.session_state[key]
    if thumb is not None:
        said = [t.text for t in transcript.before(turn.id)][-1:]
        about = {"page": "roleplay", "model": conversations.choices_of(page.visitor, transcript.session).model}
        about |= {"role": turn.speaker, "question": (said or [""])[0], "answer": turn.text}
        feedback.rate(page.settings.data_dir, page.visitor, about, float(thumb))


def _show_editor(page: PageContext, turn: Turn) -> None:
    """A form, so that the text is sent together with the button, however quickly that is tapped."""
    t, key = page.t, f"text {turn.id}"
    show_html('<span class="editor"></span>')
    with st.form(f"editor {turn.id}", border=False):
        st.text_area(t("roleplay.text"), turn.text, key=key, label_visibility="collapsed")
        with st.container(horizontal=True):
            st.form_submit_button(t("roleplay.save"), type="primary", on_click=_save_edit, args=(turn.id, key))
            st.form_submit_button(t("roleplay.cancel"), key="cancel-edit", on_click=_start_editing, args=(None,))


def _save_edit(turn_id: str, key: str) -> None:
    request_action("edit", turn_id, st.session_state[key])


def _show_alternatives(page: PageContext, transcript: Transcript, turn: Turn) -> None:
    """Buttons that switch between the alternatives of a reply or greeting, and generate a new one."""
    t = page.t
    index, count = transcript.siblings(turn.id)
    choice = turn.id if transcript.started else None
    is_last, is_first = turn is transcript.turns[-1], turn.id == transcript.turns[0].id
    if count > 1:

        def choose(icon: str, tooltip: str, number: int) -> None:
            args = ("choose", choice, "", number)
            _icon_button(icon, tooltip, turn.id, request_action, *args, disabled=not 0 <= number < count)

        choose("chevron_left", t("roleplay.previous"), index - 1)
        st.caption(f"{index + 1}/{count}")
        choose("chevron_right", t("roleplay.next"), index + 1)
    if not is_first:
        name = "swipe" if is_last and index + 1 == count else "refresh"
        _icon_button("refresh", t("roleplay.regenerate"), turn.id, request_action, "regenerate", turn.id, name=name)
        if is_last:
            _icon_button("more_horiz", t("roleplay.extend"), turn.id, request_action, "extend")


def _icon_button(
    icon: str,
    tooltip: str,
    turn_id: str,
    on_click: Callable[..., None],
    *args: Any,
    disabled: bool = False,
    name: str = "",
) -> None:
    st.button(
        f":material/{icon}:", key=f"{name or icon} {turn_id}", help=tooltip, type="tertiary", disabled=disabled,
        on_click=on_click, args=args,
    )  # fmt: skip


def _start_editing(turn_id: str | None) -> None:
    st.session_state["editing"] = turn_id
