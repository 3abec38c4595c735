"""Questions about documents: each sentence of an answer links to the page that supports it, with the quote marked."""

from __future__ import annotations

import uuid

import streamlit as st

from apps import parts
from egosrag import Answer, ManualIndex, assemble
from egosrag.host import feedback, manuals
from egosrag.host.manuals import Citation, Exchange
from egosrag.host.uploads import Upload, delete_upload

ANSWER_ICON = ":material/menu_book:"
Documents = dict[str, Upload]  # by source name in the index


@st.cache_resource(show_spinner=False)
def _indexes() -> manuals.IndexCache:
    return manuals.IndexCache()


def main() -> None:
    """Show the documents, the questions and answers, and beside them the page of a citation."""
    page = parts.page_context()
    t = page.t
    question = st.chat_input(t("manual.ask"), key="question", submit_mode="stop", max_chars=2000)
    with parts.errors_shown():
        documents = _choose_documents(page)
        if not documents:
            st.info(t("manual.none"))
            return
        with parts.progress_bar(t("manual.indexing")) as progress:
            index = _indexes().get(page.settings, list(documents.values()), progress)
        exchanges: list[Exchange] = st.session_state.setdefault(f"exchanges {sorted(documents)}", [])
        opened = st.session_state.get("cited")
        opened = opened if opened and opened.source in documents else None
        left, right = st.columns(2, gap="large") if opened else (st.container(width=760), None)
        if right:
            with right, parts.errors_shown():
                _show_cited_page(page, index, opened, documents)
        with left, parts.errors_shown():
            for number, exchange in enumerate(exchanges):
                _show_exchange(page, documents, number, exchange)
            if not (exchanges or question):
                st.caption(t("manual.begin"))
            if question:
                _ask(page, index, exchanges, question)


def _choose_documents(page: parts.PageContext) -> Documents:
    """The documents that the visitor selected among their own and the samples."""
    t, state = page.t, st.session_state
    samples = manuals.SAMPLES.values()
    with st.expander(t("manual.documents"), expanded=False):
        selection = st.container()
        uploads = parts.upload_several(page, t("manual.upload"), manuals.EXTENSIONS, key="manual_files")
        known = manuals.list_documents(page.visitor, page.language)
        names = {source: document.name for source, document in known.items()}
        chosen = state.get("manual_chosen", [manuals.SAMPLES[page.language]])
        seen = state.setdefault("manual_seen", set())
        if new := [upload.path.name for upload in uploads if upload.path.name not in seen]:
            seen.update(new)
            chosen = [*(c for c in chosen if c not in samples), *new]  # an upload replaces the sample
            state.pop("manual_pick", None)
        state.setdefault("manual_pick", [c for c in chosen if c in known])
        with selection:
            chosen = st.multiselect(t("manual.choose"), list(known), key="manual_pick", format_func=names.get)
        state["manual_chosen"] = chosen
        own = [known[c] for c in chosen if c not in samples]
        st.button(t("manual.delete"), disabled=not own, on_click=_delete, args=(page, own))
        st.toggle(t("manual.alone"), key="manual_alone", help=t("manual.alone_help"))
    st.caption(parts.escape(" · ".join(names[c] for c in chosen), 200))
    return {source: known[source] for source in chosen}


def _delete(page: parts.PageContext, uploads: list[Upload]) -> None:
    for upload in uploads:
        delete_upload(page.visitor, upload)
    deleted = {upload.path.name for upload in uploads}
    remaining = [c for c in st.session_state["manual_chosen"] if c not in deleted]
    st.session_state["manual_chosen"] = st.session_state["manual_pick"] = remaining


