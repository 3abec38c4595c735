"""Ask documents: every sentence of an answer opens its page, with the words that tell it marked."""

from __future__ import annotations

import uuid
from typing import Any

import streamlit as st

from apps import parts
from apps.parts.turns import USER
from egosrag import Answer, assemble
from egosrag.host import feedback, manuals
from egosrag.host.uploads import Upload, remove


@st.cache_resource(show_spinner=False)
def _indexes() -> manuals.Indexes:
    return manuals.Indexes()


def main() -> None:
    """The documents, what was asked of them, and beside it the page that is looked at."""
    here = parts.begin()
    words = here.words
    question = st.chat_input(words("manual.ask"), key="question", submit_mode="stop", max_chars=2000)
    with parts.told():
        given = _documents(here)
        if not given:
            st.info(words("manual.none"))
            return
        with parts.progress(words("manual.indexing")) as progress:
            index = _indexes().get(here.settings, list(given.values()), progress)
        asked = st.session_state.setdefault(f"asked {sorted(given)}", [])
        looked_at = st.session_state.get("manual_page")
        looked_at = looked_at if looked_at and looked_at.source in given else None
        left, right = st.columns(2, gap="large") if looked_at else (st.container(width=760), None)
        if right:
            with right, parts.told():
                _page(here, index, looked_at, given)
        with left, parts.told():
            names = {source: upload.name for source, upload in given.items()}
            for number, exchange in enumerate(asked):
                _exchange(here, names, number, exchange)
            if not (asked or question):
                st.caption(words("manual.begin"))
            if question:
                _answered(here, index, asked, question)


def _documents(here: parts.Here) -> dict[str, Upload]:
    """The documents that are asked, chosen among the visitor's own and the samples."""
    words, state = here.words, st.session_state
    with st.expander(words("manual.documents"), expanded=False):
        pick = st.container()
        new = parts.upload(here, words("manual.upload"), manuals.ENDINGS, several=True, key="manual_files")
        known = manuals.documents(here.visitor, here.language)
        names = {source: upload.name for source, upload in known.items()}
        chosen = state.get("manual_chosen", [manuals.SAMPLES[here.language]])
        seen = state.setdefault("manual_seen", set())
        if fresh := [upload.path.name for upload in new if upload.path.name not in seen]:
            seen.update(fresh)
            chosen = [*(c for c in chosen if c not in manuals.SAMPLES.values()), *fresh]  # a sample gives way
            state.pop("manual_pick", None)
        state.setdefault("manual_pick", [c for c in chosen if c in known])
        with pick:
            chosen = st.multiselect(words("manual.choose"), list(known), key="manual_pick", format_func=names.get)
        state["manual_chosen"] = chosen
        own = [c for c in chosen if c not in manuals.SAMPLES.values()]
        st.button(words("manual.remove"), disabled=not own, on_click=_remove, args=(here, [known[c] for c in own]))
        st.toggle(words("manual.alone"), key="manual_alone", help=words("manual.alone_help"))
    st.caption(parts.label(" · ".join(names[c] for c in chosen), 200))
    return {source: known[source] for source in chosen}


def _remove(here: parts.Here, given: list[Upload]) -> None:
    for upload in given:
        remove(here.visitor, upload)
    gone = {upload.path.name for upload in given}
    left = [c for c in st.session_state["manual_chosen"] if c not in gone]
    st.session_state["manual_chosen"] = st.session_state["manual_pick"] = left


def _answered(here: parts.Here, index: Any, asked: list[dict[str, Any]], question: str) -> None:
    """Asks, with the document and where it is wanted without it, shows what comes, and makes the page anew."""
    with st.chat_message("user", avatar=USER):
        parts.text(question)
    model = parts.model(here)
    engine = assemble.manual(here.settings, index=index, model=model)
    run_id = uuid.uuid4()
    exchange: dict[str, Any] = {"question": question, "alone": None, "run_id": str(run_id)}
    alone = st.session_state.get("manual_alone", False)
    with st.chat_message("assistant", avatar=":material/menu_book:"):
        with_it, without_it = st.columns(2) if alone else (st.container(), None)
        with parts.turn(here):
            history = [(old["question"], old["answer"].answer) for old in asked]
            with with_it:
                answer = parts.streamed(engine.stream(question, history, {"run_id": run_id}))
            if without_it:
                said = [(old["question"], old["alone"]) for old in asked if old["alone"]]
                with without_it:
                    exchange["alone"] = parts.streamed(manuals.without_document(model, question, said)).text
    asked.append(exchange | {"answer": answer})
    if answer.citations and st.session_state.get("manual_page"):
        st.session_state["manual_page"] = answer.citations[0]  # a page is open already: it follows the talk
    st.rerun()


def _exchange(here: parts.Here, names: dict[str, str], number: int, exchange: dict[str, Any]) -> None:
    with st.chat_message("user", avatar=USER):
        parts.text(exchange["question"])
    with st.chat_message("assistant", avatar=":material/menu_book:"):
        if exchange["alone"] is None:
            _answer(here, names, number, exchange)
            return
        with_it, without_it = st.columns(2)
        with with_it:
            st.caption(here.words("manual.with"))
            _answer(here, names, number, exchange)
        with without_it:
            st.caption(here.words("manual.without"))
            parts.text(exchange["alone"])


def _answer(here: parts.Here, names: dict[str, str], number: int, exchange: dict[str, Any]) -> None:
    """The parts of an answer, each with the page that tells it, and how far it may be trusted."""
    answer: Answer = exchange["answer"]
    for place, part in enumerate(manuals.parts(answer)):
        parts.text(part.text)
        if part.citation:
            cited = part.citation
            name = f"{parts.label(names.get(cited.source, ''), 30)} · " if len(names) > 1 else ""
            st.button(
                f"{name}{here.words('manual.page', page=cited.page)}", key=f"page {number} {place}", type="tertiary",
                icon=":material/find_in_page:", on_click=_open, args=(cited,),
            )  # fmt: skip
    worth = manuals.worth(answer)
    share = round(100 * answer.evidence)
    if worth == "weak":
        st.warning(here.words("manual.weak", share=share), icon=":material/warning:")
    elif worth != "told":
        st.caption(here.words(f"manual.{worth}", share=share))
    key = f"thumb {exchange['run_id']}"
    st.feedback("thumbs", key=key, on_change=_rate, args=(here, key, exchange))


def _open(citation: Any) -> None:
    st.session_state["manual_page"] = citation


def _rate(here: parts.Here, key: str, exchange: dict[str, Any]) -> None:
    thumb, answer = st.session_state[key], exchange["answer"]
    if thumb is not None:
        about = {"page": "manual", "model": here.settings.model, "question": exchange["question"]}
        about |= {"answer": answer.answer, "citations": [c.model_dump() for c in answer.citations]}
        with parts.told():
            feedback.rate(here.settings.data_dir, here.visitor, about, float(thumb), run=exchange["run_id"])


def _page(here: parts.Here, index: Any, citation: Any, given: dict[str, Upload]) -> None:
    """The page that a citation is of, its words marked."""
    words = here.words
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(words("manual.page", page=citation.page), anchor=False)
        st.button(words("manual.close"), icon=":material/close:", type="tertiary", on_click=_open, args=(None,))
    st.caption(parts.label(given[citation.source].name))
    shown = manuals.opened(index, citation, given)
    if shown.picture is None:
        parts.marked(shown.page.text, shown.start, shown.end)
        return
    st.image(shown.picture.pixels, width="stretch")
    with st.expander(words("manual.as_text")):
        parts.marked(shown.page.text, shown.start, shown.end)


main()
