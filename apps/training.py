"""Trainings, watched only: what was found on disk, how the loss falls, what was said meanwhile, how each is started."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import streamlit as st

from apps import parts
from apps.parts.runs import runs
from apps.parts.turns import USER
from finetune.runs import Run, find_runs, loss_chart, read_configs, read_samples

EVERY_S = 10  # while a run is not at its end


@st.cache_data(ttl=EVERY_S - 1, show_spinner=False)
def _found(folder: str) -> list[Run]:
    return find_runs(Path(folder))


def main() -> None:
    """The runs, or the configurations that start them."""
    here = parts.begin()
    words = here.words
    ways = {"runs": _runs, "configs": _configs}
    chosen = st.segmented_control(
        words("pages.training"), list(ways), key="training_way", default="runs", required=True,
        format_func=lambda way: words(f"training.{way}"), label_visibility="collapsed",
    )  # fmt: skip
    with parts.told():
        ways[chosen](here)


def _runs(here: parts.Here) -> None:
    """What is there now; while a run goes on, the page looks again by itself."""
    goes_on = any(run.state != "finished" for run in _found(str(runs())))

    @st.fragment(run_every=EVERY_S if goes_on else None)
    def shown() -> None:
        with parts.told():
            _watched(here, [Run(**vars(run)) for run in _found(str(runs()))])

    shown()


def _watched(here: parts.Here, found: list[Run]) -> None:
    words = here.words
    if not found:
        st.info(words("training.none", folder=parts.label(runs().name)), icon=":material/hourglass_empty:")
        return
    st.dataframe([_row(here, run) for run in found], hide_index=True, width="stretch", height="content")
    known = {run.name: run for run in found}
    drawn = [name for name, run in known.items() if run.loss]
    if drawn:
        chosen = st.multiselect(words("training.curves"), drawn, drawn[:4], key="curves")
        if chosen:
            shown = loss_chart([known[name] for name in chosen], words("training.step"), words("training.loss"))
            st.vega_lite_chart(shown, width="stretch", height=360)
    run = known[st.selectbox(words("training.run"), list(known), key="run")]
    _said(here, run)
    with st.expander(words("training.settings")):
        st.json({**run.numbers, "settings": dict(run.settings)})


def _row(here: parts.Here, run: Run) -> dict[str, Any]:
    words = here.words
    return {
        words("training.run"): run.name,
        words("training.state"): words(f"training.{run.state}"),
        words("training.step"): f"{run.steps:,}" + (f" / {run.of:,}" if run.of else ""),
        words("training.loss"): round(run.loss[-1][1], 4) if run.loss else None,
        words("training.at"): datetime.fromtimestamp(run.at).strftime("%Y-%m-%d %H:%M"),
    }


def _said(here: parts.Here, run: Run) -> None:
    """What the model said to the same prompts as it learned."""
    said = read_samples(run)
    if not said:
        st.caption(here.words("training.no_samples"))
        return
    steps = list(said)
    step = st.select_slider(here.words("training.samples"), steps, steps[-1], key=f"step {run.name}")
    for sample in said[step]:
        with st.chat_message("user", avatar=USER):
            parts.text(sample["prompt"])
        with st.chat_message("assistant", avatar=":material/show_chart:"):
            parts.text(sample["text"])


def _configs(here: parts.Here) -> None:
    """How a configuration is started, and what its author says of it; nothing is started here."""
    known = {config.name: config for config in read_configs()}
    config = known[st.selectbox(here.words("training.config"), list(known), key="config")]
    st.code(config.command, language="bash", wrap_lines=True)
    parts.text(config.notes)
    with st.expander(here.words("training.settings"), expanded=True):
        st.code(config.text, language="yaml")


main()
