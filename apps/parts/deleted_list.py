"""Deleted conversations, with roles or about documents: the last one to undo, and all that can be brought back."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from apps.parts.context import PageContext
from apps.parts.display import escape
from egosrag.host import trash

BringBack = Callable[[PageContext, str], None]  # the callback of the buttons; gets the id of a deleted conversation


def show_undo(page: PageContext, deleted: trash.Deleted | None, bring_back: BringBack) -> None:
    """What was just deleted, with a button that brings it back."""
    if deleted:
        with st.container(horizontal=True, vertical_alignment="center", key="undo-bar"):
            st.caption(page.t("list.deleted", name=escape(deleted.name, 40)))
            st.button(page.t("list.undo"), key="undo deletion", on_click=bring_back, args=(page, deleted.id))


def show_deleted(page: PageContext, kind: str, bring_back: BringBack) -> None:
    """The deleted conversations of a kind, folded, each with buttons that bring it back or delete it for good.

    Args:
        page: the page's context.
        kind: "conversation" or "documents", see :class:`egosrag.host.trash.Deleted`.
        bring_back: called when one is to be brought back.
    """
    t = page.t
    deleted = trash.list_deleted(page.visitor, kind)
    if not deleted:
        return
    with st.expander(t("list.recently_deleted", n=len(deleted)), icon=":material/delete:", key="deleted"):
        st.caption(t("list.kept", days=trash.KEPT_DAYS))
        for one in deleted:
            st.text(f"{one.name} · {page.time(one.at)}")
            with st.container(horizontal=True):
                st.button(t("list.bring_back"), key=f"back {one.id}", on_click=bring_back, args=(page, one.id))
                st.button(t("list.forget"), key=f"forget {one.id}", on_click=trash.forget, args=(page.visitor, one.id))
