"""The training page is read only: runs and their losses, sample replies, and commands to copy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("streamlit", reason="the extra app is not installed")

import streamlit
from streamlit.testing.v1 import AppTest

PAGE = str(Path(__file__).resolve().parents[2] / "apps" / "training.py")
HOSTILE = "<script>alert(1)</script> ![x](http://evil.example/x.png)"

Open = Callable[..., AppTest]


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Open:
    """``open_page()`` opens the page on the runs in ``tmp_path / "runs"``."""
    (tmp_path / "runs").mkdir()
    monkeypatch.setenv("EGOSRAG_APP_RUNS", str(tmp_path / "runs"))
    streamlit.cache_data.clear()

    def page(view: str = "runs") -> AppTest:
        test = AppTest.from_file(PAGE, default_timeout=60)
        test.session_state["training_view"] = view
        page = test.run()
        assert not page.exception
        return page

    return page


def write_run(folder: Path, name: str, **changes: Any) -> Path:
    run = folder / "runs" / name
    run.mkdir(parents=True)
    record = {"steps": 2, "loss": [[1, 4.0], [2, 3.5]], "settings": {"lr": 2e-5, "note": HOSTILE}, "tokens": 900}
    (run / "run.json").write_text(json.dumps(record | changes), encoding="utf-8")
    return run


def test_an_empty_folder_shows_how_to_start(open_page: Open) -> None:
    page = open_page()
    assert page.info[0].value.startswith("There are no training runs in ") and "runs yet" in page.info[0].value
    page.segmented_control[0].set_value("configs").run()
    assert not page.exception
    assert page.code[0].value.startswith("python -m finetune.")


def test_runs_are_listed_with_loss_curves(open_page: Open, tmp_path: Path) -> None:
    write_run(tmp_path, "sft")
    write_run(tmp_path, "lora", loss=[[1, 5.0]])
    page = open_page()
    assert sorted(page.dataframe[0].value["Run"]) == ["lora", "sft"]
    assert set(page.dataframe[0].value["State"]) == {"Finished"}
    chart = page.get("vega_lite_chart")[0].proto
    assert json.loads(chart.spec)["mark"]["type"] == "line"
    assert sorted(page.multiselect(key="curves").value) == ["lora", "sft"]
    page.multiselect(key="curves").set_value([]).run()
    assert not page.exception
    assert not page.get("vega_lite_chart")


def test_sample_replies_are_shown_by_step_as_text(open_page: Open, tmp_path: Path) -> None:
    run = write_run(tmp_path, "sft")
    rows = [{"step": step, "prompt": HOSTILE, "text": f"*at {step}*"} for step in (0, 1, 2)]
    (run / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    page = open_page()
    assert [text.value for message in page.chat_message for text in message.text] == [HOSTILE, "*at 2*"]
    page.select_slider[0].set_value(0).run()
    assert [text.value for message in page.chat_message for text in message.text] == [HOSTILE, "*at 0*"]
    assert not page.markdown


def test_a_run_without_samples_says_how_to_get_them(open_page: Open, tmp_path: Path) -> None:
    write_run(tmp_path, "sft")
    assert any("sample_prompts" in caption.value for caption in open_page().caption)


def test_damaged_samples_are_a_one_line_error(open_page: Open, tmp_path: Path) -> None:
    (write_run(tmp_path, "sft") / "samples.jsonl").write_text("{\n", encoding="utf-8")
    page = open_page()
    assert len(page.error) == 1
    assert "damaged" in page.error[0].value


def test_the_page_starts_nothing(open_page: Open, tmp_path: Path) -> None:
    write_run(tmp_path, "sft")
    for view in ("runs", "configs"):
        assert not open_page(view).button


def test_a_configuration_is_shown_with_its_command_notes_and_settings(open_page: Open) -> None:
    page = open_page("configs")
    page.selectbox(key="config").select("lora_3b").run()
    command, settings = (code.value for code in page.code)
    assert command == "python -m finetune.sft --config finetune/configs/lora_3b.yaml"
    assert "lora_r: 8" in settings
    assert any("report 4.2" in text.value for text in page.text)
