"""Chat with a role: streamed replies, alternatives, edited messages, and what the model saw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import streamlit as st

from apps import parts
from apps.parts.lorebooks import lorebook_picker
from apps.parts.persona_picker import persona_picker
from apps.parts.prompt_panel import prompt_panel, show_fired_entries
from apps.parts.roleplay_settings import roleplay_settings
from apps.parts.transcript import Action, message_bubble, request_action, show_transcript, take_action
from egosrag import Conversation, Settings
from egosrag.host import cards, conversations
from egosrag.host.conversations import ConversationInfo, Transcript
from egosrag.host.escape import unique_labels

GENERATING = ("message", "regenerate", "continue")  # actions that need a reply from the model


def main() -> None:
    """Show the chosen conversation and carry out the visitor's action."""
    page = parts.page_context()
    message = st.chat_input(page.t("roleplay.message"), key="message", submit_mode="stop", max_chars=8000)
    with parts.errors_shown():
        action = Action("message", text=message) if message else take_action()
        session, settings = _sidebar(page)
        transcript = conversations.load_transcript(page.settings, page.visitor, session)
        with st.sidebar, parts.errors_shown():
            persona_picker(page, transcript)
            lorebook_picker(page, session)
        editing, prompt_shown = _view_toggles(page)
        left, right = st.columns([3, 2], gap="large") if prompt_shown else (st.container(width=760), None)
        with left, parts.errors_shown():
            if action and action.name not in GENERATING:
                transcript = _change(page, settings, transcript, action)
                action = None
            until = action.turn_id if action and action.name == "regenerate" else None
            show_transcript(page, transcript, until=until, editing=editing, controls=not action)
            if not action:
                show_fired_entries(page, st.session_state.get(f"prompt of {session}"), transcript)
            if action:
                _generate(page, settings, transcript, action)
            elif len(transcript.names) > 1 and transcript.started:
                _show_next_speaker(page, transcript)
        if right:
            with right:
                prompt_panel(page, st.session_state.get(f"prompt of {session}"), transcript)


def _generate(page: parts.PageContext, settings: Settings, transcript: Transcript, action: Action) -> None:
    """Stream a reply, then run the page again. When the visitor stops it, the text so far is stored."""
    if action.name == "message":
        with message_bubble(transcript, ""):
            parts.show_text(action.text)
    model = parts.chat_model(page, settings)
    session = transcript.session
    with (
        parts.model_slot(page),
        conversations.open_conversation(settings, page.visitor, session, model) as conversation,
    ):
        chosen = st.session_state.get(f"speaker of {session}")
        speaker = chosen if chosen in transcript.names and len(transcript.names) > 1 else None
        bubble = st.chat_message("assistant", avatar=parts.ROLE_ICON)
        if action.name != "message":  # the input field of a message has a stop button of its own
            st.button(page.t("roleplay.stop"), key="stop", icon=":material/stop:", type="tertiary")
        with bubble:
            reply = parts.show_stream(_stream(conversation, action, speaker))
        st.session_state[f"prompt of {session}"] = conversations.prompt_view(conversation, reply)
    st.rerun()


def _stream(conversation: Conversation, action: Action, speaker: str | None) -> Iterator[Any]:
    """The reply to a message, an alternative of a reply, or a reply without a message, by ``speaker`` in a scene."""
    group: Any = conversation  # with several roles it takes a speaker
    if action.name == "regenerate":
        return group.stream_again(action.turn_id)
    if action.name == "continue":
        return group.stream_on(speaker)
    return group.stream(action.text, speaker) if speaker else group.stream(action.text)


def _change(page: parts.PageContext, settings: Settings, transcript: Transcript, action: Action) -> Transcript:
    """The conversation after a turn was edited or deleted, or another alternative was chosen."""
    session, turn_id = transcript.session, action.turn_id
    model = parts.chat_model(page, settings)
    with conversations.open_conversation(settings, page.visitor, session, model) as conversation:
        if action.name == "edit":
            conversation.edit(turn_id, action.text)
        elif action.name == "delete":
            conversation.delete(turn_id)
        else:
            conversation.choose(action.number, turn_id)
    return conversations.load_transcript(page.settings, page.visitor, session)


