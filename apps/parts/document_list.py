"""The visitor's conversations about documents, in the sidebar: new, open, search, rename, pin, export, delete, undo."""

from __future__ import annotations

import streamlit as st

from apps.parts.context import PageContext
from apps.parts.deleted_list import show_deleted, show_undo
from apps.parts.display import errors_shown, escape
from apps.parts.documents import pick_documents
from egosrag import EgosRagError
from egosrag.host import document_chats, trash, visits
from egosrag.host.document_chats import DocumentChat

SHOWN = 40


def open_chat(page: PageContext) -> DocumentChat:
    """The chat that is open: the one that was chosen, or the one of the last visit; else a new one."""
    state = st.session_state
    if "chat" not in state:
        state["chat"] = visits.recall(page.visitor).get("chat")
    chat = DocumentChat()
    if state["chat"]:
        try:
            chat = document_chats.load_chat(page.visitor, state["chat"])
        except EgosRagError:
            state["chat"] = None
    visits.remember(page.visitor, chat=state["chat"])
    return chat


def document_list(page: PageContext, chat: DocumentChat) -> None:
    """Show the list."""
    t = page.t
    with page.side, errors_shown():
        st.button(
            t("list.new"), icon=":material/add:", type="primary", width="stretch", key="new chat", on_click=_open,
            args=(None,),
        )  # fmt: skip
        with errors_shown():
            if error := st.session_state.pop("list error", None):
                raise error
            show_undo(page, st.session_state.get("undo chat"), _bring_back)
        chats = document_chats.list_chats(page.visitor)
        if len(chats) > 3 or st.session_state.get("search chats"):
            words = st.text_input(
                t("list.search"), key="search chats", placeholder=t("list.search"), label_visibility="collapsed",
                icon=":material/search:", live=True,
            )  # fmt: skip
            chats = document_chats.list_chats(page.visitor, words or "")
            if not chats:
                st.caption(t("list.nothing"))
        with st.container(key="list chats"):
            unpinned = None
            for number, one in enumerate(chats[:SHOWN]):
                if not one.pinned:
                    if heading := page.day_heading(one.at, unpinned):
                        st.caption(heading)
                    unpinned = one.at
                _show_row(page, one, number, one.id == chat.id)
        if len(chats) > SHOWN:
            st.caption(t("list.more", n=len(chats) - SHOWN))
        show_deleted(page, "documents", _bring_back)


def _show_row(page: PageContext, chat: DocumentChat, number: int, is_open: bool) -> None:
    label = f"{escape(chat.label, 60)} · {page.time(chat.at)}"
    with st.container(key=f"row-{'open' if is_open else number}", horizontal=True, vertical_alignment="center"):
        st.button(
            label, key=f"open {chat.id}", type="tertiary", width="stretch", on_click=_open, args=(chat,),
            icon=":material/keep:" if chat.pinned else None,
        )  # fmt: skip
        if is_open:
            with st.popover("", icon=":material/more_horiz:", type="tertiary", key=f"menu {chat.id}"), errors_shown():
                _show_menu(page, chat)


def _show_menu(page: PageContext, chat: DocumentChat) -> None:
    t, key = page.t, f"title of {chat.id}"
    with st.form(f"rename {chat.id}", border=False):
        st.text_input(t("list.title"), chat.title, max_chars=80, key=key)
        if st.form_submit_button(t("list.rename")):
            document_chats.rename_chat(page.visitor, chat.id, st.session_state[key])
            st.rerun()
    if st.button(t("list.unpin" if chat.pinned else "list.pin"), icon=":material/keep:", key="pin", width="stretch"):
        document_chats.pin_chat(page.visitor, chat.id, not chat.pinned)
        st.rerun()
    for extension in ("json", "md"):
        st.download_button(
            t(f"list.{extension}"), document_chats.export_chat(chat, extension),
            document_chats.export_name(chat, extension), on_click="ignore", key=f"export {extension}",
            icon=":material/download:", width="stretch",
        )  # fmt: skip
    st.button(
        t("list.delete"), icon=":material/delete:", key="delete", width="stretch", on_click=_delete, args=(page, chat)
    )


def _open(chat: DocumentChat | None) -> None:
    """Open a chat with the documents that it is about; a new one keeps those that are chosen."""
    st.session_state["chat"] = chat.id if chat else None
    st.session_state["cited"] = None
    if chat:
        pick_documents(chat.documents)
        st.session_state.pop("undo chat", None)


def _delete(page: PageContext, chat: DocumentChat) -> None:
    try:
        st.session_state["undo chat"] = trash.discard_chat(page.visitor, chat)
    except EgosRagError as error:
        st.session_state["list error"] = error
        return
    _open(None)


def _bring_back(page: PageContext, deleted_id: str) -> None:
    st.session_state.pop("undo chat", None)
    try:
        _open(document_chats.load_chat(page.visitor, trash.bring_back(page.settings, page.visitor, deleted_id)))
    except EgosRagError as error:
        st.session_state["list error"] = error
