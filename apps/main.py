"""The frame around every page: the language, the model, and which pages there are."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from apps import parts

PAGES = {  # file: icon; the title is the words' "pages.<file>"
    "roleplay": ":material/chat:",
    "roles": ":material/person:",
    "compare": ":material/compare:",
    "manual": ":material/menu_book:",
    "results": ":material/bar_chart:",
    "training": ":material/show_chart:",
}


def main() -> None:
    """Show the frame, and the page that was chosen in it."""
    folder = Path(__file__).parent
    st.set_page_config(page_title="EGOS-RAG", page_icon=folder / "icon.png", layout="wide")
    here = parts.frame()
    pages = [
        st.Page(folder / f"{name}.py", title=here.words(f"pages.{name}"), icon=icon, url_path=name, default=not n)
        for n, (name, icon) in enumerate(PAGES.items())
        if (folder / f"{name}.py").is_file()
    ]
    st.navigation(pages, position="top").run()


main()
