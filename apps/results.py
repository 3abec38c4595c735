"""What evaluations found: figures, tables, every sample with its transcript, and labels by hand."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from apps import parts
from apps.parts.labelling import labelling
from apps.parts.runs import runs
from apps.parts.turns import ROLE, USER
from egosrag.host import feedback
from evals.look import charts, transcripts
from evals.look.files import RunFile, find_files, read_records, read_result
from evals.look.tables import result_tables

EXAMPLE = """python -m evals.rag --records runs/rag.jsonl --json > runs/rag.json
python -m evals.roleplay --records runs/roleplay.jsonl --json > runs/roleplay.json
python -m evals.ppl --model pocket --data arc_easy=arc_easy.jsonl --json > runs/pocket.json"""


@st.cache_data(ttl=10, show_spinner=False)
def _found(folder: str) -> list[RunFile]:
    return find_files(Path(folder))


def main() -> None:
    """The files that are there, looked at in one of four ways."""
    here = parts.begin()
    words = here.words
    found = [RunFile(*file) for file in _found(str(runs()))]
    if not found:
        st.info(words("results.none", folder=parts.label(runs().name)))
        st.code(EXAMPLE, language="bash")
        return
    ways = {"figures": _figures, "tables": _tables, "samples": _samples, "label": labelling}
    chosen = st.segmented_control(
        words("pages.results"), list(ways), key="results_way", default="figures", required=True,
        format_func=lambda way: words(f"results.{way}"), label_visibility="collapsed",
    )  # fmt: skip
    with parts.told():
        ways[chosen](here, found)


def _figures(here: parts.Here, found: list[RunFile]) -> None:
    """Figure 1: models and tasks; figure 2: one task."""
    words = here.words
    results = [file for file in found if file.form == "result" and file.kind in charts.KINDS]
    kinds = [kind for kind in charts.KINDS if any(file.kind == kind for file in results)]
    if not kinds:
        _nothing(here)
        return
    left, middle, right = st.columns([2, 3, 2])
    kind = left.selectbox(
        words("results.kind"), kinds, key="figure_kind", format_func=lambda kind: words(f"results.{kind}")
    )
    known = {file.name: file for file in results if file.kind == kind}
    names = middle.multiselect(words("results.of"), list(known), list(known)[:6], key=f"figure {kind}")
    points = [point for name in names for point in charts.points(kind, Path(name).stem, read_result(known[name]))]
    tasks = list(dict.fromkeys(point["what"] for point in points))
    everything = words("results.all_tasks")
    task = right.selectbox(words("results.task"), [everything, *tasks], key=f"task {kind}")
    shown = [point for point in points if task in (everything, point["what"])]
    if shown:
        st.vega_lite_chart(charts.bar_chart(shown, words("results.accuracy")), width="stretch", height=420)


def _tables(here: parts.Here, found: list[RunFile]) -> None:
    """A result as tables: of rag the report's table 1, of roleplay its matrix."""
    known = {file.name: file for file in found if file.form == "result"}
    if not known:
        _nothing(here)
        return
    file = known[st.selectbox(here.words("results.result"), list(known), key="table_of")]
    for table in result_tables(file, read_result(file)):
        if table.title:
            st.markdown(f"**{parts.label(table.title, 200)}**")
        st.dataframe(table.rows, hide_index=True, width="stretch")


def _samples(here: parts.Here, found: list[RunFile]) -> None:
    """The records of a run; a chosen row shows all that was said."""
    words = here.words
    known = {file.name: file for file in found if file.form == "records"}
    if not known:
        _nothing(here)
        return
    file = known[st.selectbox(words("results.records"), list(known), key="records_of")]
    records = read_records(file)
    st.dataframe(transcripts.overview(records), hide_index=True, width="stretch")
    one, other = st.columns(2)
    everybody, unsorted = words("results.everybody"), words("results.unsorted")
    names = list(dict.fromkeys(map(transcripts.system_of, records)))
    who = one.selectbox(words("results.who"), [everybody, *names], key=f"who {file.name}")
    by = other.selectbox(
        words("results.by"), [unsorted, *transcripts.measure_names(records)], key=f"by {file.name}"
    )  # fmt: skip
    rows = transcripts.sample_list(records, None if who == everybody else who, None if by == unsorted else by)
    st.caption(words("results.look"))
    event: Any = st.dataframe(
        [row for _, row in rows], hide_index=True, width="stretch", height=280, key=f"rows {file.name} {who} {by}",
        on_select="rerun", selection_mode="single-row",
    )  # fmt: skip
    for at in event["selection"]["rows"][:1]:
        if at < len(rows):
            _transcript(here, file, rows[at][0])


def _transcript(here: parts.Here, file: RunFile, record: transcripts.Record) -> None:
    """All that was said in one sample, and what somebody thinks of it."""
    words = here.words
    for said in transcripts.transcript(file.kind, record):
        asked = said.speaker == transcripts.USER
        with st.chat_message("user", avatar=USER) if asked else st.chat_message("assistant", avatar=ROLE):
            if not asked:
                st.caption(parts.label(said.speaker))
            parts.text(said.text)
    about = {"page": "results", "records": file.name, "key": record["key"]}
    with st.form(f"thumb {file.name} {record['key']}", border=False):
        thumb = st.feedback("thumbs", key=f"thumbs {file.name} {record['key']}")
        comment = st.text_input(words("results.comment"), max_chars=2000)
        if st.form_submit_button(words("results.keep")) and thumb is not None:
            run = partial(transcripts.langsmith_run, file.kind, record)
            feedback.rate(here.settings.data_dir, here.visitor, about, float(thumb), comment, run)
            st.caption(words("results.kept"))


def _nothing(here: parts.Here) -> None:
    st.info(here.words("results.none", folder=parts.label(runs().name)))
    st.code(EXAMPLE, language="bash")


main()
