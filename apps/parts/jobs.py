"""Long work in the background, with its progress and a button that cancels it; it goes on after a reload."""

from __future__ import annotations

from typing import Any

import streamlit as st

from apps.parts.context import PageContext
from apps.parts.display import escape
from egosrag.host.jobs import Job, Jobs

POLL_S = 1.0


@st.cache_resource(show_spinner=False)
def background_jobs() -> Jobs:
    """The jobs of all visitors."""
    return Jobs()


def show_job(page: PageContext, name: str, kind: str = "") -> Any:
    """Show the progress of a running job; returns the result of one that ended, once, else None.

    Args:
        page: the page's context.
        name: of the job.
        kind: what it is in the texts of the pages; its name where it is absent.

    Raises:
        EgosRagError: the work failed.
    """
    job = background_jobs().find(page.visitor.key, name)
    if job is None:
        return None
    if not job.running:
        return background_jobs().take(page.visitor.key, name)

    @st.fragment(run_every=POLL_S)
    def progress() -> None:
        if not job.running:
            st.rerun()
        _show_progress(page, job, kind or name)

    progress()
    return None


def _show_progress(page: PageContext, job: Job, kind: str) -> None:
    t = page.t
    count = f" {job.done}/{job.total}" if job.total > 1 else ""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(job.share, escape(f"{t(f'job.{kind}')} {job.label}{count}", 200))
        label = t("job.cancelling") if job.cancelled else t("job.cancel")
        st.button(label, key=f"cancel {job.name}", on_click=job.cancel, disabled=job.cancelled, icon=":material/close:")
