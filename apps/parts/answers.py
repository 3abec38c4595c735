"""A question and its answer: the text with a small button to each cited page, how reliable it is, and a rating."""

from __future__ import annotations

import streamlit as st

from apps.parts.cited_page import open_cited_page
from apps.parts.context import PageContext
from apps.parts.display import USER_ICON, error_text, errors_shown, escape, show_said
from egosrag import Answer
from egosrag.host import feedback, manuals
from egosrag.host.document_chats import DocumentChat, Exchange
from egosrag.host.markup import cited_markup
from egosrag.host.uploads import Upload

ANSWER_ICON = ":material/menu_book:"


def show_exchange(
    page: PageContext, documents: dict[str, Upload], chat: DocumentChat, number: int, exchange: Exchange
) -> None:
    """Show a question and its answer; one that has none can be asked again."""
    with st.chat_message("user", avatar=USER_ICON):
        show_said(exchange.question, mine=True)
    if exchange.answer is None:
        _show_unanswered(page, exchange)
        return
    with st.chat_message("assistant", avatar=ANSWER_ICON):
        if exchange.without_document is None:
            _show_answer(page, documents, chat, number, exchange, exchange.answer)
            return
        with_documents, without_documents = st.columns(2)
        with with_documents:
            st.caption(page.t("manual.with"))
            _show_answer(page, documents, chat, number, exchange, exchange.answer)
        with without_documents:
            st.caption(page.t("manual.without"))
            show_said(exchange.without_document)


def _show_unanswered(page: PageContext, exchange: Exchange) -> None:
    failure = st.session_state.get("answer failed")
    if failure:
        st.error(escape(error_text(failure), 600))
    with st.container(horizontal=True, vertical_alignment="center", key="mytools unanswered"):
        if not failure:
            st.caption(page.t("manual.unanswered"))
        label = page.t("manual.ask_again")
        st.button(label, key="ask again", icon=":material/refresh:", on_click=_ask, args=(exchange.question,))


def _ask(question: str) -> None:
    st.session_state["ask"] = question


def _show_answer(
    page: PageContext, documents: dict[str, Upload], chat: DocumentChat, number: int, exchange: Exchange, answer: Answer
) -> None:
    shown = manuals.answer_parts(answer)
    keys = [f"page {number} {place}" if part.citation else "" for place, part in enumerate(shown)]
    labels = [_label(page, documents, chat, part) for part in shown]
    st.html(cited_markup([(part.text, label, key) for part, label, key in zip(shown, labels, keys, strict=True)]))
    with st.container(key=f"pressed {number}"):  # not visible: the buttons in the text press these
        for part, label, key in zip(shown, labels, keys, strict=True):
            if part.citation:
                st.button(escape(label), key=key, on_click=open_cited_page, args=(part.citation,))
    _show_reliability(page, answer)
    key = f"thumb {chat.id} {number}"
    with st.container(horizontal=True, gap="small", vertical_alignment="center", key=f"tools answer {number}"):
        st.button(":material/content_copy:", key=f"copy {number}", help=page.t("roleplay.copy"), type="tertiary")
        st.feedback("thumbs", key=key, on_change=_rate, args=(page, key, exchange, answer))
        if answer.timing.total_s:
            st.caption(page.t("manual.took", seconds=f"{answer.timing.total_s:.1f}"))


def _label(page: PageContext, documents: dict[str, Upload], chat: DocumentChat, part: manuals.AnswerPart) -> str:
    if not part.citation:
        return ""
    label = page.t("manual.page", page=part.citation.page)
    if len(chat.documents) < 2:
        return label
    document = documents.get(part.citation.source)
    stored = dict(zip(chat.documents, chat.names, strict=False))
    return f"{(document.name if document else stored.get(part.citation.source, ''))[:30]} · {label}"


def _show_reliability(page: PageContext, answer: Answer) -> None:
    reliability = manuals.reliability(answer)
    share = round(100 * answer.evidence)
    if reliability == "weak":
        st.warning(page.t("manual.weak", share=share), icon=":material/warning:")
    elif reliability != "supported":
        st.caption(page.t(f"manual.{reliability}", share=share))


def _rate(page: PageContext, key: str, exchange: Exchange, answer: Answer) -> None:
    thumb = st.session_state[key]
    if thumb is not None:
        about = {"page": "manual", "model": exchange.model or page.settings.model, "question": exchange.question}
        about |= {"answer": answer.answer, "citations": [c.model_dump() for c in answer.citations]}
        with errors_shown():
            feedback.rate(page.settings.data_dir, page.visitor, about, float(thumb), run=exchange.run_id)
