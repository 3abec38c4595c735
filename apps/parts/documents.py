"""The documents of a chat: chosen, added and deleted; those that cannot be read are named, the others are used."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import streamlit as st

from apps.parts.context import PageContext
from apps.parts.display import error_text, escape, show_error
from apps.parts.jobs import background_jobs, show_job
from apps.parts.remember import remembered, store_changes
from apps.parts.uploads import upload_several
from egosrag import EgosRagError, ManualIndex
from egosrag.host import manuals
from egosrag.host.uploads import Upload, delete_upload

Documents = dict[str, Upload]  # by source name in the index
JOB = "index"
_PICKED = "times that documents were picked"  # by the page and not by the visitor
SOON_S = 0.4  # an index that is ready by then needs no bar


@st.cache_resource(show_spinner=False)
def _indexes() -> manuals.IndexCache:
    return manuals.IndexCache()


@st.cache_data(show_spinner=False, max_entries=200)
def _faults(documents: tuple[tuple[str, str, str], ...], _index: ManualIndex | None) -> dict[str, str]:
    """Why documents cannot be read, by source; a document is named by the hash of its content."""
    return manuals.unreadable(_index, {source: Upload(Path(path), name) for source, path, name in documents})


def choose_documents(page: PageContext) -> Documents:
    """The documents that the visitor selected among their own and the samples."""
    t, state = page.t, st.session_state
    samples = manuals.SAMPLES.values()
    known = manuals.list_documents(page.visitor, page.language)
    remembered("manual_pick", [manuals.SAMPLES[page.language]])
    state["manual_pick"] = [c for c in state["manual_pick"] if c in known]
    errors = st.container()
    with st.expander(t("manual.documents"), expanded=not state["manual_pick"], icon=":material/library_books:"):
        selection = st.container()
        label = t("manual.upload")
        uploads = upload_several(page, label, manuals.EXTENSIONS, key="manual_files", errors=errors)
        seen = state.setdefault("manual_seen", set())
        if new := [upload.path.name for upload in uploads if upload.path.name not in seen]:
            seen.update(new)
            known = manuals.list_documents(page.visitor, page.language)
            kept = [c for c in state["manual_pick"] if c not in samples and c not in new]
            pick_documents([*kept, *new])  # an upload replaces the sample
            store_changes(page.visitor)
        names = {source: document.name for source, document in known.items()}
        key = f"documents {state.get(_PICKED, 0)}"
        state[key] = [c for c in state.get(key, state["manual_pick"]) if c in known]
        with selection, st.container(key="manual_pick"):
            chosen = st.multiselect(t("manual.choose"), list(known), key=key, format_func=names.get)
        if chosen != state["manual_pick"]:
            state["manual_pick"] = chosen
            store_changes(page.visitor)
        own = [known[c] for c in chosen if c not in samples]
        st.button(t("manual.delete"), disabled=not own, on_click=_delete, args=(page, own))
        st.toggle(t("manual.alone"), key=remembered("manual_alone", False), help=t("manual.alone_help"))
    st.caption(escape(" · ".join(names[c] for c in chosen), 200))
    return {source: known[source] for source in chosen}


def pick_documents(sources: Sequence[str]) -> None:
    """Select these documents.

    The widget begins anew: of one that stays, the browser may still send its former value, while a run that is cut off
    has not yet reached it. So the files of an upload were lost on a slow machine.
    """
    st.session_state["manual_pick"] = list(sources)
    st.session_state[_PICKED] = st.session_state.get(_PICKED, 0) + 1


def _delete(page: PageContext, uploads: list[Upload]) -> None:
    for upload in uploads:
        delete_upload(page.visitor, upload)
    deleted = {upload.path.name for upload in uploads}
    pick_documents([c for c in st.session_state["manual_pick"] if c not in deleted])


def show_other_programs(page: PageContext, documents: Documents) -> None:
    """Show, in the sidebar, the command by which other programs ask these documents."""
    t = page.t
    with page.side, st.expander(t("manual.programs"), icon=":material/hub:"):
        st.caption(t("manual.programs_what"))
        st.code(manuals.mcp_command(page.settings, list(documents.values())), language=None, wrap_lines=True)
        st.caption(t("manual.programs_how"))


def index_of(page: PageContext, documents: Documents) -> ManualIndex | None:
    """The index of the documents, and a line about each that cannot be read; None while it is built, or without any."""
    chosen = list(documents.values())
    index = _indexes().peek(page.settings, chosen)
    key = f"cannot index {sorted(documents)}"
    if index is None and key not in st.session_state:
        jobs = background_jobs()
        name = f"{JOB} {hash(tuple(sorted(documents)))}"
        if jobs.find(page.visitor.key, name):
            st.session_state[name] = True  # begun before a reload of the page
        try:
            index = show_job(page, name, JOB)
            if index is None and jobs.find(page.visitor.key, name) is None and name not in st.session_state:
                st.session_state[name] = True  # a cancelled one does not begin again by itself
                label = ", ".join(document.name for document in chosen)
                work = partial(_indexes().get, page.settings, chosen)
                jobs.start(page.visitor.key, name, label, work).wait(SOON_S)
                index = show_job(page, name, JOB)
            elif index is None and jobs.find(page.visitor.key, name) is None:
                st.button(page.t("manual.index_again"), on_click=st.session_state.pop, args=(name, None))
                return None
        except EgosRagError as error:
            st.session_state[key] = str(error)
        if jobs.find(page.visitor.key, name):
            return None
    faults = _faults(tuple((s, str(d.path), d.name) for s, d in documents.items()), index)
    for source, fault in faults.items():
        st.warning(
            escape(page.t("manual.unreadable", name=documents[source].name, reason=error_text(fault)), 600),
            icon=":material/warning:",
        )
    if index is None and key in st.session_state and not any(faults.values()):
        show_error(EgosRagError(st.session_state[key]))
    return index
