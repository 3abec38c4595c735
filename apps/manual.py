"""Questions about documents: each part of an answer links to the page that supports it, with the quote marked."""

from __future__ import annotations

import uuid

import streamlit as st

from apps import parts
from apps.parts.answers import show_exchange
from apps.parts.cited_page import show_cited_page
from apps.parts.document_list import document_list, open_chat
from apps.parts.documents import Documents, choose_documents, index_of, show_other_programs
from egosrag import EgosRagError, ManualIndex, assemble
from egosrag.host import document_chats, manuals, visits
from egosrag.host.document_chats import DocumentChat
from egosrag.host.manuals import AnswerProgress

ANSWER_ICON = ":material/menu_book:"


def main() -> None:
    """Show the documents, the questions and answers, and beside them the page of a citation."""
    page = parts.page_context()
    t = page.t
    with parts.errors_shown():
        chat = open_chat(page)
        document_list(page, chat)
        with st.container(key="reading"):
            documents = choose_documents(page)
            if documents:
                show_other_programs(page, documents)
            else:
                st.info(t("manual.none"))
            index = index_of(page, documents) if documents else None
            label = t("manual.ask") if index else t("manual.wait")
            with st.bottom:  # open while documents are prepared: Streamlit drops what is sent to a disabled field
                question = st.chat_input(
                    label, key="question", submit_mode="stop", max_chars=2000, disabled=not documents
                )
            question = question or st.session_state.pop("ask", None) or _waiting_question(chat)
            names = manuals.list_documents(page.visitor, page.language)
            for number, exchange in enumerate(chat.exchanges):
                if not (question and exchange.answer is None):
                    show_exchange(page, names, chat, number, exchange)
            if question and index:
                _ask(page, index, documents, chat, question)
            elif question:
                _let_wait(page, documents, chat, question)
            if not (chat.exchanges or question):
                _show_beginning(page, chat, index is not None)
        _show_beside(page, index, names)


def _show_beginning(page: parts.PageContext, chat: DocumentChat, ready: bool) -> None:
    t = page.t
    parts.show_html('<p class="hero">{}</p><p class="lead">{}</p>', t("manual.title"), t("manual.begin"))
    chosen = st.session_state.get("manual_pick", [])
    if ready and set(chosen) <= set(manuals.SAMPLES.values()):
        with st.container(horizontal=True, key="hints"):
            for hint in ("one", "two", "three"):
                text = t(f"manual.hint_{hint}")
                st.button(text, key=f"hint {hint}", on_click=_ask_again, args=(text,))


def _ask_again(question: str) -> None:
    st.session_state["ask"] = question


def _ask(page: parts.PageContext, index: ManualIndex, documents: Documents, chat: DocumentChat, question: str) -> None:
    """Store the question, stream the answer, and where chosen the one without the documents; then run again."""
    t = page.t
    history = chat.history
    alone_history = [(e.question, e.without_document) for e in chat.exchanges if e.without_document]
    chat = _store_question(page, documents, chat, question)
    st.session_state.pop("answer failed", None)
    with st.chat_message("user", avatar=parts.USER_ICON):
        parts.show_said(question, mine=True)
    run_id, alone = uuid.uuid4(), None
    with st.chat_message("assistant", avatar=ANSWER_ICON):
        both = st.session_state.get("manual_alone", False)
        with_documents, without_documents = st.columns(2) if both else (st.container(), None)
        with with_documents:
            place = st.empty()
            parts.show_step(place, t("manual.searching"))
        try:
            model = parts.chat_model(page)
            engine = assemble.manual(page.settings, index=index, model=model)
            with parts.model_slot(page):
                stream = engine.stream(question, history, {"run_id": run_id})
                answer = parts.show_stream(stream, place, lambda step: _words_of(page, step))
                if without_documents:
                    with without_documents:
                        alone = parts.show_stream(manuals.answer_without_document(model, question, alone_history)).text
        except EgosRagError as error:
            st.session_state["answer failed"] = str(error)
            st.rerun()
    document_chats.save_chat(page.visitor, chat.answered(answer, alone, str(run_id), page.settings.model))
    if answer.citations and st.session_state.get("cited"):
        st.session_state["cited"] = answer.citations[0]  # the page that is open follows the conversation
    st.rerun()


def _let_wait(page: parts.PageContext, documents: Documents, chat: DocumentChat, question: str) -> None:
    """Show a question that was sent before its documents are ready; it is answered then."""
    chat = _store_question(page, documents, chat, question)
    st.session_state["waiting question"] = (chat.id, question)
    with st.chat_message("user", avatar=parts.USER_ICON):
        parts.show_said(question, mine=True)


def _waiting_question(chat: DocumentChat) -> str | None:
    """The question of this chat that waits for its documents."""
    chat_id, question = st.session_state.pop("waiting question", ("", None))
    return question if chat_id == chat.id else None


def _store_question(page: parts.PageContext, documents: Documents, chat: DocumentChat, question: str) -> DocumentChat:
    """The chat with the question, stored at once: a reload may come before the answer."""
    names = tuple(document.name for document in documents.values())
    chat = chat.asked(question).model_copy(update={"documents": tuple(documents), "names": names})
    document_chats.save_chat(page.visitor, chat)
    st.session_state["chat"] = chat.id
    visits.remember(page.visitor, chat=chat.id)
    return chat


def _words_of(page: parts.PageContext, step: AnswerProgress) -> str:
    """The step in words: the pages that were found."""
    pages = manuals.pages_found(step)
    if pages is None:
        return ""
    return page.t("manual.reading", pages=", ".join(map(str, pages))) if pages else page.t("manual.found_nothing")


def _show_beside(page: parts.PageContext, index: ManualIndex | None, names: Documents) -> None:
    cited = st.session_state.get("cited")
    if cited and index:
        with st.container(key="beside"), parts.errors_shown():
            show_cited_page(page, index, cited, names)


main()
