"""The visitor's roles: cards with their evidence, to edit, upload, extract from texts, give a lorebook and download."""

from __future__ import annotations

import streamlit as st

from apps import parts
from apps.parts.jobs import background_jobs, show_job
from apps.parts.remember import remembered
from apps.parts.shared_model import model_of, model_queue
from egosrag.console import Reporter
from egosrag.host import card_editor, cards, conversation_catalog, conversations, lorebooks
from egosrag.host.jobs import in_turns
from egosrag.host.portraits import portrait

TEXT_EXTENSIONS = ("pdf", "txt", "md", "html", "docx")


def main() -> None:
    """Show the tabs: a card, an upload, an extraction."""
    page = parts.page_context()
    t = page.t
    names = [t("roles.view"), t("roles.upload"), t("roles.extract")]
    # A new key after each added role resets the tabs to the first one, which shows the card.
    number = st.session_state.get("added", 0)
    extracting = background_jobs().find(page.visitor.key, "extract")
    first = st.session_state.setdefault(f"tab {number}", "extract" if extracting else "view")
    view, upload, extract = st.tabs(names, key=f"tabs {number}", default=t(f"roles.{first}"))
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
            st.session_state["session"] = conversation_catalog.import_conversation(page.settings, page.visitor, file)
            st.session_state["added"] = number + 1
            st.switch_page("roleplay.py")


def _show_extract(page: parts.PageContext) -> None:
    """Extract a role in the background: it goes on while the page is reloaded or left."""
    t, number, jobs = page.t, st.session_state.get("added", 0), background_jobs()
    if stored := show_job(page, "extract"):
        _select_added(page, stored)
    if jobs.find(page.visitor.key, "extract"):
        return
    st.caption(t("roles.extract_lead"))
    with st.form(f"extract {number}", border=False):
        name = st.text_input(t("roles.name"), max_chars=80, help=t("roles.name_help"), key=f"extract name {number}")
        files = parts.upload_several(page, t("roles.files"), TEXT_EXTENSIONS, key=f"extract files {number}")
        key = f"extract text {number}"
        pasted = st.text_area(t("roles.pasted"), height=160, max_chars=200_000, key=key)
        submitted = st.form_submit_button(t("roles.run_extract"), type="primary")
    if submitted:
        texts = cards.read_texts(files, pasted, t("roles.pasted_name"))
        settings, visitor = page.settings, page.visitor

        def work(progress: Reporter) -> cards.StoredRole:
            return cards.extract(settings, visitor, texts, name, model_of(settings), progress)

        jobs.start(visitor.key, "extract", name, in_turns(model_queue(), visitor.key, work))
        st.rerun()


def _select_added(page: parts.PageContext, stored: cards.StoredRole) -> None:
    """Run the page again, on the card that was added."""
    st.session_state["role"] = stored.id
    st.session_state["added"] = st.session_state.get("added", 0) + 1
    st.toast(page.t("roles.added", name=parts.escape(stored.name)))
    st.rerun()


def _show_role(page: parts.PageContext) -> None:
    t = page.t
    labels = cards.labels(page.visitor, page.language)
    if added := st.session_state.pop("role", None):
        st.session_state["shown role"] = added
    key = remembered("shown role", next(iter(labels)), labels)
    stored = cards.find(page.visitor, st.selectbox(t("roles.role"), list(labels), key=key, format_func=labels.get))
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
            with st.popover(t("roles.delete"), icon=":material/delete:", key=f"delete {stored.id}"):
                st.caption(t("roles.delete_asks", name=parts.escape(stored.name)))
                args = (page.visitor, stored)
                st.button(t("roles.delete_really"), type="primary", on_click=cards.delete, args=args, key="delete role")
    if editing:
        _show_editor(page, stored)
    else:
        _show_card(page, stored)


def _show_card(page: parts.PageContext, stored: cards.StoredRole) -> None:
    role = cards.load(stored)
    picture = portrait(stored, role.name)
    head = '<div class="head"><img src="{}" alt=""><div><h1>{}</h1><p>{}</p></div></div>'
    parts.show_html(head, picture, role.name, cards.about(role))
    for greeting in filter(None, (role.greeting, *role.alternate_greetings)):
        with st.chat_message("assistant", avatar=picture):
            parts.show_said(greeting)
    _show_lorebook(page, stored, role)
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


def _show_lorebook(page: parts.PageContext, stored: cards.StoredRole, role: cards.Role) -> None:
    """The lorebook of the card, and the visitor's lorebooks to give it one of them."""
    t, books = page.t, lorebooks.labels(page.visitor)
    if not (books or role.lorebook):
        return
    entries = len(role.lorebook.entries) if role.lorebook else 0
    with st.expander(t("roles.lorebook", n=entries), icon=":material/auto_stories:"):
        for entry in role.lorebook.entries[:100] if role.lorebook else ():
            parts.show_text(f"{entry.label}: {entry.content}")
        if books:
            chosen = st.selectbox(t("roles.lorebook_choose"), list(books), key="role lorebook", format_func=books.get)
            if st.button(t("roles.lorebook_give", name=parts.escape(role.name))):
                book = lorebooks.load(lorebooks.find(page.visitor, chosen))
                _select_added(page, cards.give_lorebook(page.visitor, stored, book))
        if role.lorebook and st.button(t("roles.lorebook_take"), icon=":material/remove:"):
            _select_added(page, cards.give_lorebook(page.visitor, stored, None))


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
