"""Training runs, only watched: losses, replies to sample prompts, and the command that starts each configuration."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import streamlit as st

from apps import parts
from apps.parts.runs import runs_folder
from finetune.runs import Run, find_runs, loss_chart, read_configs, read_samples

REFRESH_S = 10  # while a run is not finished


@st.cache_data(ttl=REFRESH_S - 1, show_spinner=False)
def _cached_runs(folder: str) -> list[Run]:
    return find_runs(Path(folder))


def _find_runs() -> list[Run]:
    """The runs, rebuilt from the cache, which may hold an older class."""
    return [Run(**vars(run)) for run in _cached_runs(str(runs_folder()))]


def main() -> None:
    """Show the runs, or the configurations that start them."""
    page = parts.page_context()
    t = page.t
    views = {"runs": _watch_runs, "configs": _show_configs}
    chosen = st.segmented_control(
        t("pages.training"), list(views), key="training_view", default="runs", required=True,
        format_func=lambda view: t(f"training.{view}"), label_visibility="collapsed",
    )  # fmt: skip
    with parts.errors_shown():
        views[chosen](page)


def _watch_runs(page: parts.PageContext) -> None:
    """Show the runs, again every few seconds while one is not finished."""
    unfinished = any(run.state != "finished" for run in _find_runs())

    @st.fragment(run_every=REFRESH_S if unfinished else None)
    def refreshed() -> None:
        with parts.errors_shown():
            _show_runs(page, _find_runs())

    refreshed()


def _show_runs(page: parts.PageContext, found: list[Run]) -> None:
    t = page.t
    if not found:
        st.info(t("training.none", folder=parts.escape(str(runs_folder()), 200)), icon=":material/hourglass_empty:")
        return
    st.dataframe([_row(page, run) for run in found], hide_index=True, width="stretch", height="content")
    runs = {run.name: run for run in found}
    with_loss = [name for name, run in runs.items() if run.loss]
    if with_loss:
        chosen = st.multiselect(t("training.curves"), with_loss, with_loss[:4], key="curves")
        if chosen:
            chart = loss_chart([runs[name] for name in chosen], t("training.step"), t("training.loss"))
            st.vega_lite_chart(chart, width="stretch", height=360)
    run = runs[st.selectbox(t("training.run"), list(runs), key="run")]
    _show_samples(page, run)
    with st.expander(t("training.numbers")):
        st.json({**run.numbers, "settings": dict(run.settings)})


def _row(page: parts.PageContext, run: Run) -> dict[str, Any]:
    t = page.t
    return {
        t("training.run"): run.name,
        t("training.state"): t(f"training.{run.state}"),
        t("training.step"): f"{run.steps:,}" + (f" / {run.of:,}" if run.of else ""),
        t("training.loss"): round(run.loss[-1][1], 4) if run.loss else None,
        t("training.at"): datetime.fromtimestamp(run.at).strftime("%Y-%m-%d %H:%M"),
    }


def _show_samples(page: parts.PageContext, run: Run) -> None:
    """What the model said to the same prompts at each step of the training."""
    samples = read_samples(run)
    if not samples:
        st.caption(page.t("training.no_samples"))
        return
    steps = list(samples)
    step = st.select_slider(page.t("training.samples"), steps, steps[-1], key=f"step {run.name}")
    for sample in samples[step]:
        with st.chat_message("user", avatar=parts.USER_ICON):
            parts.show_text(sample["prompt"])
        with st.chat_message("assistant", avatar=":material/show_chart:"):
            parts.show_text(sample["text"])


def _show_configs(page: parts.PageContext) -> None:
    """A configuration: the command that starts it, its notes and settings. The page itself starts nothing."""
    configs = {config.name: config for config in read_configs()}
    config = configs[st.selectbox(page.t("training.config"), list(configs), key="config")]
    st.code(config.command, language="bash", wrap_lines=True)
    parts.show_text(config.notes)
    with st.expander(page.t("training.settings"), expanded=True):
        st.code(config.text, language="yaml")


main()
