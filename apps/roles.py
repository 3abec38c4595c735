"""The roles: looked at with their evidence, edited, uploaded, extracted out of texts, taken out as files."""

from __future__ import annotations

import streamlit as st

from apps import parts
from apps.parts.turns import ROLE
from egosrag.host import cards, edit, talks

TEXTS = ("pdf", "txt", "md", "html", "docx")


def main() -> None:
    """Three ways to a role, a tab each."""
    here = parts.begin()
    words = here.words
    names = [words("roles.look"), words("roles.upload"), words("roles.extract")]
    # Its key changes when a role was taken, and with it the tab that shows: the card.
    look, upload, extract = st.tabs(names, key=f"tabs {st.session_state.get('taken', 0)}")
    with upload, parts.told():
        _upload(here)
    with extract, parts.told():
        _extract(here)
    with look, parts.told():
        _look(here)


def _upload(here: parts.Here) -> None:
    words, number = here.words, st.session_state.get("taken", 0)  # a key of its own empties a field for the next file
    if upload := parts.upload(here, words("roles.card"), cards.ENDINGS, key=f"card {number}"):
        with parts.told():
            _taken(here, cards.add(here.visitor, upload))
    if talk := parts.upload(here, words("roles.talk"), ["json", "jsonl"], key=f"talk {number}"):
        with parts.told():
            st.session_state["session"] = talks.imported(here.settings, here.visitor, talk)
            st.session_state["taken"] = number + 1
            st.switch_page("roleplay.py")


def _extract(here: parts.Here) -> None:
    words = here.words
    with st.form("extract", border=False):
        name = st.text_input(words("roles.name"), max_chars=80, help=words("roles.name_help"))
        files = parts.upload(here, words("roles.files"), TEXTS, several=True)
        pasted = st.text_area(words("roles.pasted"), height=160, max_chars=200_000)
        sent = st.form_submit_button(words("roles.read"), type="primary")
    if sent:
        texts = cards.read(files, pasted, words("roles.pasted_name"))
        model = parts.model(here)
        with parts.turn(here) as turn, parts.progress(words("roles.reading"), turn) as progress:
            kept = cards.extract(here.settings, here.visitor, texts, name, model, progress)
        _taken(here, kept)


def _taken(here: parts.Here, kept: cards.Kept) -> None:
    st.session_state["role"] = kept.id
    st.session_state["taken"] = st.session_state.get("taken", 0) + 1
    st.toast(here.words("roles.taken", name=parts.label(kept.name)))
    st.rerun()


def _look(here: parts.Here) -> None:
    words = here.words
    names = cards.names(here.visitor, here.language)
    at = list(names).index(st.session_state["role"]) if st.session_state.get("role") in names else 0
    chosen = st.selectbox(words("roles.role"), list(names), at, format_func=names.get)
    st.session_state["role"] = chosen
    kept = cards.find(here.visitor, chosen)
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(words("roles.start"), type="primary", icon=":material/chat:"):
            st.session_state["session"] = talks.new_session(here.visitor, [kept.id])
            st.switch_page("roleplay.py")
        for ending in ("json", "png"):
            st.download_button(
                words(f"roles.{ending}"),
                lambda ending=ending: cards.download(kept, ending),
                f"role.{ending}",
                on_click="ignore",
                key=f"role as {ending}",
            )
        editing = st.toggle(words("roles.edit"), key="edit role")
        if kept.own:
            st.button(words("roles.delete"), icon=":material/delete:", on_click=cards.remove, args=(here.visitor, kept))
    if editing:
        _edit(here, kept)
    else:
        _card(here, kept)


def _card(here: parts.Here, kept: cards.Kept) -> None:
    role = cards.load(kept)
    st.subheader(parts.label(role.name))
    if role.greeting:
        with st.chat_message("assistant", avatar=ROLE):
            parts.text(role.greeting)
    for field in edit.LISTS:
        statements = getattr(role, field)
        if statements:
            st.caption(here.words(f"roles.{field}"))
        for statement in statements:
            parts.text(statement.text)
            if statement.evidence:
                with st.expander(here.words("roles.evidence", source=parts.label(statement.evidence[0].source))):
                    for place in statement.evidence:
                        parts.text(place.quote)
    if role.sample_dialogue:
        st.caption(here.words("roles.sample_dialogue"))
        for line in role.sample_dialogue:
            parts.text(f"{line.speaker}: {line.text}")


def _edit(here: parts.Here, kept: cards.Kept) -> None:
    role = cards.load(kept)
    with st.form(f"edit {kept.id}", border=False):
        texts = {
            field: st.text_input(here.words(f"roles.{field}"), text, max_chars=80)
            if field == "name"
            else st.text_area(here.words(f"roles.{field}"), text, height=min(320, 90 + 24 * text.count("\n")))
            for field, text in edit.as_texts(role).items()
        }
        if st.form_submit_button(here.words("roles.save"), type="primary"):
            _taken(here, cards.change(here.visitor, kept, edit.edited(role, texts)))


main()
