"""The gallery of roles: what this is, what the model can do, and a card for each role that begins a conversation."""

from __future__ import annotations

import streamlit as st

from apps.parts.context import PageContext
from apps.parts.display import errors_shown, show_html
from apps.parts.model_picker import model_note
from apps.parts.uploads import upload_one
from egosrag import EgosRagError
from egosrag.host import cards, conversation_catalog, conversations
from egosrag.host.portraits import portrait

COLUMNS = 2


def gallery(page: PageContext) -> None:
    """Show the gallery; a choice becomes the open conversation."""
    t = page.t
    show_html('<p class="hero">{}</p><p class="lead">{}</p>', t("gallery.title"), t("gallery.lead"))
    model_note(page)
    roles = cards.list_roles(page.visitor, page.language)
    for start in range(0, len(roles), COLUMNS):
        columns = st.columns(COLUMNS)
        for column, stored in zip(columns, roles[start : start + COLUMNS], strict=False):
            with column, errors_shown():
                _show_card(page, stored)
    with st.container(horizontal=True, key="more"):
        if st.button(t("gallery.make"), key="make role", icon=":material/edit_note:"):
            number = st.session_state["added"] = st.session_state.get("added", 0) + 1  # the tabs begin anew
            st.session_state[f"tab {number}"] = "extract"
            st.switch_page("roles.py")
    with st.expander(t("gallery.scene"), icon=":material/groups:"):
        _show_scene(page)
    with st.expander(t("gallery.import"), icon=":material/upload:"), errors_shown():
        _show_import(page)


def start_conversation(page: PageContext, role_ids: list[str]) -> None:
    """Open a new conversation with these roles."""
    st.session_state["session"] = conversations.new_session(page.visitor, role_ids)
    st.session_state["galleries"] = st.session_state.get("galleries", 0) + 1  # its widgets begin anew


def _show_card(page: PageContext, stored: cards.StoredRole) -> None:
    t = page.t
    try:
        role = cards.load(stored)
    except EgosRagError:  # a damaged card is shown as such on the page of roles
        return
    with st.container(key=f"card-{stored.id.replace('.', '-')}"):
        greeting = cards.greeting_line(role)
        show_html(
            '<div class="card"><img src="{}" alt=""><div><b>{}</b><p>{}</p><p><q>{}</q></p></div></div>',
            portrait(stored, role.name), role.name, cards.about(role), greeting,
        )  # fmt: skip
        st.button(
            t("gallery.talk", name=page.plain(role.name)), key=f"talk {stored.id}", type="primary", width="stretch",
            on_click=start_conversation, args=(page, [stored.id]),
        )  # fmt: skip


def _show_scene(page: PageContext) -> None:
    t, number = page.t, st.session_state.get("galleries", 0)
    labels = cards.labels(page.visitor, page.language)
    most = conversations.SCENE_ROLES
    key = f"scene {number}"
    chosen = st.multiselect(t("gallery.roles"), labels, max_selections=most, format_func=labels.get, key=key)
    st.button(
        t("gallery.start"), key="start scene", disabled=not chosen, on_click=start_conversation, args=(page, chosen)
    )


def _show_import(page: PageContext) -> None:
    t, number = page.t, st.session_state.get("galleries", 0)
    if card := upload_one(page, t("gallery.card"), cards.EXTENSIONS, key=f"gallery card {number}"):
        start_conversation(page, [cards.add_upload(page.visitor, card).id])
        st.rerun()
    if file := upload_one(page, t("roles.conversation"), ["json", "jsonl"], key=f"gallery conversation {number}"):
        st.session_state["session"] = conversation_catalog.import_conversation(page.settings, page.visitor, file)
        st.session_state["galleries"] = number + 1
        st.rerun()
