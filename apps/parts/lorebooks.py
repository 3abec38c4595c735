"""The lorebooks of a visitor: chosen for a conversation, and edited entry by entry."""

from __future__ import annotations

from typing import Any

import streamlit as st

from apps.parts.context import PageContext
from apps.parts.display import errors_shown, escape
from apps.parts.uploads import upload_one
from egosrag.host import conversations, lorebooks
from egosrag.host.lorebooks import Lorebook, LoreEntry, StoredLorebook


def lorebook_picker(page: PageContext, session: str) -> None:
    """Show the lorebooks of a conversation, to choose among those of the visitor, and an uploader for another."""
    t, key = page.t, f"lorebooks of {session}"
    labels = lorebooks.labels(page.visitor)
    chosen = conversations.choices_of(page.visitor, session).lorebooks
    st.session_state[key] = [book for book in chosen if book in labels]
    st.multiselect(
        t("lorebooks.choose"),
        list(labels),
        key=key,
        format_func=labels.get,
        on_change=lambda: conversations.choose(page.visitor, session, lorebooks=st.session_state[key]),
    )
    with st.popover(t("lorebooks.edit_books"), icon=":material/edit:"), errors_shown():
        if added := _upload(page):
            conversations.choose(page.visitor, session, lorebooks=[*chosen, added.id])
            st.rerun()
        if labels:
            first = next((book for book in chosen if book in labels), next(iter(labels)))
            _show_editor(page, labels, first)


def _upload(page: PageContext) -> StoredLorebook | None:
    number = st.session_state.get("added lorebooks", 0)  # a new key empties the uploader for the next file
    file = upload_one(page, page.t("lorebooks.upload"), lorebooks.EXTENSIONS, key=f"lorebook {number}")
    if not file:
        return None
    stored = lorebooks.add_upload(page.visitor, file)
    st.session_state["added lorebooks"] = number + 1
    return stored


def _show_editor(page: PageContext, labels: dict[str, str], first: str) -> None:
    """An entry of a lorebook as a form; a new one is added at the end."""
    t, visitor = page.t, page.visitor
    books = list(labels)
    book_id = st.selectbox(
        t("lorebooks.lorebook"), books, books.index(first), key=f"lorebook {first} {books}", format_func=labels.get
    )
    stored = lorebooks.find(visitor, book_id)
    book = lorebooks.load(stored)
    entries = lorebooks.entry_labels(book)
    chosen = st.selectbox(
        t("lorebooks.entry"), range(len(entries) + 1), key=f"entry of {book_id} {list(entries.values())}",
        format_func=lambda number: entries.get(number, t("lorebooks.new")),
    )  # fmt: skip
    number = chosen if chosen in entries else None
    entry = LoreEntry() if number is None else book.entries[number]
    if fields := _show_entry(page, f"{book_id} {chosen}", entry):
        _save(page, lorebooks.with_entry(book, number, fields), stored)
    with st.container(horizontal=True):
        if number is not None and st.button(t("lorebooks.delete_entry"), icon=":material/remove:"):
            _save(page, lorebooks.without_entry(book, number), stored)
        st.download_button(
            t("lorebooks.download"), stored.path.read_bytes, "lorebook.json", on_click="ignore", key="lorebook as json"
        )
        if st.button(t("lorebooks.delete"), icon=":material/delete:"):
            lorebooks.delete(visitor, stored)
            st.rerun()


def _show_entry(page: PageContext, key: str, entry: LoreEntry) -> dict[str, Any] | None:
    """The form of an entry; its fields when they are to be saved."""
    t = page.t
    key += f" {hash(entry.model_dump_json())}"  # what another window saved is shown
    with st.form(f"entry {key}", border=False):
        keys = st.text_area(
            t("lorebooks.keys"), "\n".join(entry.keys), height=90, help=t("lorebooks.keys_help"), key=f"keys {key}"
        )
        content = st.text_area(t("lorebooks.content"), entry.content, max_chars=8000, key=f"content {key}")
        enabled = st.toggle(t("lorebooks.enabled"), entry.enabled, key=f"enabled {key}")
        constant = st.toggle(t("lorebooks.constant"), entry.constant, key=f"constant {key}")
        if st.form_submit_button(t("lorebooks.save"), type="primary"):
            return {"keys": keys.splitlines(), "content": content, "enabled": enabled, "constant": constant}
    return None


def _save(page: PageContext, book: Lorebook, stored: StoredLorebook) -> None:
    lorebooks.save(page.visitor, book, stored.id)
    st.toast(page.t("lorebooks.saved", name=escape(stored.name)))
    st.rerun()
