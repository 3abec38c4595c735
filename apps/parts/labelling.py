"""Labels by hand on the results page: scores or ranks of answers, as in ``evals.judge label``, to calibrate a judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from apps.parts.context import PageContext
from apps.parts.display import escape, show_text
from egosrag.host import feedback
from evals.judge.agreement import compare_with_labels
from evals.judge.cases import MODES, Case, load_cases
from evals.judge.labelling import doubts_of, labelled_row, letters_of, unlabelled
from evals.look.files import RunFile, read_records


def labelling(page: PageContext, files: list[RunFile]) -> None:
    """Show the next row to label, without the names of the models, and how far the labels agree with the judge."""
    t = page.t
    data = {file.name: file for file in files if file.form == "answers"}
    if not data:
        st.info(t("results.none", folder="runs"))
        st.code('{"question": "...", "reference": "...", "answers": {"A": "...", "B": "..."}}', language="json")
        return
    judges = {file.name: file for file in files if file.form == "records" and file.kind == "judge"}
    left, middle, right = st.columns(3)
    name = left.selectbox(t("results.data"), list(data), key="label_data")
    mode = middle.selectbox(t("results.mode"), MODES, key="label_mode", format_func=lambda mode: t(f"results.{mode}"))
    judge = right.selectbox(t("results.judged"), [t("results.no_judge"), *judges], key="label_judge")
    records = read_records(judges[judge]) if judge in judges else []
    out = page.visitor.folder / "labels" / f"{Path(name).stem}.{mode}.jsonl"
    labelled = load_cases(out) if out.is_file() else []
    skipped = st.session_state.setdefault(f"skipped {out}", set())
    cases, done = load_cases(data[name].path), {case.id for case in labelled}
    waiting = unlabelled(mode, cases, {*done, *skipped}, doubts_of(records))
    if waiting:
        st.caption(t("results.left", left=len(waiting), all=len(waiting) + len(done)))
        _show_case(mode, *waiting[0], page, out, skipped)
    else:
        st.info(t("results.done"))
    if labelled:
        st.download_button(t("results.download"), out.read_bytes(), out.name, "application/jsonl")
    if labelled and records:
        st.markdown(f"**{t('results.agreement')}**")
        st.json(compare_with_labels(mode, labelled, records))


def _show_case(mode: str, row_id: str, case: Case, page: PageContext, out: Path, skipped: set[str]) -> None:
    """Show a question with its answers, and the form whose label is appended to ``out``."""
    t = page.t
    letters = letters_of(case)
    for title, body in {t("results.question"): case.question, t("results.reference"): case.reference}.items():
        if body:
            st.caption(title)
            show_text(body)
    for column, letter in zip(st.columns(len(letters)), letters, strict=True):
        with column:
            st.caption(t("results.answer", letter=letter))
            show_text(case.answers[letters[letter]])
    with st.form(f"label {mode} {row_id}", border=False):
        label = _label_fields(page, mode, letters, case)
        reason = st.text_input(t("results.why"), key=f"why {mode} {row_id}", max_chars=1000).strip()
        save = st.form_submit_button(t("results.save"), type="primary")
        skip = st.form_submit_button(t("results.skip"))
    if skip:
        skipped.add(row_id)
    elif save and label and reason:
        feedback.append_row(out, labelled_row(mode, row_id, case, {**label, "why": reason}))
    elif save:
        st.warning(t("results.order_wrong", letters=", ".join(letters)) if reason else t("results.why_missing"))
    if skip or (save and label and reason):
        st.rerun()


def _label_fields(page: PageContext, mode: str, letters: dict[str, str], case: Case) -> dict[str, Any] | None:
    """The scores or the order that the person enters; None while the order is invalid."""
    t = page.t
    if mode == "rank":
        example = "".join(reversed(letters))
        text = st.text_input(t("results.order", example=example), key=f"order {escape(case.id)}")
        order = [c for c in text.upper() if c.isalnum()]
        return {"order": [letters[c] for c in order]} if sorted(order) == sorted(letters) else None
    scores = {
        name: st.number_input(t("results.points", letter=letter), 0, 100, 50, key=f"{mode} {case.id} {letter}")
        for letter, name in letters.items()
    }
    return {"scores": {name: int(scores[name]) for name in case.answers}}
