"""The list of a visitor's conversations in the sidebar: open, search, rename, pin, export, delete and bring back."""

from __future__ import annotations

import streamlit as st

from apps.parts.context import PageContext
from apps.parts.deleted_list import show_deleted, show_undo
from apps.parts.display import errors_shown, escape
from egosrag import EgosRagError
from egosrag.host import conversation_catalog, conversations, trash, visits
from egosrag.host.conversation_catalog import ConversationInfo

SHOWN = 40
EXPORTS = ("json", "jsonl", "md")


def open_session(page: PageContext) -> str | None:
    """The session that is open: the one that was chosen, or the one of the last visit; None: the gallery is."""
    state = st.session_state
    if "session" not in state:
        state["session"] = visits.recall(page.visitor).get("session")
    session: str | None = state["session"]
    if session:
        try:
            conversations.role_ids(page.visitor, session)
        except EgosRagError:
            session = state["session"] = None
    visits.remember(page.visitor, session=session)
    return session


def conversation_list(page: PageContext, session: str | None) -> None:
    """Show the list."""
    t = page.t
    with page.side:
        st.button(
            t("list.new"), icon=":material/add:", type="primary", width="stretch", key="new", on_click=_open,
            args=(None,),
        )  # fmt: skip
        infos = conversation_catalog.list_conversations(page.settings, page.visitor)
        with errors_shown():
            if error := st.session_state.pop("list error", None):
                raise error
            show_undo(page, st.session_state.get("undo"), _bring_back)
        words = st.text_input(
            t("list.search"), key="search", placeholder=t("list.search"), label_visibility="collapsed",
            icon=":material/search:", live=True,
        ) if len(infos) > 3 or st.session_state.get("search") else ""  # fmt: skip
        found: dict[str, str] = {}
        if words and words.strip():
            for hit in conversation_catalog.search_conversations(page.settings, page.visitor, words):
                found.setdefault(hit.session, hit.excerpt)
            by_name = [i.session for i in infos if words.casefold() in f"{i.title} {i.name}".casefold()]
            infos = [info for info in infos if info.session in found or info.session in by_name]
            if not infos:
                st.caption(t("list.nothing"))
        with st.container(key="list conversations"):
            unpinned = None
            for number, info in enumerate(infos[:SHOWN]):
                if not info.pinned:
                    if heading := page.day_heading(info.at, unpinned):
                        st.caption(heading)
                    unpinned = info.at
                _show_row(page, info, number, info.session == session, found.get(info.session, ""))
        if len(infos) > SHOWN:
            st.caption(t("list.more", n=len(infos) - SHOWN))
        show_deleted(page, "conversation", _bring_back)


def _open(session: str | None) -> None:
    st.session_state["session"] = session
    for name in ("action", "editing", *(["undo"] if session else [])):
        st.session_state.pop(name, None)


def _show_row(page: PageContext, info: ConversationInfo, number: int, is_open: bool, excerpt: str) -> None:
    icon = ":material/keep:" if info.pinned else None
    label = f"{escape(info.title or info.name, 60)} · {page.time(info.at)}"
    with st.container(key=f"row-{'open' if is_open else number}", horizontal=True, vertical_alignment="center"):
        st.button(
            label, key=f"open {info.session}", type="tertiary", width="stretch", icon=icon, on_click=_open,
            args=(info.session,),
        )  # fmt: skip
        if is_open:
            menu = st.popover("", icon=":material/more_horiz:", type="tertiary", key=f"menu {info.session}")
            with menu, errors_shown():
                _show_menu(page, info)
    if excerpt:
        st.caption(escape(excerpt, 140))


def _show_menu(page: PageContext, info: ConversationInfo) -> None:
    t, session = page.t, info.session
    key = f"title of {session}"
    with st.form(f"rename {session}", border=False):
        st.text_input(t("list.title"), info.title, max_chars=80, key=key)
        if st.form_submit_button(t("list.rename")):
            title = st.session_state[key]
            _open(conversation_catalog.rename_conversation(page.settings, page.visitor, session, title))
            st.rerun()
    pin = t("list.unpin" if info.pinned else "list.pin")
    if st.button(pin, icon=":material/keep:", key="pin", width="stretch"):
        conversation_catalog.pin_conversation(page.settings, page.visitor, session, not info.pinned)
        st.rerun()
    for extension in EXPORTS:
        st.download_button(
            t(f"list.{extension}"),
            lambda extension=extension: conversation_catalog.export_conversation(
                page.settings, page.visitor, session, extension
            ),
            conversation_catalog.export_name(info, extension),
            on_click="ignore",
            key=f"export {extension}",
            icon=":material/download:",
            width="stretch",
        )
    icon = ":material/delete:"
    st.button(t("list.delete"), icon=icon, key="delete", width="stretch", on_click=_delete, args=(page, session))


def _delete(page: PageContext, session: str) -> None:
    try:
        st.session_state["undo"] = trash.discard_conversation(page.settings, page.visitor, session)
    except EgosRagError as error:
        st.session_state["list error"] = error
        return
    _open(None)


def _bring_back(page: PageContext, deleted_id: str) -> None:
    st.session_state.pop("undo", None)
    try:
        _open(trash.bring_back(page.settings, page.visitor, deleted_id))
    except EgosRagError as error:
        st.session_state["list error"] = error
