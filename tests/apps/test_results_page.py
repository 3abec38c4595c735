"""The results page: figures, tables, the transcript of a sample, ratings, and labels by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("streamlit", reason="the extra app is not installed")

import streamlit
from streamlit.testing.v1 import AppTest

from egosrag.host.visitors import visitor_of
from egosrag.settings import Settings
from evals.judge.cases import load_cases
from tests.evals.look.runs import cases, write_runs

PAGE = str(Path(__file__).resolve().parents[2] / "apps" / "results.py")
TOKEN = "d" * 32

Open = Callable[..., AppTest]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("shown"))


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch, runs: Path) -> Open:
    """``open_page("tables")`` opens the page on that view of the runs."""
    streamlit.cache_data.clear()

    def page(view: str = "figures", folder: Path = runs, **state: Any) -> AppTest:
        monkeypatch.setenv("EGOSRAG_APP_RUNS", str(folder))
        test = AppTest.from_file(PAGE, default_timeout=60)
        for name, value in {"token": TOKEN, "results_view": view, **state}.items():
            test.session_state[name] = value
        page = test.run()
        assert not page.exception
        return page

    return page


def texts(page: AppTest) -> list[str]:
    return [text.value for message in page.chat_message for text in message.text]


def test_an_empty_folder_shows_how_to_get_results(open_page: Open, tmp_path: Path) -> None:
    page = open_page(folder=tmp_path)
    assert page.info[0].value.startswith("There are no results in")
    assert "python -m evals.rag" in page.code[0].value


def test_figure_1_shows_all_tasks_and_figure_2_one(open_page: Open) -> None:
    page = open_page()
    chart = json.loads(page.get("vega_lite_chart")[0].proto.spec)
    assert chart["layer"][0]["mark"]["type"] == "bar"
    assert sorted(page.multiselect[0].value) == ["base.json", "sft.json"]
    assert page.selectbox(key="task ppl").options == ["All tasks", "mmlu", "arc_easy"]
    page.selectbox(key="task ppl").select("mmlu").run()
    assert not page.exception
    assert not page.error
    page.selectbox(key="figure_kind").select("roleplay").run()
    assert not page.exception
    assert len(page.get("vega_lite_chart")) == 1


@pytest.mark.parametrize("name", ["rag.json", "roleplay.json", "chatbot.json", "sft.json"])
def test_every_result_has_its_tables(open_page: Open, name: str) -> None:
    page = open_page("tables", table_of=name)
    assert not page.error
    assert len(page.dataframe) >= 1
    if name == "rag.json":
        assert list(page.dataframe[0].value.columns) == ["", "w_document", "w/o_document"]


def test_a_selected_sample_shows_its_transcript_and_is_rated(open_page: Open) -> None:
    page = open_page("samples", records_of="talks/roleplay.jsonl")
    assert not texts(page)
    key = "rows talks/roleplay.jsonl All Original order"
    page.session_state[key] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    page.run()
    assert not page.exception
    assert texts(page)[1].startswith("Aye <b>"), "messages are shown as text"
    assert not page.markdown
    page.feedback[0].set_value(0)
    page.text_input[0].set_value("out of role")
    page.button[0].click().run()
    assert not page.exception
    (line,) = (Settings.load().data_dir / "feedback.jsonl").read_text(encoding="utf-8").splitlines()
    row = json.loads(line)
    assert (row["score"], row["comment"], row["records"]) == (0.0, "out of role", "talks/roleplay.jsonl")
    assert row["key"][0] == "EGOS-Small"


def test_a_person_labels_pairs_and_is_compared_with_the_judge(open_page: Open) -> None:
    page = open_page("label", label_data="answers.jsonl", label_mode="pair", label_judge="judged.pair.jsonl")
    assert not page.error
    for left in (4, 3, 2, 1):
        assert page.caption[0].value == f"{left} of 4 left"
        shown = [text.value for text in page.text]
        assert not any("ours" in text or "theirs" in text for text in shown)
        for place, number in enumerate(page.number_input):
            number.set_value(90 if shown[1 + place].startswith("good") else 30)
        page.text_input[0].set_value("better")
        page.button[0].click().run()
        assert not page.exception
        assert not page.error
    out = visitor_of(TOKEN, Settings.load().data_dir).folder / "labels" / "answers.pair.jsonl"
    rows = load_cases(out)
    assert [row.human for row in rows] == ["ours"] * 4
    assert {row.digest for row in rows} == {case.digest for case in cases()}, (
        "the labels are in the format of evals.judge"
    )
    assert json.loads(page.json[0].value)["accuracy"] == 1.0


def test_ranks_need_each_letter_once_and_rows_can_be_skipped(open_page: Open) -> None:
    page = open_page("label", label_data="answers.jsonl", label_mode="rank")
    page.text_input[0].set_value("AA")
    page.text_input[1].set_value("no order")
    page.button[0].click().run()
    assert "once" in page.warning[0].value
    page.text_input[0].set_value("b > a")
    page.button[0].click().run()
    assert page.caption[0].value == "3 of 4 left"
    page.button[1].click().run()
    assert page.caption[0].value == "2 of 3 left"


def test_a_damaged_result_is_a_one_line_error(open_page: Open, tmp_path: Path) -> None:
    (tmp_path / "rag.json").write_text('{"systems": 1, "calibration": "<script>"}', encoding="utf-8")
    page = open_page("tables", folder=tmp_path)
    assert len(page.error) == 1
    assert "rag" in page.error[0].value


def test_the_page_is_available_in_chinese(open_page: Open) -> None:
    from apps.parts.context import PageContext
    from apps.parts.translations import Translations

    settings = Settings.load()
    context = PageContext("zh", Translations("zh"), settings, visitor_of(TOKEN, settings.data_dir), None)
    page = open_page("tables", **{"page context": context})
    assert page.selectbox(key="table_of").label == "结果"
