"""Chat with a role: a gallery to choose from, streamed replies, alternatives, edited messages, what the model saw."""

from __future__ import annotations

import streamlit as st

from apps import parts
from apps.parts.conversation_head import show_head, show_hints
from apps.parts.conversation_list import conversation_list, open_session
from apps.parts.conversation_settings import conversation_settings
from apps.parts.gallery import gallery
from apps.parts.prompt_panel import prompt_panel, show_fired_entries, show_speed
from apps.parts.remember import remembered
from apps.parts.replies import GENERATING, generate, show_draft, show_unanswered, show_writing
from apps.parts.transcript import Action, request_action, show_transcript, take_action
from egosrag import EgosRagError, Settings
from egosrag.host import conversations
from egosrag.host.conversations import Transcript


def main() -> None:
    """Show the open conversation, or the gallery of roles where none is open."""
    page = parts.page_context()
    with parts.errors_shown():
        session = open_session(page)
        conversation_list(page, session)
        if session is None:
            gallery(page)
            return
        with st.container(key="reading"):
            _show_conversation(page, session)


def _show_conversation(page: parts.PageContext, session: str) -> None:
    t = page.t
    elsewhere = conversations.is_open(session)
    try:
        transcript = conversations.load_transcript(page.settings, page.visitor, session)
    except EgosRagError:
        st.session_state["session"] = None  # at the next run the gallery is shown
        raise
    name = ", ".join(transcript.names)
    with st.bottom:
        message = st.chat_input(t("roleplay.message", name=name), key="message", submit_mode="stop", max_chars=8000)
    action = Action("message", text=message) if message else take_action()
    with page.side, parts.errors_shown():
        settings = conversation_settings(page, transcript)
        editing = st.toggle(t("roleplay.edit_messages"), key=remembered("edit messages", False))
        prompt_shown = st.toggle(t("roleplay.show_prompt"), key=remembered("show prompt", False))
    with parts.errors_shown():
        if action and action.name not in GENERATING:
            transcript = _change(page, settings, transcript, action)
            action = None
        show_head(page, transcript)
        until = action.turn_id if action and action.name == "regenerate" else None
        if until and transcript.unanswered and transcript.unanswered.id == until:
            until = None
        show_transcript(page, transcript, until=until, editing=editing, controls=not (action or elsewhere))
        view = st.session_state.get(f"prompt of {session}")
        if action:
            generate(page, settings, transcript, action)
        if elsewhere:
            show_writing(page, transcript)
        else:
            show_unanswered(page, transcript)
        if transcript.started:
            with st.container(key="below"):
                show_fired_entries(page, view, transcript)
                show_speed(page, view, transcript)
                _show_next(page, transcript)
        else:
            show_hints(page, transcript)
        show_draft()
    if prompt_shown:
        with st.container(key="beside"):
            prompt_panel(page, view, transcript)


def _change(page: parts.PageContext, settings: Settings, transcript: Transcript, action: Action) -> Transcript:
    """The conversation after a turn was edited or deleted, or another alternative was chosen."""
    session, turn_id = transcript.session, action.turn_id
    model = parts.chat_model(page, settings)
    with conversations.open_conversation(settings, page.visitor, session, model) as conversation:
        if action.name == "edit":
            conversation.edit(str(turn_id), action.text)
        elif action.name == "delete":
            conversation.delete(str(turn_id))
        else:
            conversation.choose(action.number, turn_id)
    return conversations.load_transcript(page.settings, page.visitor, session)


def _show_next(page: parts.PageContext, transcript: Transcript) -> None:
    """What the visitor may do instead of writing: let the next role of a scene speak, or have their line drafted."""
    t = page.t
    with st.container(horizontal=True, vertical_alignment="bottom", key="tools next"):
        if len(transcript.names) > 1:
            names = [t("roleplay.any_speaker"), *transcript.names]
            st.selectbox(t("roleplay.speaker"), names, key=f"speaker of {transcript.session}")
            st.button(t("roleplay.continue"), on_click=request_action, args=("continue",))
        st.button(
            t("roleplay.impersonate"), key="impersonate", icon=":material/edit_note:", type="tertiary",
            help=t("roleplay.impersonate_help"), on_click=request_action, args=("impersonate",),
        )  # fmt: skip


main()
