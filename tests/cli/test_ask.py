"""``egosrag ask`` and ``egosrag index``: answers with citations, refusals, and the cached index."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import SAMPLES, Run

MANUAL = str(SAMPLES / "manual.en.pdf")


def test_ask_answers_with_a_page_and_a_quote(run: Run, script: Callable[..., str]) -> None:
    model = script("The release lever is under the dashboard on the left. [1]")
    done = run("ask", "Where is the release lever of the hood?", "--doc", MANUAL, "--model", model, "--json")
    (row,) = done.rows
    assert done.code == 0
    assert set(row) == {"answer", "refused", "citations", "usage", "timing"}
    assert row["refused"] is False
    assert any(c["page"] == 4 and c["source"] == "manual.en.pdf" for c in row["citations"])
    assert all(set(c) == {"source", "page", "quote", "score"} for c in row["citations"])
    assert set(row["usage"]) == {"prompt_tokens", "completion_tokens", "cached_tokens"}
    assert set(row["timing"]) == {"first_token_s", "total_s"}


def test_ask_prints_the_answer_before_its_citations(run: Run, script: Callable[..., str]) -> None:
    model = script("The release lever is under the dashboard on the left. [1]")
    done = run("ask", "Where is the release lever of the hood?", "--doc", MANUAL, "--model", model)
    first, *rest = done.out.splitlines()
    assert "under the dashboard on the left" in first
    assert rest[0].startswith("  manual.en.pdf, p. 4: ")


def test_ask_shows_the_pages_found_on_standard_error(run: Run, script: Callable[..., str]) -> None:
    words = ("ask", "Where is the release lever of the hood?", "--doc", MANUAL, "--model")
    line = next(line for line in run(*words, script("No.")).err.splitlines() if line.startswith("found: "))
    assert line.startswith("found: manual.en.pdf, p. 4")
    assert "found:" not in run(*words, script("No."), "--json").err


def test_ask_indents_every_line_of_a_quote(run: Run, tmp_path: Path, script: Callable[..., str]) -> None:
    (tmp_path / "a.md").write_text("To open the hood:\n\n1. Pull the lever.\n2. Lift the hood.\n", encoding="utf-8")
    model = script("1. Pull the lever.\n2. Lift the hood. [1]")
    done = run("ask", "How do I open the hood?", "--doc", str(tmp_path / "a.md"), "--model", model)
    at = done.out.index("\n  a.md, p. 1: ")
    quoted = done.out[at + 1 :].splitlines()
    assert len(quoted) > 1
    assert all(line.startswith("  ") for line in quoted)


def test_the_second_question_uses_the_index_of_the_first(run: Run, script: Callable[..., str]) -> None:
    words = ("ask", "Which battery does the key need?", "--doc", MANUAL, "--json", "--model")
    first = run(*words, script("It is of the type CR2032. [1]"))
    second = run(*words, script("It is of the type CR2032. [1]"))
    assert first.rows[0]["citations"] == second.rows[0]["citations"]
    assert "uses the index of" not in first.err
    assert "uses the index of" in second.err


def test_a_changed_document_is_indexed_again(run: Run, script: Callable[..., str], tmp_path: Path) -> None:
    note = tmp_path / "note.md"
    words = ("ask", "What is the code of the gate?", "--doc", str(note), "--json", "--model")
    for code in ("4711", "0815"):
        note.write_text(f"The code of the gate is {code}.\n", encoding="utf-8")
        (row,) = run(*words, script(f"The code of the gate is {code}. [1]")).rows
        assert code in row["citations"][0]["quote"]


def test_ask_reads_a_question_per_line(run: Run, script: Callable[..., str]) -> None:
    run("index", MANUAL, "--out", "index")
    model = script("It is of the type CR2032. [1]", "The car has seven airbags. [1]")
    questions = b"Which battery does the key need?\nHow many airbags does the car have?\n"
    done = run("ask", "-", "--index", "index", "--model", model, "--json", stdin=questions)
    assert [row["citations"][0]["page"] for row in done.rows] == [2, 7]


def test_positional_paths_are_documents_too(run: Run, script: Callable[..., str], tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.md").write_text(f"The code of gate {name} is {name}77.\n", encoding="utf-8")
    model = script("The code of gate b is b77. [1]")
    (row,) = run("ask", "What is the code of gate b?", "--doc", "a.md", "b.md", "--model", model, "--json").rows
    assert row["citations"][0]["source"] == "b.md"


@pytest.mark.parametrize(
    ("manual", "question", "refusal"),
    [
        ("manual.en.pdf", "Who composed the opera?", "The manual does not say."),
        ("manual.zh.pdf", "谁写了那部歌剧？", "手册中没有说明。"),
    ],
)
def test_a_question_that_the_manual_does_not_answer_is_refused(
    manual: str, question: str, refusal: str, run: Run, script: Callable[..., str]
) -> None:
    (row,) = run("ask", question, "--doc", str(SAMPLES / manual), "--model", script(refusal), "--json").rows
    assert (row["refused"], row["answer"], row["citations"]) == (True, refusal, [])


def test_index_prints_its_place_and_progress_goes_to_standard_error(run: Run) -> None:
    done = run("index", MANUAL, "--out", "runs/manual")
    assert (done.code, done.out) == (0, "runs/manual\n")
    assert done.err


def test_a_manual_that_is_quoted_is_answered_without_loading_a_model(tmp_path: Path) -> None:
    code = f"""
import sys
from egosrag.cli.main import main
sys.argv = ["egosrag", "ask", "Which battery does the key need?", "--doc", {MANUAL!r}, "--model", "pocket"]
code = main()
print(code, sorted({{"torch", "transformers", "langchain_core"}} & sys.modules.keys()))
"""
    folders = {"EGOSRAG_CACHE_DIR": str(tmp_path / "cache"), "EGOSRAG_DATA_DIR": str(tmp_path)}
    for indexed in (False, True):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=os.environ | folders
        )
        assert "CR2032" in done.stdout and "p. 2" in done.stdout, done.stderr
        assert done.stdout.splitlines()[-1] == "0 []" or not indexed


@pytest.mark.parametrize("options", [("--set", "answers=model"), ("--set", "rewrites=1"), ("--adapter", "none")])
def test_a_model_that_may_be_called_is_loaded(options: tuple[str, ...], run: Run) -> None:
    from egosrag import Settings, assemble

    done = run("ask", "Which battery does the key need?", "--doc", MANUAL, "--model", "pocket", *options)
    assert (done.code == 1) == ("--adapter" in options)
    quoting = assemble.manual(Settings(model="pocket"), [Path(MANUAL)], follow_ups=False)
    assert quoting.model is None
    assert assemble.manual(Settings(model="pocket"), [Path(MANUAL)]).model is not None


def test_a_model_that_is_not_here_is_an_error_also_where_the_manual_is_quoted(run: Run) -> None:
    done = run("ask", "Which battery does the key need?", "--doc", MANUAL, "--model", "qwen2.5-1.5b")
    assert done.code == 1 and "egosrag models get qwen2.5-1.5b" in done.err