def _show_next_speaker(page: parts.PageContext, transcript: Transcript) -> None:
    """With several roles: choose who speaks next, and let them speak without a message."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        names = [page.t("roleplay.any_speaker"), *transcript.names]
        st.selectbox(page.t("roleplay.speaker"), names, key=f"speaker of {transcript.session}")
        st.button(page.t("roleplay.continue"), on_click=request_action, args=("continue",))


def _view_toggles(page: parts.PageContext) -> tuple[bool, bool]:
    """Whether messages can be edited, and whether the prompt is shown."""
    with st.sidebar:
        editing = st.toggle(page.t("roleplay.edit_messages"), key="edit messages")
        return editing, st.toggle(page.t("roleplay.show_prompt"), key="show prompt")


def _sidebar(page: parts.PageContext) -> tuple[str, Settings]:
    """The chosen conversation, and the settings of the role-play."""
    t = page.t
    stored = conversations.list_conversations(page.settings, page.visitor)
    stored_sessions = [info.session for info in stored]
    if "session" not in st.session_state:
        st.session_state["session"] = stored_sessions[0] if stored else _new_session(page, [])
    # A conversation without any message is not in the store; it stays in the list during this visit.
    drafts = st.session_state.setdefault("drafts", [])
    sessions = list(dict.fromkeys([*stored_sessions, *drafts, st.session_state["session"]]))
    drafts[:] = [session for session in sessions if session not in stored_sessions]
    labels = _labels(page, sessions, stored)
    with st.sidebar:
        index = sessions.index(st.session_state["session"])
        session = st.selectbox(t("roleplay.session"), sessions, index, format_func=labels.get)
        st.session_state["session"] = session  # not the widget's key, which is lost while another page is open
        with st.container(horizontal=True):
            with st.popover(t("roleplay.new"), icon=":material/add:"):
                _show_new(page)
            if session in stored_sessions:
                with st.popover(t("roleplay.manage"), icon=":material/download:"):
                    _show_manage(page, session)
        with st.expander(t("roleplay.settings")):
            settings = roleplay_settings(page, "chat")
    return session, settings


def _labels(page: parts.PageContext, sessions: list[str], stored: list[ConversationInfo]) -> dict[str, str]:
    labels = dict.fromkeys(sessions, page.t("roleplay.new_conversation"))
    for info in stored:
        at = info.at[5:16].replace("T", " ")
        labels[info.session] = page.t("roleplay.info", name=info.name, turns=info.turns, at=at)
    return unique_labels(labels)


def _new_session(page: parts.PageContext, role_ids: list[str]) -> str:
    default = cards.list_roles(page.visitor, page.language)[0].id
    return conversations.new_session(page.visitor, role_ids or [default])


def _show_new(page: parts.PageContext) -> None:
    labels = cards.labels(page.visitor, page.language)
    most = conversations.SCENE_ROLES
    role_ids = st.multiselect(page.t("roleplay.roles"), labels, max_selections=most, format_func=labels.get)

    def start() -> None:
        st.session_state["session"] = _new_session(page, role_ids)

    st.button(page.t("roleplay.start"), on_click=start, disabled=not role_ids, type="primary")


def _show_manage(page: parts.PageContext, session: str) -> None:
    for extension in ("json", "jsonl", "md"):
        st.download_button(
            page.t(f"roleplay.{extension}"),
            lambda extension=extension: conversations.export_conversation(
                page.settings, page.visitor, session, extension
            ),
            f"conversation.{extension}",
            on_click="ignore",
            key=f"export {extension}",
        )

    def delete() -> None:
        conversations.delete_conversation(page.settings, page.visitor, session)
        del st.session_state["session"]

    st.button(page.t("roleplay.delete_conversation"), icon=":material/delete:", on_click=delete)


main()
