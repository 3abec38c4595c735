"""A person labels answers on the page, as ``evals.judge label`` asks on a terminal, and is compared with the judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from apps.parts.show import label, text
from egosrag.host import feedback
from evals.judge.agreement import compare_with_labels
from evals.judge.cases import MODES, Case, load_cases
from evals.judge.labelling import doubts_of, labelled_row, letters_of, unlabelled
from evals.look.files import RunFile, read_records

if TYPE_CHECKING:
    from apps.parts.frame import Here


def labelling(here: Here, found: list[RunFile]) -> None:
    """The next row to label; who gave an answer is not shown."""
    words = here.words
    data = {file.name: file for file in found if file.form == "answers"}
    if not data:
        st.info(words("results.none", folder="runs"))
        st.code('{"question": "...", "reference": "...", "answers": {"A": "...", "B": "..."}}', language="json")
        return
    judges = {file.name: file for file in found if file.form == "records" and file.kind == "judge"}
    one, two, three = st.columns(3)
    name = one.selectbox(words("results.data"), list(data), key="label_data")
    mode = two.selectbox(words("results.mode"), MODES, key="label_mode", format_func=lambda m: words(f"results.{m}"))
    nobody = words("results.no_judge")
    judge = three.selectbox(words("results.judged"), [nobody, *judges], key="label_judge")
    records = read_records(judges[judge]) if judge in judges else []
    out = here.visitor.folder / "labels" / f"{Path(name).stem}.{mode}.jsonl"
    labelled = load_cases(out) if out.is_file() else []
    skipped = st.session_state.setdefault(f"skipped {out}", set())
    cases, done = load_cases(data[name].path), {case.id for case in labelled}
    waiting = unlabelled(mode, cases, {*done, *skipped}, doubts_of(records))
    if waiting:
        st.caption(words("results.left", left=len(waiting), all=len(waiting) + len(done)))
        _form(here, mode, *waiting[0], out, skipped)
    else:
        st.info(words("results.done"))
    if labelled:
        st.download_button(words("results.download"), out.read_bytes(), out.name, "application/jsonl")
    if labelled and records:
        st.markdown(f"**{words('results.agreement')}**")
        st.json(compare_with_labels(mode, labelled, records))


def _form(here: Here, mode: str, row_id: str, case: Case, out: Path, skipped: set[str]) -> None:
    words = here.words
    letters = letters_of(case)
    for title, body in {words("results.question"): case.question, words("results.reference"): case.reference}.items():
        if body:
            st.caption(title)
            text(body)
    for place, letter in zip(st.columns(len(letters)), letters, strict=True):
        with place:
            st.caption(words("results.answer", letter=letter))
            text(case.answers[letters[letter]])
    with st.form(f"label {mode} {row_id}", border=False):
        given = _given(here, mode, letters, case)
        why = st.text_input(words("results.why"), key=f"why {mode} {row_id}", max_chars=1000).strip()
        save = st.form_submit_button(words("results.save"), type="primary")
        skip = st.form_submit_button(words("results.skip"))
    if skip:
        skipped.add(row_id)
    elif save and given and why:
        feedback.append(out, labelled_row(mode, row_id, case, {**given, "why": why}))
    elif save:
        st.warning(words("results.order_wrong", letters=", ".join(letters)) if why else words("results.why"))
    if skip or (save and given and why):
        st.rerun()


def _given(here: Here, mode: str, letters: dict[str, str], case: Case) -> dict[str, Any] | None:
    """What the person says of each answer; None while the order is not one."""
    words = here.words
    if mode == "rank":
        example = "".join(reversed(letters))
        said = st.text_input(words("results.order", example=example), key=f"order {label(case.id)}")
        order = [c for c in said.upper() if c.isalnum()]
        return {"order": [letters[c] for c in order]} if sorted(order) == sorted(letters) else None
    scores = {
        name: st.number_input(words("results.points", letter=letter), 0, 100, 50, key=f"{mode} {case.id} {letter}")
        for letter, name in letters.items()
    }
    return {"scores": {name: int(scores[name]) for name in case.answers}}
