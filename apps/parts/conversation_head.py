"""The head of a conversation: with whom one talks, one line about them, the model; hints where nothing was said yet."""

from __future__ import annotations

import streamlit as st

from apps.parts.context import PageContext
from apps.parts.display import escape, show_html
from apps.parts.transcript import portraits_of, request_action
from egosrag import EgosRagError
from egosrag.host import cards, conversations
from egosrag.host.conversations import Transcript
from egosrag.host.model_choices import short_name

HINTS = ("who", "where", "story")


def show_head(page: PageContext, transcript: Transcript) -> None:
    """Show portraits, names and a line about the role; say so where another model has replied until now."""
    t = page.t
    pictures = portraits_of(page, transcript)
    title = conversations.title_of(transcript.session) or ", ".join(transcript.names)
    images = '<img src="{}" alt="">' * len(pictures)
    with st.container(key="head"):
        show_html(
            f'<div class="head" id="talk" data-id="{{}}">{images}<div><h1>{{}}</h1><p>{{}}</p></div></div>',
            transcript.session, *pictures.values(), title, _about(page, transcript),
        )  # fmt: skip
        model = page.settings.model
        before = conversations.choices_of(page.visitor, transcript.session).model
        if before and before != model:
            with st.container(horizontal=True, vertical_alignment="center", key="other-model"):
                st.caption(t("roleplay.other_model", before=escape(short_name(before)), now=escape(short_name(model))))
                label = t("roleplay.use_before", name=escape(short_name(before)))
                st.button(label, key="use before", on_click=_use, args=(before,))


def _use(model: str) -> None:
    st.session_state["model"] = model


def _about(page: PageContext, transcript: Transcript) -> str:
    if len(transcript.names) > 1:
        return page.t("roleplay.scene", n=len(transcript.names))
    try:
        (role_id,) = conversations.role_ids(page.visitor, transcript.session)
        return cards.about(cards.load(cards.find(page.visitor, role_id)))
    except (EgosRagError, ValueError):
        return page.t("roleplay.role_gone")


def show_hints(page: PageContext, transcript: Transcript) -> None:
    """Before the first line: what one may say, and where there is no greeting, that the visitor begins."""
    t = page.t
    if not transcript.turns:
        st.caption(t("roleplay.you_begin", name=escape(transcript.names[0])))
    with st.container(horizontal=True, key="hints"):
        for hint in HINTS:
            text = t(f"roleplay.hint_{hint}")
            st.button(text, key=f"hint {hint}", on_click=request_action, args=("message", None, text))
