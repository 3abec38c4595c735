"""Records, question files, and what a command checks before its work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from egosrag.errors import EgosRagError, ModelError, SettingsError, SourceError
from evals.common.charts import draw_bars
from evals.common.command import AsJson, Figure, JudgeModel, JudgeRecords, Upload, app_of, finish
from evals.common.experiment import Dataset
from evals.common.models import check_model
from evals.common.questions import numbered_questions
from evals.common.records import Records, read_jsonl


def test_a_file_that_cannot_be_written_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for path, what in (
        (tmp_path, "it is a folder"),
        (tmp_path / "file" / "r.jsonl", "is no folder"),
        (Path("/dev/full"), "No space left"),
    ):
        with pytest.raises(SettingsError, match=f"cannot be written.*{what}.*name"):
            Records(path, {})


def test_a_disk_that_is_full_in_the_middle_of_a_run_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = Records(tmp_path / "r.jsonl", {})
    monkeypatch.setattr(records, "_path", Path("/dev/full"))
    with pytest.raises(SettingsError, match="No space left"):
        records.add(("a",), {})


def test_a_number_of_5000_digits_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl"
    path.write_text('{"a": 1}\n{"a": ' + "9" * 5000 + "}\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"big.jsonl: line 2 .*too many digits"):
        list(read_jsonl(path))


def test_bad_references_and_equal_ids_are_named(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "A?"}\n{"question": "B?", "reference": "seite 2"}\n', encoding="utf-8")
    with pytest.raises(SourceError, match=r"q.jsonl: row 2: reference 'seite 2'"):
        numbered_questions(path)
    with pytest.raises(SettingsError, match="share the id x"):
        Dataset("d", [{"id": "x"}, {"id": "x"}])


def command(
    figure: Figure = None,
    upload: Upload = False,
    judge: JudgeModel = None,
    judge_records: JudgeRecords = None,
    late: Annotated[Path | None, typer.Option()] = None,
    as_json: AsJson = False,
) -> None:
    """A command with the shared options."""
    print("working")
    finish({"n": 1}, lambda result: None, as_json, (late, lambda result, path: draw_bars({}, path)))


def invoke(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app_of(command), [str(a) for a in arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--figure", "x.txt"), "name a .png, .svg or .pdf file"),
        (("--figure", "/dev/null/x.png"), "is no folder"),
        (("--judge-records", "/dev"), "it is a folder"),
        (("--upload",), "no key for LangSmith"),
        (("--judge", "no/such/model"), "no model at no/such/model"),
        (("--judge", "nosuch.gguf"), "there is no file nosuch.gguf"),
        (("--judge", "openai:gpt-4o"), "no key for openai:gpt-4o"),
        (("--judge", "scripted:nosuch.json"), "nosuch.json"),
    ],
)
def test_options_are_checked_before_the_work(
    arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LANGSMITH_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    done = invoke(*arguments)
    assert isinstance(done.exception, EgosRagError) and message in str(done.exception)
    assert "working" not in done.stdout


def test_the_models_that_are_there_pass_the_check(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"")
    for name in ("pocket", str(tmp_path), str(tmp_path / "m.gguf")):
        check_model(name)
    with pytest.raises(ModelError):
        check_model("nosuch:")


def test_a_result_is_printed_before_a_file_fails(tmp_path: Path) -> None:
    done = invoke("--late", tmp_path / "x.png", "--json")
    assert isinstance(done.exception, SettingsError)
    assert json.loads(done.stdout.splitlines()[-1]) == {"n": 1}
