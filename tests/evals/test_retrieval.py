"""``python -m evals.retrieval``: hit rates checked by hand, the keys of its JSON, resumed and uploaded runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from egosrag.errors import SourceError
from egosrag.rag.retrieval.search import Retriever
from evals.common.questions import reference_pages
from evals.retrieval import main
from tests.evals.langsmith_fake import FakeLangSmith

TEXTS = {1: "打开车门：拉动把手。", 2: "更换电池：先断开负极。", 3: "加注机油：使用漏斗。", 4: "清洗车辆：使用清水。"}


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    pages = tmp_path / "pages.jsonl"
    rows = [json.dumps({"page": n, "text": text}) for n, text in TEXTS.items()]
    pages.write_text("\n".join(rows), encoding="utf-8")
    questions = [
        {"question": "怎么更换电池？", "reference": "page_2"},
        {"question": "怎么更换电池？", "reference": "page_4"},
        {"question": "加注机油用什么？", "reference": ["page_1", "page_3"]},
        {"question": "那用什么？", "reference": "page_4", "history": [["怎么清洗车辆？", "用水。"]]},
        {"question": "天气怎么样？"},
    ]
    question_file = tmp_path / "questions.json"
    question_file.write_text(json.dumps(questions), encoding="utf-8")
    return str(pages), str(question_file)


def test_the_figures_follow_from_the_ranks(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--pages", files[0], "--questions", files[1], "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    hits = {"hit@1", "hit@3", "hit@5", "hit@10", "all@5", "all@10", "mrr"}
    assert set(result) == {"n", *hits, "tokens@5", "tokens@10", "index_s", "query_ms", "skipped", "ci95"}
    assert set(result["ci95"]) == {*hits, "tokens@5", "tokens@10"}
    assert result["ci95"]["hit@1"][0] < 0.75 < result["ci95"]["hit@1"][1]
    assert result["all@10"] == 0.5, "one of the two pages of the third question is not retrieved"
    assert 0 < result["tokens@5"] <= sum(map(len, TEXTS.values()))
    assert (result["n"], result["skipped"]) == (4, 1)
    assert result["hit@1"] == 0.75  # the second question's reference page does not answer it
    assert result["hit@10"] == 0.75
    assert result["mrr"] == 0.75


def test_without_json_it_is_a_table(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--pages", files[0], "--questions", files[1]]) == 0
    assert "hit@1" in capsys.readouterr().out


def test_a_run_is_resumed_and_uploaded_to_langsmith(
    files: tuple[str, str],
    tmp_path: Path,
    langsmith: FakeLangSmith,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    records = tmp_path / "r.jsonl"
    arguments = ["--pages", files[0], "--questions", files[1], "--records", str(records), "--json"]
    assert main(arguments) == 0
    first = capsys.readouterr()
    assert f"wrote {records}" in first.err
    records.write_text("".join(records.read_text(encoding="utf-8").splitlines(keepends=True)[:-2]), encoding="utf-8")
    asked = list[str]()
    search = Retriever.search
    monkeypatch.setattr(Retriever, "search", lambda self, q, **options: asked.append(q) or search(self, q, **options))
    assert main([*arguments, "--upload"]) == 0
    assert len(asked) == 3, "one to warm up, and the two missing ones"
    result, before = json.loads(capsys.readouterr().out), json.loads(first.out)
    assert [result[name] for name in ("hit@1", "all@10", "mrr")] == [before[n] for n in ("hit@1", "all@10", "mrr")]
    assert [e["outputs"]["reference"] for e in langsmith.examples.values()].count("page_4") == 2
    assert {f["key"] for f in langsmith.feedback} >= {"hit@1", "all@10", "mrr"}


def test_a_reference_is_one_page_several_or_none() -> None:
    assert reference_pages({"reference": "page_7"}) == {7}
    assert reference_pages({"reference": ["page_7", "page_9"]}) == {7, 9}
    assert reference_pages({"reference": ""}) == reference_pages({}) == set()
    with pytest.raises(SourceError, match="reference"):
        reference_pages({"reference": "seven"})


@pytest.mark.parametrize("text", ["nonsense", "{}", '[{"no": 1}]', '[{"question": "a"}]'])
def test_malformed_questions_are_an_error_of_one_line(
    files: tuple[str, str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(files[1]).write_text(text, encoding="utf-8")
    assert main(["--pages", files[0], "--questions", files[1], "--json"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


def test_the_silver_questions_on_the_car_manual(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shared_data / "carmanual"
    if not folder.is_dir():
        pytest.skip("the car manual is not in the shared data")
    questions = folder / "silver_301_glm4_bm25_bge.json"
    assert main(["--pages", str(folder / "manual_pages.jsonl"), "--questions", str(questions), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["n"] == 301
    assert result["hit@1"] >= 0.72
    assert result["hit@3"] >= 0.92
    assert result["mrr"] >= 0.83
