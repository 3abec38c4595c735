"""The *Results* page's data: files in a folder, tables, charts, transcripts, labels and the judge's agreement."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from egosrag.errors import SourceError
from evals.common.langsmith import example_id
from evals.judge.agreement import compare_with_labels
from evals.judge.cases import Case, load_cases
from evals.judge.labelling import doubts_of, labelled_row, letters_of, unlabelled
from evals.look import charts, tables, transcripts
from evals.look.files import RunFile, find_files, read_records, read_result
from evals.look.transcripts import Message
from tests.evals.look.runs import cases, write_runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFile]:
    folder = write_runs(tmp_path_factory.mktemp("runs"))
    return {file.name: file for file in find_files(folder)}


def tables_of(runs: dict[str, RunFile], name: str) -> dict[str, list[tables.Row]]:
    return {t.title: t.rows for t in tables.result_tables(runs[name], read_result(runs[name]))}


def test_results_records_and_answers_are_found_and_other_files_ignored(runs: dict[str, RunFile]) -> None:
    assert {(name, file.kind, file.form) for name, file in runs.items()} == {
        ("base.json", "ppl", "result"),
        ("sft.json", "ppl", "result"),
        ("base.jsonl", "ppl", "records"),
        ("sft.jsonl", "ppl", "records"),
        ("roleplay.json", "roleplay", "result"),
        ("talks/roleplay.jsonl", "roleplay", "records"),
        ("rag.json", "rag", "result"),
        ("rag.jsonl", "rag", "records"),
        ("chatbot.json", "chatbot", "result"),
        ("chatbot.jsonl", "chatbot", "records"),
        ("answers.jsonl", "judge", "answers"),
        ("judged.score.jsonl", "judge", "records"),
        ("judged.pair.jsonl", "judge", "records"),
    }


def test_a_missing_folder_has_no_files(tmp_path: Path) -> None:
    assert find_files(tmp_path / "none") == []


def test_table_1_has_both_systems_side_by_side(runs: dict[str, RunFile]) -> None:
    ((title, rows),) = tables_of(runs, "rag.json").items()
    assert title.startswith("scripted: 1 questions")
    by_name = {row[""]: row for row in rows}
    assert by_name["rouge1"]["w_document"].startswith("100")
    assert by_name["rouge1"]["w/o_document"].startswith("0")
    assert {"page hit", "citation precision", "refusal recall"} <= by_name.keys()


def test_the_roleplay_table_is_systems_by_dimensions(runs: dict[str, RunFile]) -> None:
    found = tables_of(runs, "roleplay.json")
    matrix = found["all, %"]
    assert [row[""] for row in matrix] == ["EGOS-Small", "EGOS-wo-Quote"]
    assert list(matrix[0]) == ["", "consistency", "memory", "quality", "n"]


def test_ppl_and_chatbot_have_their_tables(runs: dict[str, RunFile]) -> None:
    (rows,) = tables_of(runs, "sft.json").values()
    assert [(row[""], row["n"], row["accuracy"][:2]) for row in rows] == [
        ("mmlu", "10", "90"),
        ("arc_easy", "10", "90"),
    ]
    assert [row[""] for row in tables_of(runs, "chatbot.json")["stopped, %"]] == ["pocket", "lora"]


def test_an_incomplete_result_is_an_error(tmp_path: Path, runs: dict[str, RunFile]) -> None:
    broken = runs["rag.json"]._replace(path=tmp_path / "rag.json")
    with pytest.raises(SourceError, match="cannot be read"):
        read_result(broken)
    broken.path.write_text('{"systems": 1, "calibration": 2}', encoding="utf-8")
    with pytest.raises(SourceError, match="not a complete result"):
        tables.result_tables(broken, read_result(broken))


def test_figure_1_is_models_by_tasks_and_figure_2_one_task(runs: dict[str, RunFile]) -> None:
    results = {name: read_result(runs[f"{name}.json"]) for name in ("base", "sft")}
    both = [p for name, result in results.items() for p in charts.points("ppl", name, result)]
    assert [(p["who"], p["what"], p["value"], p["n"]) for p in both] == [
        ("base", "mmlu", 60.0, 10),
        ("base", "arc_easy", 60.0, 10),
        ("sft", "mmlu", 90.0, 10),
        ("sft", "arc_easy", 90.0, 10),
    ]
    assert all(p["low"] < p["value"] < p["high"] for p in both)
    one = [p for name, result in results.items() for p in charts.points("ppl", name, result, "mmlu")]
    assert [(p["who"], p["value"]) for p in one] == [("base", 60.0), ("sft", 90.0)]
    spec = charts.bar_chart(one, "accuracy")
    assert spec["data"]["values"] == one
    assert [layer["mark"]["type"] for layer in spec["layer"]] == ["bar", "rule"]


@pytest.mark.parametrize("kind", [kind for kind in charts.KINDS if kind != "ppl"])
def test_every_kind_with_a_chart_has_bars(runs: dict[str, RunFile], kind: str) -> None:
    points = charts.points(kind, kind, read_result(runs[f"{kind}.json"]))
    assert len({point["who"] for point in points}) == 2


def test_the_overview_and_the_samples_sorted_by_a_measure(runs: dict[str, RunFile]) -> None:
    records = read_records(runs["rag.jsonl"])
    overview = {row[""]: row for row in transcripts.overview(records)}
    assert overview["w_document"]["rouge1"] == "1"
    assert [row[""] for _, row in transcripts.sample_list(records, sort_by="rouge1")] == ["w/o_document", "w_document"]
    ((record, row),) = transcripts.sample_list(records, "w_document")
    assert row["sample"] == record["item"]


def test_an_incomplete_last_line_is_skipped(tmp_path: Path, runs: dict[str, RunFile]) -> None:
    content = runs["rag.jsonl"].path.read_bytes()
    (tmp_path / "rag.jsonl").write_bytes(content + b'{"key": ["w_doc')
    cut = runs["rag.jsonl"]._replace(path=tmp_path / "rag.jsonl")
    assert len(read_records(cut)) == len(read_records(runs["rag.jsonl"])) == 2


def transcript_of(runs: dict[str, RunFile], name: str, at: int = 0) -> list[Message]:
    return transcripts.transcript(runs[name].kind, read_records(runs[name])[at])


def test_a_conversation_is_shown_turn_by_turn(runs: dict[str, RunFile]) -> None:
    turns = transcript_of(runs, "talks/roleplay.jsonl")
    assert [turn.speaker for turn in turns[:4]] == ["user", "EGOS-Small", "user", "EGOS-Small"]
    assert turns[1].text == f"Aye <b>{turns[0].text}</b>."


def test_an_answer_is_shown_with_its_question_its_pages_and_the_reference(runs: dict[str, RunFile]) -> None:
    turns = transcript_of(runs, "rag.jsonl")
    assert turns[-1].speaker == "reference"
    assert turns[-1].text == turns[-3].text
    assert turns[-2].text == "a quote" and turns[-2].speaker.startswith("p. ")
    assert turns[-4].speaker == "user" and turns[-4].text.endswith("?")
    assert transcript_of(runs, "chatbot.jsonl")[1] == ("pocket", "pocket says so")


def test_the_judges_replies_and_the_scores_of_options_are_shown(runs: dict[str, RunFile]) -> None:
    assert "[[" in transcript_of(runs, "judged.score.jsonl")[0].text
    assert ("prediction", "1") in transcript_of(runs, "base.jsonl")


def label(mode: str, entered: Any, out: Path) -> list[Case]:
    while rows := unlabelled(mode, cases(), {c.id for c in (load_cases(out) if out.exists() else ())}, {}):
        row = labelled_row(mode, *rows[0], entered(rows[0][1]))
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    return load_cases(out)


def test_labels_are_examples_for_the_judge_and_the_letters_hide_who_answered(tmp_path: Path) -> None:
    rows = label("pair", lambda c: {"scores": dict.fromkeys(c.answers, 50), "why": "same"}, tmp_path / "l.jsonl")
    assert [row.human for row in rows] == ["tie"] * 4
    assert {tuple(letters_of(case).values()) for case in cases()} == {("ours", "theirs"), ("theirs", "ours")}


def test_the_judge_agrees_with_a_person_on_pairs(tmp_path: Path, runs: dict[str, RunFile]) -> None:
    records = read_records(runs["judged.pair.jsonl"])
    scores = {"ours": 90, "theirs": 20}
    rows = label(
        "pair", lambda case: {"scores": {n: scores[n] for n in case.answers}, "why": "w"}, tmp_path / "l.jsonl"
    )
    found = compare_with_labels("pair", rows, records)
    assert (found["n"], found["accuracy"]) == (4, 1.0)


def test_the_distance_of_the_judges_scores_from_a_persons(tmp_path: Path, runs: dict[str, RunFile]) -> None:
    records = read_records(runs["judged.score.jsonl"])
    assert len(doubts_of(records)) == 8
    rows = label("score", lambda c: {"scores": dict.fromkeys(c.answers, 70), "why": "w"}, tmp_path / "l.jsonl")
    assert len(rows) == 8
    found = compare_with_labels("score", rows, records)
    assert (found["n"], found["distance"], found["lead"]) == (8, 20.0, -10.0)
    with pytest.raises(SourceError, match="no row has both a label and a judgement"):
        compare_with_labels("score", rows, [])


def test_the_run_of_a_sample_is_found_in_langsmith(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    names = {UUID(int=1): "egosrag-manual w/o_document-12ab", UUID(int=2): "egosrag-manual w_document-34cd"}

    class Client:
        def list_runs(self, **kw: Any) -> Any:
            asked.append(kw["reference_example_id"])
            return [SimpleNamespace(id=UUID(int=10 + n.int), session_id=n, start_time=datetime.now(UTC)) for n in names]

        def read_project(self, project_id: str) -> Any:
            return SimpleNamespace(name=names[UUID(project_id)])

    monkeypatch.setattr("langsmith.Client", Client)
    record = {"key": ["w_document", "sample.en-001", "d"], "who": "w_document", "item": "sample.en-001"}
    assert transcripts.langsmith_run("rag", record) == (str(UUID(int=12)), str(UUID(int=2)))
    assert asked == [example_id("egosrag-manual", "sample.en-001")]
    assert transcripts.langsmith_run("rag", record | {"who": "another"}) is None
    assert transcripts.langsmith_run("ppl", record) is None
