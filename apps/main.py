"""The entry page of Streamlit: the shared sidebar and the navigation between the pages."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from apps import parts
from apps.parts.display import show_style
from apps.parts.pilot import pilot

PAGES = {  # file: icon; the title is the text "pages.<file>"
    "roleplay": ":material/chat:",
    "roles": ":material/person:",
    "compare": ":material/compare:",
    "manual": ":material/menu_book:",
    "results": ":material/bar_chart:",
    "training": ":material/show_chart:",
}


def main() -> None:
    """Show the sidebar, and run the page that the visitor chose."""
    folder = Path(__file__).parent
    st.set_page_config(page_title="EGOS-RAG", page_icon=folder / "icon.png", layout="wide")
    show_style()
    page = parts.sidebar()
    pages = [
        st.Page(folder / f"{name}.py", title=page.t(f"pages.{name}"), icon=icon, url_path=name, default=not n)
        for n, (name, icon) in enumerate(PAGES.items())
    ]
    current = st.navigation(pages, position="top")
    pilot(page.language)
    current.run()


main()
