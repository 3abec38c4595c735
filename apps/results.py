"""Results of evaluations: figures, tables, every sample with its transcript, ratings, and labels by hand."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from apps import parts
from apps.parts.labelling import labelling
from apps.parts.runs import runs_folder
from egosrag.host import feedback
from evals.look import charts, transcripts
from evals.look.files import RunFile, find_files, read_records, read_result
from evals.look.tables import result_tables

EXAMPLE = """python -m evals.rag --records runs/rag.jsonl --json > runs/rag.json
python -m evals.roleplay --records runs/roleplay.jsonl --json > runs/roleplay.json
python -m evals.ppl --model pocket --data arc_easy=arc_easy.jsonl --json > runs/pocket.json"""


@st.cache_data(ttl=10, show_spinner=False)
def _files(folder: str) -> list[RunFile]:
    return find_files(Path(folder))


def main() -> None:
    """Show the files of the runs folder in one of four views."""
    page = parts.page_context()
    t = page.t
    files = [RunFile(*file) for file in _files(str(runs_folder()))]  # the cache may hold an older class
    if not files:
        _show_nothing(page)
        return
    views = {"figures": _show_figures, "tables": _show_tables, "samples": _show_samples, "label": labelling}
    chosen = st.segmented_control(
        t("pages.results"), list(views), key="results_view", default="figures", required=True,
        format_func=lambda view: t(f"results.{view}"), label_visibility="collapsed",
    )  # fmt: skip
    with parts.errors_shown():
        views[chosen](page, files)


def _show_figures(page: parts.PageContext, files: list[RunFile]) -> None:
    """Bar charts as in the report: of models over all tasks (figure 1) or on one task (figure 2)."""
    t = page.t
    results = [file for file in files if file.form == "result" and file.kind in charts.KINDS]
    kinds = [kind for kind in charts.KINDS if any(file.kind == kind for file in results)]
    if not kinds:
        _show_nothing(page)
        return
    left, middle, right = st.columns([2, 3, 2])
    kind = left.selectbox(t("results.kind"), kinds, key="figure_kind", format_func=lambda kind: t(f"results.{kind}"))
    by_name = {file.name: file for file in results if file.kind == kind}
    names = middle.multiselect(t("results.of"), list(by_name), list(by_name)[:6], key=f"figure {kind}")
    points = [point for name in names for point in charts.points(kind, Path(name).stem, read_result(by_name[name]))]
    tasks = list(dict.fromkeys(point["what"] for point in points))
    all_tasks = t("results.all_tasks")
    task = right.selectbox(t("results.task"), [all_tasks, *tasks], key=f"task {kind}")
    shown = [point for point in points if task in (all_tasks, point["what"])]
    if shown:
        st.vega_lite_chart(charts.bar_chart(shown, t("results.percent")), width="stretch", height=420)


def _show_tables(page: parts.PageContext, files: list[RunFile]) -> None:
    """One result as tables: of rag the report's table 1, of roleplay its matrix."""
    results = {file.name: file for file in files if file.form == "result"}
    if not results:
        _show_nothing(page)
        return
    file = results[st.selectbox(page.t("results.result"), list(results), key="table_of")]
    for table in result_tables(file, read_result(file)):
        if table.title:
            st.markdown(f"**{parts.escape(table.title, 200)}**")
        st.dataframe(table.rows, hide_index=True, width="stretch")


def _show_samples(page: parts.PageContext, files: list[RunFile]) -> None:
    """The records of a run as a table; a selected row shows its transcript."""
    t = page.t
    by_name = {file.name: file for file in files if file.form == "records"}
    if not by_name:
        _show_nothing(page)
        return
    file = by_name[st.selectbox(t("results.records"), list(by_name), key="records_of")]
    records = read_records(file)
    st.dataframe(transcripts.overview(records), hide_index=True, width="stretch")
    left, right = st.columns(2)
    everybody, unsorted = t("results.everybody"), t("results.unsorted")
    names = list(dict.fromkeys(map(transcripts.system_of, records)))
    who = left.selectbox(t("results.who"), [everybody, *names], key=f"who {file.name}")
    by = right.selectbox(t("results.by"), [unsorted, *transcripts.measure_names(records)], key=f"by {file.name}")
    rows = transcripts.sample_list(records, None if who == everybody else who, None if by == unsorted else by)
    st.caption(t("results.select"))
    event: Any = st.dataframe(
        [row for _, row in rows], hide_index=True, width="stretch", height=280, key=f"rows {file.name} {who} {by}",
        on_select="rerun", selection_mode="single-row",
    )  # fmt: skip
    for index in event["selection"]["rows"][:1]:
        if index < len(rows):
            _show_transcript(page, file, rows[index][0])


def _show_transcript(page: parts.PageContext, file: RunFile, record: transcripts.Record) -> None:
    """Show the messages of one sample, and a form to rate it."""
    t = page.t
    for message in transcripts.transcript(file.kind, record):
        by_user = message.speaker == transcripts.USER
        role, icon = ("user", parts.USER_ICON) if by_user else ("assistant", parts.ROLE_ICON)
        with st.chat_message(role, avatar=icon):
            if not by_user:
                st.caption(parts.escape(message.speaker))
            parts.show_text(message.text)
    about = {"page": "results", "records": file.name, "key": record["key"]}
    with st.form(f"thumb {file.name} {record['key']}", border=False):
        thumb = st.feedback("thumbs", key=f"thumbs {file.name} {record['key']}")
        comment = st.text_input(t("results.comment"), max_chars=2000)
        if st.form_submit_button(t("results.save_rating")) and thumb is not None:
            run = partial(transcripts.langsmith_run, file.kind, record)
            feedback.rate(page.settings.data_dir, page.visitor, about, float(thumb), comment, run)
            st.caption(t("results.rating_saved"))


def _show_nothing(page: parts.PageContext) -> None:
    st.info(page.t("results.none", folder=parts.escape(str(runs_folder()), 200)))
    st.code(EXAMPLE, language="bash")


main()
