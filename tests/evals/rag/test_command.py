"""Manual QA with and without the document: rows, scorer, calibration, table, and the whole command offline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from egosrag.errors import ScriptExhausted, SettingsError, SourceError
from egosrag.models.scripted import ScriptedChatModel
from evals.common.command import app_of
from evals.common.models import ModelSpec
from evals.rag.calibration import best_threshold, calibrate
from evals.rag.command import command
from evals.rag.questions import limited, load_manual, samples
from evals.rag.report import summary
from evals.rag.run import evaluate
from evals.rag.scorer import bleu, rouge, score
from evals.rag.systems import WITH, WITHOUT

MANUAL = """# Doors

The tailgate opens to a height of 195 cm. Hold its button for 4 seconds to set a lower height.

# Keys

The smart key works within 25 metres of the car. Its battery is of the type CR2032.
"""
QUESTIONS = [
    {"question": "How high does the tailgate open?", "reference": "page_1", "answer": "195 cm", "kind": "direct"},
    {"question": "Which battery does the key need?", "reference": "page_1", "answer": "CR2032", "kind": "direct"},
    {"question": "Who wrote Hamlet?"},
    {"question": "Is there a sunroof?", "reference": "page_1", "answer": "The manual does not say."},
]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    document, questions = tmp_path / "doors.md", tmp_path / "questions.json"
    document.write_text(MANUAL, encoding="utf-8")
    questions.write_text(json.dumps(QUESTIONS), encoding="utf-8")
    return document, questions


# Rows


def test_the_samples_have_questions_of_four_kinds_in_two_languages() -> None:
    found = samples()
    assert [one.name for one in found] == ["sample.en", "sample.zh"]
    for one in found:
        assert len(one.rows) == 64
        assert {row["kind"] for row in one.rows} == {"direct", "paraphrase", "followup", "unanswerable"}
        assert sum(not row["answerable"] for row in one.rows) == 10
        assert all(row["pages"] for row in one.rows if row["answerable"])
    assert len(limited(found, 2)) == 2 * 4 * 2


def test_a_row_without_pages_or_with_an_answer_that_there_is_none_is_unanswerable(files: tuple[Path, Path]) -> None:
    rows = load_manual("doors", [files[0]], files[1]).rows
    assert [row["answerable"] for row in rows] == [True, True, False, False]
    assert [row["reference"] for row in rows[2:]] == ["The manual does not say."] * 2
    assert rows[3]["pages"] == []


def test_jsonl_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "油多少？", "reference": ["page_3", "page_4"], "id": "a"}\n', encoding="utf-8")
    (row,) = load_manual("m", [], path).rows
    assert (row["id"], row["pages"], row["reference"], row["answerable"]) == ("a", [3, 4], "", True)


@pytest.mark.parametrize("text", ["{}", "[]", "[1]", '[{"question": ""}]', '[{"question": 3}]', "nonsense"])
def test_malformed_questions_are_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "q.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SourceError):
        load_manual("m", [], path)


# The scorer


def test_rouge_is_recall_over_words_of_both_languages() -> None:
    assert rouge("The tailgate opens to 195 cm.", "195 cm", 1) == 1.0
    assert rouge("It opens to 195.", "195 cm", 1) == 0.5
    assert rouge("cm 195", "195 cm", 2) == 0.0
    assert rouge("尾门打开到195厘米", "195厘米", 2) == 1.0
    assert rouge("型号是CR2032。", "CR2032", 2) == 1.0  # a reference of one word
    assert rouge("", "195 cm", 1) == 0.0


def test_bleu_works_in_both_languages() -> None:
    assert bleu("尾门打开的高度是195厘米。", "尾门打开的高度是195厘米。") == pytest.approx(1.0)
    assert bleu("The tailgate opens to 195 cm.", "The tailgate opens to 195 cm.") == pytest.approx(1.0)
    assert bleu("完全不同", "尾门打开") == 0.0


ROW = {"id": "1", "manual": "m", "kind": "direct", "answerable": True, "reference": "195 cm", "pages": [3]}


def cited(*pages: int, answer: str = "To 195\ncm.", refused: bool = False) -> dict[str, Any]:
    citations = [{"page": page} for page in pages]
    return {"answer": answer, "refused": refused, "citations": citations, "verified_quotes": len(pages)}


def test_pages_and_citations_are_compared_with_the_reference() -> None:
    found = score(ROW, cited(3, 4))
    assert (found["reference_contained"], found["page_hit"]) == (1, 1)
    assert (found["citation_precision"], found["quote_verified"]) == (0.5, 1)
    nothing = score(ROW, cited(answer="The manual does not say.", refused=True))
    assert (nothing["page_hit"], nothing["citation_precision"], nothing["refused"]) == (0.0, None, 1.0)


def test_without_a_document_a_refusal_is_detected_by_its_wording_and_nothing_is_cited() -> None:
    found = score(ROW, {"answer": "抱歉，我不知道。"})
    assert found["refused"] == 1.0
    assert "page_hit" not in found


def test_unanswerable_questions_count_only_for_refusals() -> None:
    unanswerable = ROW | {"id": "2", "answerable": False, "pages": [], "reference": "The manual does not say."}
    records = [
        {"item": "1", "measures": score(ROW, cited(3))},
        {"item": "2", "measures": score(unanswerable, cited(answer="The manual does not say.", refused=True))},
    ]
    found = summary([ROW, unanswerable], records)["all"]
    assert found["rouge1"]["n"] == 1
    assert found["refusal"]["precision"]["value"] == found["refusal"]["recall"]["value"] == 1.0


# Calibration


def test_the_threshold_separates_both_kinds_and_is_the_lower_one_on_a_tie() -> None:
    assert best_threshold([(0.1, False), (0.2, False), (0.6, True), (0.8, True)]) == pytest.approx(0.4)
    assert best_threshold([(0.5, True), (0.6, False)]) == 0.0  # the wrong way round: nothing is refused
    assert best_threshold([(0.1, False), (0.3, True), (0.5, False), (0.7, True)]) == pytest.approx(0.2)


def test_each_half_is_measured_with_the_threshold_of_the_other() -> None:
    easy = [(0.1, False, "x"), (0.1, False, "x"), (0.9, True, "y"), (0.9, True, "y")]
    found = calibrate(easy)
    assert found["threshold"] == pytest.approx(0.5)
    assert [half["recall"]["value"] for half in found["halves"]] == [1.0, 1.0]
    assert found["held_out"]["n"] == 4
    # What separates one half does not separate the other: the held-out figures say so.
    unlucky = [(0.1, False, "x"), (0.6, False, "x"), (0.5, True, "y"), (0.9, True, "y")]
    assert calibrate(unlucky)["held_out"]["recall"]["value"] == 0.5
    assert calibrate([(0.5, True, "y")] * 4) == {}


# The command


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app_of(command), [str(a) for a in arguments], catch_exceptions=False)


def script(path: Path, *responses: str) -> str:
    path.write_text(json.dumps(responses), encoding="utf-8")
    return f"scripted:{path}"


def test_both_systems_are_asked_and_judged_and_an_interrupted_run_is_resumed(
    tmp_path: Path, files: tuple[Path, Path]
) -> None:
    document, questions = files
    answers = ["The tailgate opens to a height of 195 cm [1].", "The battery is of the type CR2032 [1]."]
    alone = ["About two metres.", "An AA battery, 195 cm long.", "Shakespeare.", "I don't know."]
    model = script(tmp_path / "model.json", *answers, *alone)
    judge = script(tmp_path / "judge.json", *["Fine. [[90]]", "Wrong. [[30]]"] * 8)
    common = ("--pages", document, "--questions", questions, "--model", model, "--records", tmp_path / "run.jsonl")
    figure = tmp_path / "rag.png"
    done = invoke(*common, "--judge", judge, "--judge-k", 1, "--figure", figure, "--json")
    result = json.loads(done.stdout)
    assert (result["n"], result["answerable"], "note" in result) == (4, 2, False)
    with_document, without = (result["systems"][name]["all"] for name in (WITH, WITHOUT))
    shares = ("reference_contained", "page_hit", "quote_verified")
    assert [with_document[share]["value"] for share in shares] == [1.0, 1.0, 1.0]
    assert with_document["refusal"]["recall"]["value"] == 1.0
    assert (without["reference_contained"]["value"], without["refusal"]["recall"]["value"]) == (0.0, 0.5)
    assert "page_hit" not in without
    assert set(result["judge"]["answers"]) == {WITH, WITHOUT}
    assert result["judge"]["scored"] == 8
    assert figure.read_bytes().startswith(b"\x89PNG")
    # The second run asks nothing: a model with an empty script would raise.
    script(tmp_path / "model.json")
    again = json.loads(invoke(*common, "--json").stdout)
    assert again["systems"] == result["systems"]


def test_a_run_with_pocket_has_a_note(files: tuple[Path, Path]) -> None:
    arguments = ("--pages", files[0], "--questions", files[1], "--limit", 1, "--max-new-tokens", 8)
    printed = invoke(*arguments).stdout
    assert "w_document" in printed and "w/o_document" in printed
    assert "knows nothing of the world" in " ".join(printed.split())


def test_pages_without_questions_are_an_error(files: tuple[Path, Path]) -> None:
    with pytest.raises(SettingsError, match="both"):
        invoke("--pages", files[0])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "Q?", "reference": "seite 2"}, "row 2: reference 'seite 2' is not page_N"),
        ({"question": "Q?", "answer": 5}, "row 2 is not a question: the answer must be a text"),
        ({"question": "Q?", "answerable": "false"}, "row 2 is not a question: answerable is 'false'"),
        ({"question": "Q?", "id": "a"}, "rows 1 and 2 have the same id 'a'"),
    ],
)
def test_a_bad_row_is_named_with_its_file(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    path = tmp_path / "q.json"
    path.write_text(json.dumps([{"question": "A?", "id": "a"}, row]), encoding="utf-8")
    with pytest.raises(SourceError, match="q.json") as error:
        load_manual("m", [], path)
    assert message in str(error.value)


def test_fields_that_are_null_count_as_left_out(tmp_path: Path) -> None:
    empty = dict.fromkeys(("id", "history", "kind", "answerable"))
    path = tmp_path / "q.json"
    path.write_text(json.dumps([{**QUESTIONS[0], **empty}, {**QUESTIONS[1], **empty}]), encoding="utf-8")
    rows = load_manual("m", [], path).rows
    assert [(row["id"], row["kind"], row["answerable"]) for row in rows] == [
        ("m-001", "answerable", True),
        ("m-002", "answerable", True),
    ]


def test_changed_pages_or_an_adapter_trained_again_are_asked_anew(tmp_path: Path, files: tuple[Path, Path]) -> None:
    adapter, records = tmp_path / "adapter", tmp_path / "r.jsonl"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    manuals = [load_manual("doors", [files[0]], files[1])]
    edits = (
        lambda: None,
        lambda: files[0].write_text(MANUAL.replace("195", "196"), encoding="utf-8"),
        lambda: (adapter / "adapter_model.safetensors").write_bytes(b"trained again"),
        lambda: None,
    )
    asked = []
    for edit in edits:
        edit()
        model = ModelSpec("scripted", str(adapter))
        script = ScriptedChatModel(responses=["195 cm."] * 8)
        object.__setattr__(model, "loaded", script)
        evaluate(manuals, model, limit=1, records=records)
        asked.append(bool(script.calls))
    assert asked == [True, True, True, False]
    rows = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()[1:]]
    assert len({row["setting"] for row in rows}) == 3 and len({row["content"] for row in rows}) == 2


def test_a_question_too_long_is_named_and_counts_as_not_answered(tmp_path: Path, files: tuple[Path, Path]) -> None:
    rows = [QUESTIONS[0] | {"question": "why " * 6000}, QUESTIONS[1], {"question": ""}]
    files[1].write_text(json.dumps(rows), encoding="utf-8")
    model = script(tmp_path / "model.json", "The battery is of the type CR2032 [1].", *["An AA battery."] * 2)
    done = invoke("--pages", files[0], "--questions", files[1], "--model", model, "--json")
    result = json.loads(done.stdout)
    assert (result["n"], result["not_answered"][WITH]) == (2, 1)
    assert result["systems"][WITH]["all"]["right"]["value"] == 0.5
    assert "questions-001 counts as not answered" in done.stderr and "row 3 is left out" in done.stderr


def test_what_of_the_pages_is_not_read_is_named(tmp_path: Path, files: tuple[Path, Path]) -> None:
    pages = tmp_path / "pages.jsonl"
    pages.write_text(json.dumps({"page": 1, "text": MANUAL}) + '\n{"page": null, "text": "x"}\n', encoding="utf-8")
    model = script(tmp_path / "model.json", *["195 cm."] * 4)
    done = invoke("--pages", pages, "--questions", files[1], "--model", model, "--limit", 1, "--json")
    assert "pages.jsonl: not read: line 2" in done.stderr


def test_answers_are_printed_where_the_judge_fails(tmp_path: Path, files: tuple[Path, Path]) -> None:
    model, judge = script(tmp_path / "model.json", *["195 cm."] * 8), script(tmp_path / "judge.json")
    arguments = ["--pages", files[0], "--questions", files[1], "--model", model, "--judge", judge, "--json"]
    done = CliRunner().invoke(app_of(command), [str(a) for a in arguments])
    assert isinstance(done.exception, ScriptExhausted) and json.loads(done.stdout)["n"] == 4