def _ask(page: parts.PageContext, index: ManualIndex, exchanges: list[Exchange], question: str) -> None:
    """Stream the answer, and where chosen the one without the documents, then run the page again."""
    with st.chat_message("user", avatar=parts.USER_ICON):
        parts.show_text(question)
    model = parts.chat_model(page)
    engine = assemble.manual(page.settings, index=index, model=model)
    run_id = uuid.uuid4()
    alone = None
    with st.chat_message("assistant", avatar=ANSWER_ICON):
        both = st.session_state.get("manual_alone", False)
        with_documents, without_documents = st.columns(2) if both else (st.container(), None)
        with parts.model_slot(page):
            history = [(past.question, past.answer.answer) for past in exchanges]
            with with_documents:
                answer = parts.show_stream(engine.stream(question, history, {"run_id": run_id}))
            if without_documents:
                history = [(past.question, past.without_document) for past in exchanges if past.without_document]
                with without_documents:
                    alone = parts.show_stream(manuals.answer_without_document(model, question, history)).text
    exchanges.append(Exchange(question, answer, alone, str(run_id)))
    if answer.citations and st.session_state.get("cited"):
        st.session_state["cited"] = answer.citations[0]  # the page that is open follows the conversation
    st.rerun()


def _show_exchange(page: parts.PageContext, documents: Documents, number: int, exchange: Exchange) -> None:
    with st.chat_message("user", avatar=parts.USER_ICON):
        parts.show_text(exchange.question)
    with st.chat_message("assistant", avatar=ANSWER_ICON):
        if exchange.without_document is None:
            _show_answer(page, documents, number, exchange)
            return
        with_documents, without_documents = st.columns(2)
        with with_documents:
            st.caption(page.t("manual.with"))
            _show_answer(page, documents, number, exchange)
        with without_documents:
            st.caption(page.t("manual.without"))
            parts.show_text(exchange.without_document)


def _show_answer(page: parts.PageContext, documents: Documents, number: int, exchange: Exchange) -> None:
    """Show an answer in parts, each with a button to its page, then how reliable it is, and a rating."""
    for place, part in enumerate(manuals.answer_parts(exchange.answer)):
        parts.show_text(part.text)
        if part.citation:
            key = f"page {number} {place}"
            _show_citation_button(page, documents, part.citation, key)
    _show_reliability(page, exchange.answer)
    key = f"thumb {exchange.run_id}"
    st.feedback("thumbs", key=key, on_change=_rate, args=(page, key, exchange))


def _show_citation_button(page: parts.PageContext, documents: Documents, citation: Citation, key: str) -> None:
    source = f"{parts.escape(documents[citation.source].name, 30)} · " if len(documents) > 1 else ""
    label, icon = f"{source}{page.t('manual.page', page=citation.page)}", ":material/find_in_page:"
    st.button(label, key=key, type="tertiary", icon=icon, on_click=_open_page, args=(citation,))


def _show_reliability(page: parts.PageContext, answer: Answer) -> None:
    reliability = manuals.reliability(answer)
    share = round(100 * answer.evidence)
    if reliability == "weak":
        st.warning(page.t("manual.weak", share=share), icon=":material/warning:")
    elif reliability != "supported":
        st.caption(page.t(f"manual.{reliability}", share=share))


def _open_page(citation: Citation | None) -> None:
    st.session_state["cited"] = citation


def _rate(page: parts.PageContext, key: str, exchange: Exchange) -> None:
    thumb, answer = st.session_state[key], exchange.answer
    if thumb is not None:
        about = {"page": "manual", "model": page.settings.model, "question": exchange.question}
        about |= {"answer": answer.answer, "citations": [c.model_dump() for c in answer.citations]}
        with parts.errors_shown():
            feedback.rate(page.settings.data_dir, page.visitor, about, float(thumb), run=exchange.run_id)


def _show_cited_page(page: parts.PageContext, index: ManualIndex, citation: Citation, documents: Documents) -> None:
    """Show the page of a citation with its quote highlighted: a picture for a PDF, else text."""
    t = page.t
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(t("manual.page", page=citation.page), anchor=False)
        st.button(t("manual.close"), icon=":material/close:", type="tertiary", on_click=_open_page, args=(None,))
    st.caption(parts.escape(documents[citation.source].name))
    view = manuals.cited_page(index, citation, documents)
    if view.picture is None:
        parts.show_highlighted(view.page.text, view.start, view.end)
        return
    st.image(view.picture.pixels, width="stretch")
    with st.expander(t("manual.as_text")):
        parts.show_highlighted(view.page.text, view.start, view.end)


main()
