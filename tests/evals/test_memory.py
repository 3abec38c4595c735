"""``python -m evals.memory``: LoCoMo files, JSONL dialogues, the measures, and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from egosrag.rag.retrieval.turn_memory import TurnMemory
from evals.common.records import read_jsonl
from evals.memory import main, read_conversations, read_locomo, score, summary
from tests.evals.langsmith_fake import FakeLangSmith

LOCOMO: dict[str, Any] = {
    "speaker_a": "Ann",
    "session_2": [{"speaker": "Tim", "dia_id": "D2:1", "text": "I bought a tram ticket."}],
    "session_2_date_time": "2 June, 2023",
    "session_1": [
        {"speaker": "Ann", "dia_id": "D1:1", "text": "I painted a lake.", "blip_caption": "a red boat"},
        {"speaker": "Tim", "dia_id": "D1:2", "text": "Lovely! I keep bees."},
    ],
    "session_1_date_time": "8 May, 2023",
    "session_3_date_time": "a date without a session",
    "qa": [
        {"question": "What did Ann paint?", "category": 4, "evidence": ["D1:1"]},
        {"question": "Which boat did Ann show?", "category": 1, "evidence": ["D1:1; D:2:01"]},
        {"question": "What did Ann never say?", "category": 5, "evidence": ["D1:1"]},
        {"question": "Whose evidence is lost?", "category": 2, "evidence": ["D9:9", "D"]},
        {"question": "Who has none?", "category": 3, "evidence": []},
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "talk.json").write_text(json.dumps(LOCOMO), encoding="utf-8")
    return tmp_path


def test_turns_come_in_order_with_captions_and_dates(folder: Path) -> None:
    conversation = read_locomo(folder / "talk.json")
    assert [turn.id for turn in conversation.turns] == ["D1:1", "D1:2", "D2:1"]
    assert conversation.turns[0].text == "I painted a lake. [image: a red boat]"
    assert conversation.dates["D2:1"] == "2 June, 2023"


def test_evidence_ids_are_normalized_and_questions_without_evidence_left_out(folder: Path) -> None:
    questions = read_locomo(folder / "talk.json").questions
    assert [question.evidence for question in questions] == [("D1:1",), ("D1:1", "D2:1")]


def test_evidence_may_be_one_text(folder: Path) -> None:
    row = {"question": "What did Ann paint?", "category": 4, "evidence": "D1:1; D2:1"}
    (folder / "talk.json").write_text(json.dumps({**LOCOMO, "qa": [row]}), encoding="utf-8")
    assert [question.evidence for question in read_locomo(folder / "talk.json").questions] == [("D1:1", "D2:1")]


def test_the_nesting_of_the_published_files_is_read_too(tmp_path: Path, folder: Path) -> None:
    nested = {"qa": LOCOMO["qa"], "conversation": {k: v for k, v in LOCOMO.items() if k != "qa"}}
    (tmp_path / "nested.json").write_text(json.dumps(nested), encoding="utf-8")
    assert read_locomo(tmp_path / "nested.json")[1:] == read_locomo(folder / "talk.json")[1:]


def test_any_at_k_needs_one_evidence_turn_and_all_at_k_every_one() -> None:
    ranking = [f"D1:{i}" for i in range(1, 11)]
    evidence = [{"D1:5"}, {"D1:1", "D1:6"}, {"D1:10"}, {"D1:1", "D2:1"}]
    times = {"query_ms": 3.0, "search_ms": 1.0}
    records = [{"measures": {**score(frozenset(ids), ranking), **times}} for ids in evidence]
    result = summary(records)
    intervals = result.pop("ci95")
    shares = {"any@1": 0.5, "any@3": 0.5, "any@5": 0.75, "all@5": 0.25, "any@10": 1.0, "all@10": 0.75}
    assert result == {"n": 4, **shares, "query_ms": 3.0}
    assert list(result) == ["n", *shares, "query_ms"]
    assert intervals.keys() == shares.keys()
    assert intervals["all@5"][0] < 0.25 < intervals["all@5"][1]


def test_json_has_the_figures_and_predictions_have_the_recalled_turns(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "recalled.jsonl"
    arguments = ["--conversations", str(folder), "--embedder", "none", "--predictions", str(out), "--json"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    figures = json.loads(printed.out)
    shares = {"any@1", "any@3", "any@5", "all@5", "any@10", "all@10"}
    assert set(figures) == {"n", *shares, "tokens@5", "tokens@10", "query_ms", "ci95"}
    assert (figures["n"], figures["any@5"]) == (2, 1.0)
    assert 20 < figures["tokens@10"] < 80, "three short lines with their dates"
    assert f"wrote {out}" in printed.err
    _, first, _ = read_jsonl(out)
    assert first["recalled"][0] == "D1:1"


def test_an_interrupted_run_asks_only_the_missing_questions(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "recalled.jsonl"
    arguments = ["--conversations", str(folder), "--embedder", "none", "--predictions", str(out), "--json"]
    assert main(arguments) == 0
    first = json.loads(capsys.readouterr().out)
    lines = out.read_text(encoding="utf-8").splitlines(keepends=True)
    out.write_text("".join(lines[:2]) + lines[2][:9], encoding="utf-8")
    asked = list[str]()
    recall = TurnMemory.recall
    monkeypatch.setattr(TurnMemory, "recall", lambda self, line, **o: asked.append(line) or recall(self, line, **o))
    for expected in (["warm up", "Which boat did Ann show?"], []):
        asked.clear()
        assert main(arguments) == 0
        again = json.loads(capsys.readouterr().out)
        assert asked == expected
        assert {**again, "query_ms": 0} == {**first, "query_ms": 0}


def test_questions_and_recalled_turns_are_uploaded_to_langsmith(folder: Path, langsmith: FakeLangSmith) -> None:
    assert main(["--conversations", str(folder), "--embedder", "none", "--upload", "--json"]) == 0
    (dataset,) = langsmith.datasets.values()
    assert dataset["name"].startswith("egosrag-memory-")
    first, second = sorted(langsmith.examples.values(), key=lambda example: example["inputs"]["id"])
    assert (first["inputs"]["id"], first["split"]) == ("talk/1", ["single-hop"])
    assert second["outputs"]["reference"] == ["D1:1", "D2:1"] and "reference" not in second["inputs"]
    assert {f["key"] for f in langsmith.feedback} >= {"any@5", "all@10", "tokens@10"}


def test_the_table_has_conversations_and_categories(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--conversations", str(folder), "--embedder", "none"]) == 0
    printed = capsys.readouterr().out
    assert "talk" in printed and "multi-hop" in printed and "open-domain" not in printed


@pytest.mark.parametrize("text", ["", "[]", '{"session_1": []}', '{"session_1": [{"text": "hi"}], "qa": []}'])
def test_a_malformed_file_is_named(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "odd.json").write_text(text, encoding="utf-8")
    assert main(["--conversations", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "odd.json" in line


def test_an_empty_folder_says_what_to_give(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--conversations", str(tmp_path)]) == 1
    assert "LoCoMo" in capsys.readouterr().err


# JSONL: a dialogue and a question a row

DIALOGUE: dict[str, Any] = {
    "role": "Edda",
    "turns": [
        {"speaker": "user", "text": "I keep seven bees in a blue hive."},
        {"speaker": "character", "text": "I cook soup for the crew."},
        {"speaker": "user", "text": "Lovely weather, is it not?"},
    ],
    "question": "What colour is the hive of the bees?",
    "evidence": [0],
}


def write_rows(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_row_is_a_conversation_with_one_question(tmp_path: Path) -> None:
    first, second = read_conversations(write_rows(tmp_path / "d.jsonl", DIALOGUE, DIALOGUE | {"id": 7, "evidence": []}))
    assert [(turn.id, turn.speaker) for turn in first.turns] == [("0", "user"), ("1", "Edda"), ("2", "user")]
    assert (first.name, first.dates) == ("d/1", {})
    assert first.questions == [("What colour is the hive of the bees?", None, ("0",))]
    assert (second.name, second.questions) == ("d/7", [])


def test_dialogues_have_the_same_figures_as_locomo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soup = DIALOGUE | {"question": "What does Edda cook for the crew?", "evidence": [1, 2]}
    path = write_rows(tmp_path / "d.jsonl", DIALOGUE, soup, DIALOGUE | {"evidence": []})
    arguments = ["--conversations", str(path), "--embedder", "none"]
    assert main([*arguments, "--json"]) == 0
    printed = capsys.readouterr()
    figures = json.loads(printed.out)
    shares = {"any@1", "any@3", "any@5", "all@5", "any@10", "all@10"}
    assert set(figures) == {"n", *shares, "tokens@5", "tokens@10", "query_ms", "ci95"}
    assert (figures["n"], figures["any@1"], figures["all@5"]) == (2, 1.0, 1.0)
    assert "embed" not in printed.err and "questions: 2/2" in printed.err
    assert main(arguments) == 0
    assert "conversation d/1" in capsys.readouterr().out


def test_dialogues_are_resumed_and_uploaded(
    tmp_path: Path, langsmith: FakeLangSmith, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_rows(tmp_path / "d.jsonl", DIALOGUE, DIALOGUE | {"question": "Who keeps bees?"})
    arguments = [
        "--conversations",
        str(path),
        "--embedder",
        "none",
        "--predictions",
        str(tmp_path / "p.jsonl"),
        "--json",
    ]
    assert main(arguments) == 0
    first = json.loads(capsys.readouterr().out)
    monkeypatch.setattr(TurnMemory, "recall", None)
    assert main([*arguments, "--upload"]) == 0
    assert json.loads(capsys.readouterr().out) == first
    (example, _) = sorted(langsmith.examples.values(), key=lambda example: example["inputs"]["id"])
    assert (example["inputs"]["id"], example["outputs"]["reference"]) == ("d/1/1", ["0"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"evidence": [3]}, "evidence 3 is not the number of one of the 3 turns"),
        ({"evidence": [-1]}, "evidence -1 is not the number"),
        ({"evidence": ["0"]}, "evidence '0' is not the number"),
        ({"turns": [{"speaker": "user"}]}, "KeyError"),
        ({"evidence": [True]}, "evidence True is not the number"),
        ({"evidence": [0.5]}, "evidence 0.5 is not the number"),
        ({"evidence": [float("inf")]}, "evidence inf is not the number"),
        ({"turns": [{"speaker": "user", "text": None}]}, "(text: Input should be a valid string)"),
        ({"role": None}, "the role is not a text"),
        ({"role": 7}, "the role is not a text"),
        ({"question": None}, "the question is not a text"),
        ({"turns": None}, "TypeError"),
    ],
)
def test_a_malformed_dialogue_is_named_and_left_out(
    tmp_path: Path, change: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_rows(tmp_path / "d.jsonl", DIALOGUE | change, DIALOGUE)
    assert main(["--conversations", str(path), "--embedder", "none", "--json"]) == 0
    captured = capsys.readouterr()
    (line,) = [line for line in captured.err.splitlines() if "left out" in line]
    assert "d.jsonl: row 1 is left out: it is not a dialogue with a question" in line and message in line
    assert json.loads(captured.out)["n"] == 1
    write_rows(path, DIALOGUE | change)
    assert main(["--conversations", str(path), "--embedder", "none"]) == 1
    assert "has no question with known evidence" in capsys.readouterr().err


def test_evidence_may_be_a_number_with_a_decimal_point_and_ids_may_repeat(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "d.jsonl", DIALOGUE | {"id": 1, "evidence": [0.0]}, DIALOGUE | {"id": 1})
    first, second = read_conversations(path)
    assert first.questions[0].evidence == ("0",)
    assert (first.name, second.name) == ("d/1", "d/1#2")


def test_a_limit_is_of_both_measures_and_at_least_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_rows(tmp_path / "d.jsonl", DIALOGUE | {"evidence": []}, DIALOGUE, DIALOGUE)
    arguments = ["--conversations", str(path), "--embedder", "none", "--json", "--limit"]
    assert main([*arguments, "1"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 1
    for bad in ("0", "-1"):
        assert main([*arguments, bad]) == 1
        assert "--limit must be 1 or more" in capsys.readouterr().err


def test_an_interrupted_command_ends_without_a_traceback(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TurnMemory, "follow", interrupted)
    assert main(["--conversations", str(folder), "--embedder", "none"]) == 130


@pytest.mark.parametrize("change", [{"question": None}, {"category": float("inf")}])
def test_a_malformed_question_of_locomo_names_the_file(
    tmp_path: Path, change: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.json").write_text(json.dumps({**LOCOMO, "qa": [LOCOMO["qa"][0] | change]}), encoding="utf-8")
    assert main(["--conversations", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "odd.json" in line


def test_a_jsonl_file_without_evidence_has_nothing_to_measure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_rows(tmp_path / "d.jsonl", DIALOGUE | {"evidence": []})
    assert main(["--conversations", str(path)]) == 1
    assert "no question with known evidence" in capsys.readouterr().err


# Real data


def test_lexical_search_recalls_a_real_conversation(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "26.json").symlink_to(shared_data / "locomo" / "26.json")
    assert main(["--conversations", str(tmp_path), "--embedder", "none", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["n"] == 150
    assert figures["any@10"] > 0.8 and figures["all@10"] > 0.68


@pytest.mark.parametrize(("language", "n", "any_at_5"), [("zh", 122, 0.89), ("en", 120, 0.82)])
def test_lexical_search_recalls_real_dialogues(
    shared_data: Path, language: str, n: int, any_at_5: float, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shared_data / "characterbench" / f"memory.{language}.jsonl"
    if not path.is_file():
        pytest.skip("the dialogues of CharacterBench are not in the shared data")
    assert main(["--conversations", str(path), "--embedder", "none", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["n"] == n
    assert figures["any@5"] >= any_at_5
    assert figures["any@1"] <= figures["any@3"] <= figures["any@5"] <= figures["any@10"]
