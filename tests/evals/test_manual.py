"""``python -m evals.manual``: right answers, where one is lost, and questions without their document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from egosrag.errors import SettingsError
from egosrag.models.scripted import ScriptedChatModel
from evals.common.command import app_of
from evals.manual import Engines, ask, command, is_right
from evals.rag.questions import Manual, load_manual

PAGES = [
    {"page": 1, "document": "kettle", "text": "The kettle holds 1.7 litres. It must not be used without water."},
    {"page": 2, "document": "kettle", "text": "The kettle switches itself off after the water boils."},
    {"page": 3, "document": "lamp", "text": "The lamp uses two AA batteries. Replace them every 12 months."},
]
QUESTIONS = [
    {"question": "How much water does the kettle hold?", "reference": "page_1", "answer": "1.7 litres"},
    {"question": "Which batteries does the lamp use?", "reference": "page_3", "answer": "two AA batteries"},
    {"question": "May the kettle be used without water?", "reference": "page_1", "answer": "No"},
    {"question": "Who designed the lamp?"},
]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    pages, questions = tmp_path / "pages.jsonl", tmp_path / "questions.json"
    pages.write_text("".join(json.dumps(page) + "\n" for page in PAGES), encoding="utf-8")
    questions.write_text(json.dumps(QUESTIONS), encoding="utf-8")
    return pages, questions


@pytest.fixture
def manual(files: tuple[Path, Path]) -> Manual:
    return load_manual("things", [files[0]], files[1])


@pytest.mark.parametrize(
    ("answer", "reference", "question", "right"),
    [
        ("It holds 1.7 litres of water.", "1.7 litres", "", True),
        ("It holds 7 litres of water.", "1.7 litres", "", False),
        ("The car has 7 airbags.", "seven", "", True),
        ("钥匙在25米以内有效。", "25米", "", True),
        ("仪表板左下方有拉手。", "仪表板左下方", "", True),
        ("在手套箱后面。", "仪表板左下方", "", False),
        ("Locking needs the mechanical key.", "with the mechanical key", "How do I lock it?", True),
        ("Rest for half an hour, then measure again.", "Rest for at least half an hour after exercise.", "", True),
        ("Yes, it is.", "Yes", "", True),
        ("No.", "Yes", "", False),
        (
            "You can request a session online. It does not cost anything.",
            "Yes",
            "Can I request a session online?",
            True,
        ),
        ("The kettle must not be used without water.", "No", "May the kettle be used without water?", True),
        ("不能，请勿使用。", "否", "能用吗？", True),
    ],
)
def test_a_right_answer_has_the_numbers_and_the_key_words(
    answer: str, reference: str, question: str, right: bool
) -> None:
    assert is_right(answer, reference, question) is right


@pytest.mark.parametrize(
    ("row", "raw", "stage"),
    [
        (0, "The kettle holds 1.7 litres.", "right"),
        (0, "The kettle switches itself off.", "wrong answer"),
        (2, "No.", "right"),
        (2, "It is made of steel and silver.", "right"),  # the manual is quoted instead
    ],
)
def test_the_stage_says_where_an_answer_was_lost(manual: Manual, row: int, raw: str, stage: str) -> None:
    model = ScriptedChatModel(responses=[raw])
    engine = Engines([manual], model).of(manual.rows[row])
    record = ask(engine, manual.rows[row], answerable=True)
    assert (record["stage"], record["drafts"]) == (stage, [raw])
    assert record["measures"]["retrieved"] == 1.0


def test_an_unanswerable_question_has_a_refusal_and_no_stage(manual: Manual) -> None:
    engine = Engines([manual], ScriptedChatModel(responses=["The manual does not say."])).of(manual.rows[3])
    record = ask(engine, manual.rows[3], answerable=False)
    assert record["measures"]["refused"] == 1.0
    assert "stage" not in record and "right" not in record["measures"]


def test_held_out_questions_are_asked_without_their_document(manual: Manual) -> None:
    engines = Engines([manual], ScriptedChatModel(responses=[]), hold_out=2)
    lamp, kettle = manual.rows[1], manual.rows[0]
    assert [engines.answerable(row) for row in manual.rows] == [True, False, True, False]
    assert {page.page for page in engines.of(lamp).index.pages} == {1, 2}
    assert {page.page for page in engines.of(kettle).index.pages} == {1, 2, 3}
    with pytest.raises(SettingsError, match="JSONL"):
        Engines([manual._replace(documents=(Path("a.pdf"),))], ScriptedChatModel(responses=[]), hold_out=2)


def test_the_command_resumes_and_counts(files: tuple[Path, Path], tmp_path: Path) -> None:
    script, records = tmp_path / "script.json", tmp_path / "records.jsonl"
    script.write_text(json.dumps(["The kettle holds 1.7 litres.", "Two AA batteries.", "No.", "Sorry."]), "utf-8")
    arguments = ["--model", f"scripted:{script}", "--pages", str(files[0]), "--questions", str(files[1])]
    result = run(*arguments, "--records", str(records))
    assert (result["n"], result["right"]["n"], result["right"]["value"]) == (4, 3, 1.0)
    assert result["refusal"]["recall"]["value"] == result["refusal"]["precision"]["value"] == 1.0
    assert result["stages"] == {"right": 3}
    assert set(result["kinds"]) == {"answerable", "unanswerable"}
    assert run(*arguments, "--records", str(records)) == result, "nothing is asked again"
    table = CliRunner().invoke(app_of(command), [*arguments, "--records", str(records)]).output
    assert "refusal" in table and "right 3" in table


def run(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app_of(command), [*arguments, "--json"], catch_exceptions=False)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_other_pages_or_another_question_are_asked_anew(tmp_path: Path, files: tuple[Path, Path]) -> None:
    script, records = tmp_path / "script.json", tmp_path / "records.jsonl"
    pages, questions = files
    arguments = ["--model", f"scripted:{script}", "--pages", str(pages), "--questions", str(questions)]
    arguments += ["--limit", "1", "--records", str(records)]
    questions.write_text(json.dumps([QUESTIONS[0] | {"id": "a"}]), encoding="utf-8")

    def asked(answer: str) -> Any:
        script.write_text(json.dumps([answer]), "utf-8")
        return run(*arguments)["right"]["value"]

    assert asked("The kettle holds 1.7 litres.") == 1.0
    pages.write_text(pages.read_text("utf-8").replace("1.7", "1.9"), "utf-8")
    assert asked("The kettle holds 1.9 litres.") == 0.0, "the pages changed"
    questions.write_text(json.dumps([QUESTIONS[0] | {"id": "a", "answer": "1.9 litres"}]), encoding="utf-8")
    assert asked("The kettle holds 1.9 litres.") == 1.0, "the question changed"
    keys = [json.loads(line)["key"] for line in records.read_text("utf-8").splitlines()[1:]]
    assert [key[0] for key in keys] == ["a"] * 3 and len({key[1] for key in keys}) == 3


def test_records_without_a_digest_are_read_and_their_questions_asked_anew(
    tmp_path: Path, files: tuple[Path, Path]
) -> None:
    script, records = tmp_path / "script.json", tmp_path / "records.jsonl"
    script.write_text(json.dumps(["The kettle holds 1.7 litres."]), "utf-8")
    made_from = {"evaluation": "manual", "model": f"scripted:{script}", "weights": [], "hold_out": 0}
    old = [{"run": made_from | {"max_new_tokens": 256}}, {"key": ["questions-001"], "measures": {"right": 0.0}}]
    records.write_text("".join(json.dumps(row) + "\n" for row in old), "utf-8")
    files[1].write_text(json.dumps(QUESTIONS[:1]), "utf-8")
    arguments = ["--model", f"scripted:{script}", "--pages", str(files[0]), "--questions", str(files[1])]
    assert run(*arguments, "--records", str(records))["right"]["value"] == 1.0


def test_what_of_the_pages_is_not_read_is_named(
    tmp_path: Path, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with files[0].open("a", encoding="utf-8") as file:
        file.write('{oops\n{"page": "5", "document": "x", "text": "A fan."}\n{"document": "x", "text": "A fan."}\n')
    (tmp_path / "empty.md").write_text("", encoding="utf-8")
    whole = load_manual("things", [files[0], tmp_path / "empty.md"], files[1])
    noted: list[str] = []
    Engines([whole], ScriptedChatModel(responses=[]), on_skip=noted.append).of(whole.rows[0])
    assert [n for n in (4, 5, 6) if any(f"line {n}" in note for note in noted)] == [4, 5, 6]
    assert any("empty.md" in note for note in noted)
    held = load_manual("things", [files[0]], files[1])
    engines = Engines([held], ScriptedChatModel(responses=[]), hold_out=1)
    assert {page.page for page in engines.of(held.rows[0]).index.pages} == {3}
    assert "line 5: page must be a new number" in capsys.readouterr().err


def test_a_question_whose_page_is_not_there_is_not_held_out(files: tuple[Path, Path]) -> None:
    files[1].write_text(json.dumps([QUESTIONS[0], QUESTIONS[1] | {"reference": "page_99"}]), "utf-8")
    manual, noted = load_manual("things", [files[0]], files[1]), list[str]()
    engines = Engines([manual], ScriptedChatModel(responses=[]), 1, noted.append)
    assert [engines.answerable(row) for row in manual.rows] == [False, True]
    assert len(noted) == 1 and "things-002 is not held out" in noted[0]


def test_a_question_too_long_counts_as_not_answered_and_an_empty_one_is_left_out(
    tmp_path: Path, files: tuple[Path, Path]
) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps(["The kettle holds 1.7 litres."]), "utf-8")
    rows = [QUESTIONS[1] | {"question": "why " * 6000}, QUESTIONS[0], QUESTIONS[2] | {"question": " "}]
    files[1].write_text(json.dumps(rows), "utf-8")
    arguments = ["--model", f"scripted:{script}", "--pages", str(files[0]), "--questions", str(files[1])]
    done = CliRunner().invoke(app_of(command), [*arguments, "--json"], catch_exceptions=False)
    result = json.loads(done.stdout)
    assert (result["n"], result["not_answered"], result["right"]["value"]) == (2, 1, 0.5)
    assert result["stages"] == {"right": 1, "too long": 1}
    assert "questions-001 counts as not answered: the question has 24,000 characters" in done.stderr
    assert "questions.json: row 3 is left out: it has no question" in done.stderr
    script.write_text(json.dumps(["The kettle holds 1.7 litres."]), "utf-8")
    table = CliRunner().invoke(app_of(command), arguments, catch_exceptions=False).stdout
    assert "1 questions are too long for the model" in table
