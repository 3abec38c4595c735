"""What a conversation remembers, in the sidebar: each line with its messages; corrected, kept for good, forgotten."""

from __future__ import annotations

import streamlit as st

from apps.parts.context import PageContext
from apps.parts.display import errors_shown
from egosrag.host import conversations
from egosrag.host.conversations import Transcript


def memory_list(page: PageContext, transcript: Transcript) -> None:
    """Show the lines, newest pins first in the prompt, each with what can be done with it."""
    t, session = page.t, transcript.session
    if not transcript.memories:
        st.caption(t("memory.none"))
    for memory in transcript.memories:
        with st.container(key=f"memory {memory.id}"), errors_shown():
            key = f"text of memory {memory.id} of {session}"
            st.session_state.setdefault(key, memory.text)
            st.text_area(
                t("memory.pinned") if memory.pinned else t("memory.summary"), key=key, height=80, max_chars=1000,
                help="\n\n".join(page.plain(f"{turn.speaker}: {turn.text}") for turn in memory.turns[:6]) or None,
                on_change=_edit, args=(page, session, memory.id, key),
            )  # fmt: skip
            with st.container(horizontal=True):
                if not memory.pinned:
                    st.button(
                        t("memory.pin"), key=f"pin memory {memory.id}", icon=":material/keep:", type="tertiary",
                        on_click=_change, args=(page, session, memory.id, "", True),
                    )  # fmt: skip
                st.button(
                    t("memory.forget"), key=f"forget memory {memory.id}", icon=":material/delete:", type="tertiary",
                    on_click=_change, args=(page, session, memory.id),
                )  # fmt: skip


def _edit(page: PageContext, session: str, memory_id: str, key: str) -> None:
    if text := str(st.session_state.get(key, "")).strip():
        _change(page, session, memory_id, text)


def _change(page: PageContext, session: str, memory_id: str, text: str = "", pin: bool = False) -> None:
    with errors_shown():
        conversations.change_memory(page.settings, page.visitor, session, memory_id, text=text, pin=pin)
