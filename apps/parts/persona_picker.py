"""Who the visitor is in a conversation: one of their personas, which are added, edited and deleted here."""

from __future__ import annotations

import streamlit as st

from apps.parts.context import PageContext
from apps.parts.display import errors_shown
from egosrag.host import conversations, personas
from egosrag.host.conversations import Transcript


def persona_picker(page: PageContext, transcript: Transcript) -> None:
    """Show the select box of the conversation's persona, and the editor of the visitor's personas."""
    t, session = page.t, transcript.session
    names = [persona.name for persona in personas.personas_of(page.visitor).all()]
    current = transcript.persona.name if transcript.persona else ""
    key = f"persona of {session}"
    st.session_state[key] = current
    st.selectbox(
        t("persona.choose"),
        list(dict.fromkeys(["", *names, current])),
        key=key,
        format_func=lambda name: name or t("persona.none"),
        help=t("persona.help"),
        on_change=lambda: conversations.choose(page.visitor, session, persona=st.session_state[key]),
    )
    with st.popover(t("persona.edit"), icon=":material/badge:"), errors_shown():
        _show_editor(page, session, current, names)


def _show_editor(page: PageContext, session: str, current: str, names: list[str]) -> None:
    """The form of a saved persona or a new one. A new persona is chosen for the conversation."""
    t = page.t
    options = ["", *names]
    edited = st.selectbox(
        t("persona.persona"), options, options.index(current) if current in names else 0,
        key=f"edited persona {current} {names}", format_func=lambda name: name or t("persona.new"),
    )  # fmt: skip
    persona = next((p for p in personas.personas_of(page.visitor).all() if p.name == edited), None)
    with st.form(f"persona {edited}", border=False):
        name = st.text_input(t("persona.name"), edited, max_chars=80, key=f"persona name {edited}")
        about = persona.description if persona else ""
        description = st.text_area(
            t("persona.description"), about, max_chars=4000, key=f"persona description {edited} {hash(about)}"
        )
        submitted = st.form_submit_button(t("persona.save"), type="primary")
    if submitted:
        saved = personas.save_persona(page.visitor, name, description, replaces=edited)
        if edited in ("", current):
            conversations.choose(page.visitor, session, persona=saved.name)
        st.rerun()
    if persona and st.button(t("persona.delete"), icon=":material/delete:"):
        personas.personas_of(page.visitor).remove(edited)
        if edited == current:
            conversations.choose(page.visitor, session, persona="")
        st.rerun()
