"""What belongs to a conversation, in the sidebar: the persona, the author's note, lorebooks, how it is played."""

from __future__ import annotations

import streamlit as st

from apps.parts.context import PageContext
from apps.parts.lorebooks import lorebook_picker
from apps.parts.memory_list import memory_list
from apps.parts.persona_picker import persona_picker
from apps.parts.roleplay_settings import roleplay_settings
from egosrag import Settings
from egosrag.host import conversations
from egosrag.host.conversations import Transcript


def conversation_settings(page: PageContext, transcript: Transcript) -> Settings:
    """Show the widgets. Returns the settings of the role-play."""
    t, session = page.t, transcript.session
    with st.expander(t("roleplay.about_you"), icon=":material/badge:"):
        persona_picker(page, transcript)
        key = f"note of {session}"
        st.session_state.setdefault(key, transcript.note)
        st.text_area(
            t("roleplay.note"), key=key, height=90, help=t("roleplay.note_help"), max_chars=4000,
            on_change=lambda: conversations.choose(page.visitor, session, note=st.session_state[key]),
        )  # fmt: skip
    with st.expander(t("memory.title"), icon=":material/psychology:"):
        memory_list(page, transcript)
    if points := conversations.points_of(page.visitor, session):
        with st.expander(t("until.title"), icon=":material/bookmark:"):
            key, end = f"until of {session}", t("until.end")
            st.session_state.setdefault(key, transcript.until if transcript.until in points else end)
            st.select_slider(
                t("until.point"), [*points, end], key=key, help=t("until.help"), format_func=page.plain,
                on_change=lambda: conversations.choose(
                    page.visitor, session, until="" if st.session_state[key] == end else st.session_state[key]
                ),
            )  # fmt: skip
    with st.expander(t("lorebooks.edit"), icon=":material/auto_stories:"):
        lorebook_picker(page, session)
    with st.expander(t("roleplay.settings"), icon=":material/tune:"):
        return roleplay_settings(page, "chat")
