"""Two ways to play a role, side by side on the same messages."""

from __future__ import annotations

from typing import Any

import streamlit as st

from apps import parts
from apps.parts.model_picker import choices_of
from apps.parts.remember import remembered
from apps.parts.replies import show_writing
from apps.parts.roleplay_settings import roleplay_settings
from apps.parts.transcript import message_bubble, show_transcript
from egosrag import EgosRagError, Settings
from egosrag.host import cards, conversations, visits
from egosrag.host.model_choices import short_name

SIDES = ("a", "b")


def main() -> None:
    """Show two conversations with one role, which get the same messages."""
    page = parts.page_context()
    t = page.t
    message = st.chat_input(t("compare.message"), key="message to both", submit_mode="stop", max_chars=8000)
    labels = cards.labels(page.visitor, page.language)
    with page.side:
        key = remembered("role of both", next(iter(labels)), labels)
        role = st.selectbox(t("compare.role"), labels, format_func=labels.get, key=key)
        restart = st.button(t("compare.restart"))
    with st.container(key="wide"), parts.errors_shown():
        sessions = _sessions(page, role, restart)
        columns = st.columns(2, gap="large")
        sides = [_side(page, side, column) for side, column in zip(SIDES, columns, strict=True)]
        for (_, place), session in zip(sides, sessions, strict=True):
            with place:
                elsewhere = conversations.is_open(session)
                transcript = conversations.load_transcript(page.settings, page.visitor, session)
                show_transcript(page, transcript, controls=False)
                if elsewhere:
                    show_writing(page, transcript)
                elif not message:
                    _show_usage(page, session)
        if message:
            for (settings, place), session in zip(sides, sessions, strict=True):
                with place:
                    try:
                        _reply(page, settings, session, message)
                    except EgosRagError as error:
                        st.session_state[f"usage of {session}"] = error
            st.rerun()


def _sessions(page: parts.PageContext, role: str, restart: bool) -> list[str]:
    """The sessions of both sides, as at the last visit; new ones for another role or a restart."""
    stored = visits.recall(page.visitor).get("compared") or {}
    sessions: list[str] = stored.get("sessions", [])
    if restart or stored.get("role") != role or len(sessions) != len(SIDES):
        sessions = [conversations.new_session(page.visitor, [role], compared=True) for _ in SIDES]
        visits.remember(page.visitor, compared={"role": role, "sessions": sessions})
    return sessions


def _side(page: parts.PageContext, side: str, column: Any) -> tuple[Settings, Any]:
    """The settings of one side, and the container for its messages."""
    with column:
        st.subheader(page.t(f"compare.{side}"))
        with st.expander(page.t("compare.settings")):
            settings = roleplay_settings(page, side)
            if other := _other_model(page, side):
                settings = settings.model_copy(update={"model": other})
        return settings, st.container()


def _other_model(page: parts.PageContext, side: str) -> str:
    """The model of one side, where it is not the one of the sidebar."""
    choices = [choice.name for choice in choices_of(page.settings) if choice.here]
    key = remembered(f"{side} model", "", ["", *choices])
    label = page.t("compare.same_model")
    shown = {"": label, **{name: short_name(name) for name in choices}}
    return str(st.selectbox(page.t("shared.model"), list(shown), key=key, format_func=shown.get))


def _reply(page: parts.PageContext, settings: Settings, session: str, message: str) -> None:
    """Show the message and stream the reply of one side; its tokens and time are shown below it afterwards."""
    transcript = conversations.load_transcript(page.settings, page.visitor, session)
    with message_bubble(page, transcript, ""):
        parts.show_said(message, mine=True)
    model = parts.chat_model(page, settings)
    with (
        parts.model_slot(page),
        conversations.open_conversation(settings, page.visitor, session, model) as conversation,
    ):
        with message_bubble(page, transcript, transcript.names[0]):
            reply = parts.show_stream(conversation.stream(message))
        ledger, seconds = reply.ledger, f"{reply.timing.total_s:.1f}"
        usage = {"prompt": ledger.prompt, "cached": ledger.cached, "reply": ledger.reply}
        st.session_state[f"usage of {session}"] = {**usage, "seconds": seconds}


def _show_usage(page: parts.PageContext, session: str) -> None:
    """What the last reply took, or why there is none."""
    usage = st.session_state.get(f"usage of {session}")
    if isinstance(usage, EgosRagError):
        parts.show_error(usage)
    elif usage:
        st.caption(page.t("compare.usage", **usage))


main()
