"""The page of a citation with its quote marked: a picture for a PDF, else text."""

from __future__ import annotations

import streamlit as st

from apps.parts.context import PageContext
from apps.parts.display import escape, show_highlighted
from egosrag import ManualIndex
from egosrag.host import manuals
from egosrag.host.manuals import Citation
from egosrag.host.uploads import Upload


def open_cited_page(citation: Citation | None) -> None:
    """Open the page of a citation beside the answer; None closes it."""
    st.session_state["cited"] = citation


def show_cited_page(page: PageContext, index: ManualIndex, citation: Citation, documents: dict[str, Upload]) -> None:
    """Show the page.

    Raises:
        SourceError, StoreError: see :func:`egosrag.host.manuals.cited_page`.
    """
    t = page.t
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(t("manual.page", page=citation.page), anchor=False)
        st.button(
            t("manual.close"), key="close-beside", icon=":material/close:", type="tertiary", on_click=open_cited_page,
            args=(None,),
        )  # fmt: skip
    document = documents.get(citation.source)
    st.caption(escape(document.name if document else t("manual.deleted")))
    view = manuals.cited_page(index, citation, documents)
    if view.picture is None:
        show_highlighted(view.page.text, view.start, view.end)
        return
    st.image(view.picture.pixels, width="stretch")
    with st.expander(t("manual.as_text")):
        show_highlighted(view.page.text, view.start, view.end)
