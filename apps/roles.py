"""The visitor's roles: cards with their evidence, to edit, upload, extract from texts and download."""

from __future__ import annotations

import streamlit as st

from apps import parts
from egosrag.host import card_editor, cards, conversations

TEXT_EXTENSIONS = ("pdf", "txt", "md", "html", "docx")


def main() -> None:
    """Show the tabs: a card, an upload, an extraction."""
    page = parts.page_context()
    t = page.t
    names = [t("roles.view"), t("roles.upload"), t("roles.extract")]
    # A new key after each added role resets the tabs to the first one, which shows the card.
    view, upload, extract = st.tabs(names, key=f"tabs {st.session_state.get('added', 0)}")
    with upload, parts.errors_shown():
        _show_upload(page)
    with extract, parts.errors_shown():
        _show_extract(page)
    with view, parts.errors_shown():
        _show_role(page)


def _show_upload(page: parts.PageContext) -> None:
    t, number = page.t, st.session_state.get("added", 0)  # a new key empties the uploader for the next file
    if card := parts.upload_one(page, t("roles.card"), cards.EXTENSIONS, key=f"card {number}"):
        with parts.errors_shown():
            _select_added(page, cards.add_upload(page.visitor, card))
    if file := parts.upload_one(page, t("roles.conversation"), ["json", "jsonl"], key=f"conversation {number}"):
        with parts.errors_shown():
            st.session_state["session"] = conversations.import_conversation(page.settings, page.visitor, file)
            st.session_state["added"] = number + 1
            st.switch_page("roleplay.py")


def _show_extract(page: parts.PageContext) -> None:
    t = page.t
    with st.form("extract", border=False):
        name = st.text_input(t("roles.name"), max_chars=80, help=t("roles.name_help"))
        files = parts.upload_several(page, t("roles.files"), TEXT_EXTENSIONS)
        pasted = st.text_area(t("roles.pasted"), height=160, max_chars=200_000)
        submitted = st.form_submit_button(t("roles.run_extract"), type="primary")
    if submitted:
        texts = cards.read_texts(files, pasted, t("roles.pasted_name"))
        model = parts.chat_model(page)
        with parts.model_slot(page) as slot, parts.progress_bar(t("roles.reading"), slot) as progress:
            stored = cards.extract(page.settings, page.visitor, texts, name, model, progress)
        _select_added(page, stored)


def _select_added(page: parts.PageContext, stored: cards.StoredRole) -> None:
    """Run the page again, on the card that was added."""
    st.session_state["role"] = stored.id
    st.session_state["added"] = st.session_state.get("added", 0) + 1
    st.toast(page.t("roles.added", name=parts.escape(stored.name)))
    st.rerun()


def _show_role(page: parts.PageContext) -> None:
    t = page.t
    labels = cards.labels(page.visitor, page.language)
    index = list(labels).index(st.session_state["role"]) if st.session_state.get("role") in labels else 0
    chosen = st.selectbox(t("roles.role"), list(labels), index, format_func=labels.get)
    st.session_state["role"] = chosen
    stored = cards.find(page.visitor, chosen)
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(t("roles.start"), type="primary", icon=":material/chat:"):
            st.session_state["session"] = conversations.new_session(page.visitor, [stored.id])
            st.switch_page("roleplay.py")
        for extension in ("json", "png"):
            st.download_button(
                t(f"roles.{extension}"),
                lambda extension=extension: cards.export(stored, extension),
                f"role.{extension}",
                on_click="ignore",
                key=f"role as {extension}",
            )
        editing = st.toggle(t("roles.edit"), key="edit role")
        if stored.is_own:
            args = (page.visitor, stored)
            st.button(t("roles.delete"), icon=":material/delete:", on_click=cards.delete, args=args)
    if editing:
        _show_editor(page, stored)
    else:
        _show_card(page, stored)


def _show_card(page: parts.PageContext, stored: cards.StoredRole) -> None:
    role = cards.load(stored)
    if picture := stored.thumbnail():
        st.image(picture, width=160)
    st.subheader(parts.escape(role.name))
    if role.greeting:
        with st.chat_message("assistant", avatar=parts.ROLE_ICON):
            parts.show_text(role.greeting)
    for field in card_editor.STATEMENT_FIELDS:
        statements = getattr(role, field)
        if statements:
            st.caption(page.t(f"roles.{field}"))
        for statement in statements:
            parts.show_text(statement.text)
            if statement.evidence:
                source = parts.escape(statement.evidence[0].source)
                with st.expander(page.t("roles.evidence", source=source)):
                    for evidence in statement.evidence:
                        parts.show_text(evidence.quote)
    if role.sample_dialogue:
        st.caption(page.t("roles.sample_dialogue"))
        for line in role.sample_dialogue:
            parts.show_text(f"{line.speaker}: {line.text}")


def _show_editor(page: parts.PageContext, stored: cards.StoredRole) -> None:
    role = cards.load(stored)
    with st.form(f"edit {stored.id}", border=False):
        fields = {
            field: st.text_input(page.t(f"roles.{field}"), text, max_chars=80)
            if field == "name"
            else st.text_area(page.t(f"roles.{field}"), text, height=min(320, 90 + 24 * text.count("\n")))
            for field, text in card_editor.card_to_fields(role).items()
        }
        if st.form_submit_button(page.t("roles.save"), type="primary"):
            _select_added(page, cards.update(page.visitor, stored, card_editor.apply_fields(role, fields)))


main()
