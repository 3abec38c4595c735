"""Two ways to play a role, side by side on the same messages."""

from __future__ import annotations

from typing import Any

import streamlit as st

from apps import parts
from apps.parts.roleplay_settings import roleplay_settings
from apps.parts.transcript import message_bubble, show_transcript
from egosrag import Settings
from egosrag.host import cards, conversations

SIDES = ("a", "b")


def main() -> None:
    """Show two conversations with one role, which get the same messages."""
    page = parts.page_context()
    t = page.t
    message = st.chat_input(t("compare.message"), key="message to both", submit_mode="stop", max_chars=8000)
    labels = cards.labels(page.visitor, page.language)
    with st.sidebar:
        role = st.selectbox(t("compare.role"), labels, format_func=labels.get, key="role of both")
        restart = st.button(t("compare.restart"))
    with parts.errors_shown():
        sessions = _sessions(page, role, restart)
        columns = st.columns(2, gap="large")
        sides = [_side(page, side, column) for side, column in zip(SIDES, columns, strict=True)]
        for (_, place), session in zip(sides, sessions, strict=True):
            with place:
                transcript = conversations.load_transcript(page.settings, page.visitor, session)
                show_transcript(page, transcript, controls=False)
        if message:
            for (settings, place), session in zip(sides, sessions, strict=True):
                with place, parts.errors_shown():
                    _reply(page, settings, session, message)


def _sessions(page: parts.PageContext, role: str, restart: bool) -> list[str]:
    """The sessions of both sides; new ones for another role or a restart."""
    stored = st.session_state.get("compared")
    if restart or stored is None or stored[0] != role:
        stored = (role, [conversations.new_session(page.visitor, [role]) for _ in SIDES])
        st.session_state["compared"] = stored
    sessions: list[str] = stored[1]
    return sessions


def _side(page: parts.PageContext, side: str, column: Any) -> tuple[Settings, Any]:
    """The settings of one side, and the container for its messages."""
    with column:
        st.subheader(page.t(f"compare.{side}"))
        with st.expander(page.t("compare.settings")):
            settings = roleplay_settings(page, side)
        return settings, st.container()


def _reply(page: parts.PageContext, settings: Settings, session: str, message: str) -> None:
    """Show the message and stream the reply of one side, with its tokens and time."""
    transcript = conversations.load_transcript(page.settings, page.visitor, session)
    with message_bubble(transcript, ""):
        parts.show_text(message)
    model = parts.chat_model(page, settings)
    with (
        parts.model_slot(page),
        conversations.open_conversation(settings, page.visitor, session, model) as conversation,
    ):
        with st.chat_message("assistant", avatar=parts.ROLE_ICON):
            reply = parts.show_stream(conversation.stream(message))
        ledger, seconds = reply.ledger, f"{reply.timing.total_s:.1f}"
        usage = {"prompt": ledger.prompt, "cached": ledger.cached, "reply": ledger.reply}
        st.caption(page.t("compare.usage", **usage, seconds=seconds))


main()
