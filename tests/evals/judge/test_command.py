"""The judge of report 6.3.1 as a whole: balanced over orders, run as a command, and compared with people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from egosrag.errors import ScriptExhausted, SettingsError, SourceError
from egosrag.models.scripted import ScriptedChatModel
from evals.common.command import app_of
from evals.common.records import Records
from evals.judge import command
from evals.judge.agreement import agreement
from evals.judge.asking import Judge, JudgeOptions, Result, judge_cases, run
from evals.judge.cases import Case, load_cases, load_faireval
from evals.judge.report import report
from evals.judge.verdict import combine
from tests.evals.judge.fakes import PAIR, ReadingJudge, sample

# The judge as a whole


def test_a_judge_that_prefers_the_first_answer_by_20_points_is_detected_and_balanced() -> None:
    cases = [Case(str(n), f"Question {n}?", {"a": f"weak {n}", "b": f"strong {n}"}) for n in range(6)]
    worth = {f"weak {n}": 50.0 for n in range(6)} | {f"strong {n}": 60.0 for n in range(6)}
    judge = Judge(ReadingJudge(worth=worth, bias=20), "pair", k=2)
    results = run(judge, cases, Records(None, {}))
    found = report("pair", results, 0.5)
    assert found["outcomes"] == {"b": 6}
    assert [found["answers"][name]["mean"] for name in "ab"] == [60.0, 70.0]
    assert found["difference"]["mean"] == -10.0
    assert found["lead"]["mean"] == 20.0
    assert found["conflict_rate"]["share"] == 1.0
    assert len(found["people"]) == 3
    one_way = [combine([s for s in j.samples if not s.swapped]).outcome for *_, j in results]
    assert one_way == ["win"] * 6, "unbalanced, the weak answers would have won"


def test_a_biased_judge_is_balanced_when_it_scores_against_a_reference_and_when_it_ranks() -> None:
    case = Case("1", "Q?", {"a": "so so"}, "the reference")
    found = Judge(ReadingJudge(worth={"so so": 40}, bias=20), "score", k=1)(case)
    assert (found.scores, found.lead) == ((50.0,), -10.0)
    many = Case("1", "Q?", {x: f"answer {x}" for x in "abcd"})
    ranked = Judge(
        ReadingJudge(worth={f"answer {x}": w for x, w in zip("abcd", (80, 50, 40, 70), strict=True)}), "rank", k=1
    )(many)
    assert ranked.scores == (3.0, 1.0, 0.0, 2.0)


def test_k_samples_in_each_order_and_one_order_without_a_reference() -> None:
    scripted = ScriptedChatModel(responses=["x [[50]]"] * 5)
    assert len(Judge(scripted, "score", k=2)(Case("1", "Q?", {"a": "b"}, "r")).samples) == 4
    assert len(Judge(scripted, "score", k=1)(Case("1", "Q?", {"a": "b"})).samples) == 1


def test_a_case_that_exceeds_the_context_window_is_unscored_with_the_reason() -> None:
    small = ScriptedChatModel(responses=["[[50]]"], context_window=40)
    found = Judge(small, "score", k=1)(Case("1", "Q?", {"a": "word " * 90}))
    assert found.scores is None
    assert "does not fit the judge" in (found.reason or "")


def test_invalid_judges_and_cases_are_errors() -> None:
    model = ScriptedChatModel(responses=[])
    with pytest.raises(SettingsError, match="there is no mode vote"):
        Judge(model, "vote")
    with pytest.raises(SettingsError, match="at least once"):
        Judge(model, "pair", k=0)
    with pytest.raises(SettingsError, match="example 1 has no label"):
        Judge(model, "pair", examples=(PAIR,))
    with pytest.raises(SettingsError, match="row 1 has 2 answers"):
        Judge(model, "score")(PAIR)


# Runs


def write_rows(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


ROWS = [
    {"question": f"Question {n}?", "reference": "yes", "answers": {"with": "yes", "without": "no"}} for n in range(3)
]


def script(path: Path, *responses: str) -> str:
    path.write_text(json.dumps(responses), encoding="utf-8")
    return f"scripted:{path}"


def invoke(*arguments: str | Path) -> Any:
    app = app_of(command.score, command.pair, command.rank, command.agree, command.label)
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_the_reports_table_1_as_a_command(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "d.jsonl", *ROWS)
    model = script(tmp_path / "s.json", *(["good [[80]]", "good [[70]]", "bad [[60]]", "no verdict", "none"] * 3))
    found = invoke("score", "--data", data, "--model", model, "--k", "1", "--json")
    assert found.exit_code == 0, found.output
    result = json.loads(found.stdout)
    assert (result["n"], result["scored"]) == (6, 3)
    assert result["answers"]["with"]["mean"] == 75.0
    reason = "its last verdict 'none' is not one that it was offered"
    assert result["unscored"][0] == {"id": "1", "answer": "without", "reason": reason}
    assert result["lead"]["mean"] == 5.0
    assert result["people_share"] == pytest.approx(1 / 6)


def test_ranks_as_a_command_give_the_points_of_report_5_2(tmp_path: Path) -> None:
    answers = {name: f"text {name}" for name in ("base", "lora", "instruct", "seven")}
    data = write_rows(tmp_path / "d.jsonl", *({"question": f"Q{n}?", "answers": answers} for n in range(2)))
    replies = ["well [[C > D > B > A]]", "well [[B > A > C > D]]"]  # the second one reads them backwards
    found = invoke(
        "rank", "--data", data, "--model", script(tmp_path / "s.json", *replies, *replies), "--k", "1", "--json"
    )
    assert found.exit_code == 0, found.output
    totals = {name: a["total"] for name, a in json.loads(found.stdout)["answers"].items()}
    assert totals == {"base": 0.0, "lora": 2.0, "instruct": 6.0, "seven": 4.0}


def test_an_interrupted_run_asks_only_the_missing_cases(tmp_path: Path) -> None:
    data, records = write_rows(tmp_path / "d.jsonl", *ROWS), tmp_path / "r.jsonl"
    arguments = ("pair", "--data", data, "--k", "1", "--records", records, "--json")
    short = script(tmp_path / "s.json", "[[A=80, B=60]]", "[[A=50, B=70]]", "[[A=10, B=20]]")
    stopped = invoke(*arguments, "--model", short)
    assert isinstance(stopped.exception, ScriptExhausted)
    assert len(records.read_text(encoding="utf-8").splitlines()) == 2
    script(tmp_path / "s.json", "[[A=90, B=10]]", "[[A=10, B=90]]", "[[A=0, B=1]]", "[[A=1, B=0]]")
    found = invoke(*arguments, "--model", short)
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["outcomes"] == {"with": 2, "without": 1}
    again = invoke(*arguments, "--model", script(tmp_path / "s.json"))
    assert json.loads(again.stdout) == json.loads(found.stdout)


def test_a_changed_row_is_judged_again(tmp_path: Path) -> None:
    records = Records(tmp_path / "r.jsonl", {})
    model = ScriptedChatModel(responses=["[[10]]", "[[20]]"])
    (first,) = run(Judge(model, k=1), [Case("1", "Q?", {"a": "x"})], records)
    (second,) = run(Judge(model, k=1), [Case("1", "Q?", {"a": "y"})], Records(tmp_path / "r.jsonl", {}))
    assert [j.scores for *_, j in (first, second)] == [(10.0,), (20.0,)]


def test_records_of_another_judge_are_an_error(tmp_path: Path) -> None:
    data, records = write_rows(tmp_path / "d.jsonl", ROWS[0]), tmp_path / "r.jsonl"
    model = script(tmp_path / "s.json", "[[A=1, B=0]]", "[[A=1, B=0]]")
    assert invoke("pair", "--data", data, "--model", model, "--k", "1", "--records", records).exit_code == 0
    other = invoke("pair", "--data", data, "--model", model, "--k", "2", "--records", records)
    assert isinstance(other.exception, SettingsError)


def test_the_embedded_model_judges_offline_and_its_invalid_verdicts_are_unscored(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "d.jsonl", {"question": "Why?", "answer": "So."})
    found = invoke("score", "--data", data, "--k", "1", "--max-new-tokens", "16", "--json")
    assert found.exit_code == 0, found.output
    result = json.loads(found.stdout)
    assert result["scored"] + len(result["unscored"]) == 1


def test_standard_output_has_only_json(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "d.jsonl", ROWS[0])
    model = script(tmp_path / "s.json", "[[A=1, B=0]]", "[[A=1, B=0]]")
    found = invoke("pair", "--data", data, "--model", model, "--k", "1", "--json")
    assert len(found.stdout.splitlines()) == 1


# Agreement with people


def judged(case: Case, *values: tuple[bool, float, float]) -> Result:
    return Result("", case, combine([sample(*v) for v in values]))


def test_agreement_of_a_hand_computed_set() -> None:
    names = {"a": "x", "b": "y"}
    people = ["a", "b", "tie", "a"]
    cases = [Case(str(n), "Q?", names, human=h) for n, h in enumerate(people)]
    results = [
        judged(cases[0], (False, 80, 60), (True, 70, 60)),  # a either way: right
        judged(cases[1], (False, 80, 60), (True, 50, 90)),  # a alone, b balanced
        judged(cases[2], (False, 80, 60), (True, 60, 80)),  # a alone, a tie balanced
        judged(cases[3], (False, 60, 80), (True, 60, 80)),  # b either way: wrong
    ]
    found = agreement(results, 0.25)
    assert (found["vanilla"]["accuracy"], found["mec_bpc"]["accuracy"]) == (0.25, 0.75)
    # balanced: said a b tie b, people a b tie a: p_o = 3/4, p_e = (2*1 + 1*2 + 1*1)/16 = 5/16
    assert found["mec_bpc"]["kappa"] == pytest.approx((3 / 4 - 5 / 16) / (11 / 16))
    low, high = found["mec_bpc"]["kappa_ci95"]
    assert low < found["kappa"] < high
    assert found["mec_bpc_people"]["accuracy"] == 0.75, "the most doubtful one was already right"
    assert found["people"] == {"a": 2, "b": 1, "tie": 1}


def test_an_unscored_case_counts_as_a_miss() -> None:
    case = Case("1", "Q?", {"a": "x", "b": "y"}, human="a")
    found = agreement([Result("", case, combine([sample(False), sample(True)]))], 0.0)
    assert (found["mec_bpc"]["accuracy"], found["mec_bpc"]["unscored"]) == (0.0, 1)


def fair(folder: Path, verdicts: str) -> list[str | Path]:
    write_rows(folder / "q.jsonl", *({"question_id": n, "text": f"Question {n}?"} for n in (1, 2)))
    for name in ("gpt", "vic"):
        write_rows(folder / f"{name}.jsonl", *({"question_id": n, "text": f"{name} {n}"} for n in (2, 1)))
    (folder / "review.txt").write_text(verdicts, encoding="utf-8")
    named = [f for name in ("CHATGPT", "VICUNA") for f in ("--answers", f"{name}={folder / name[:3].lower()}.jsonl")]
    return [
        "--questions",
        folder / "q.jsonl",
        *(f.replace("cha.", "gpt.") for f in named),
        "--human",
        folder / "review.txt",
    ]


def test_agreement_on_files_in_fairevals_format(tmp_path: Path) -> None:
    model = script(tmp_path / "s.json", "[[A=80, B=60]]", "[[A=60, B=80]]", "[[A=70, B=70]]", "[[A=70, B=70]]")
    found = invoke("agree", *fair(tmp_path, "ChatGPT\nTIE\n"), "--model", model, "--k", "1", "--json")
    assert found.exit_code == 0, found.output
    result = json.loads(found.stdout)
    assert (result["n"], result["accuracy"], result["kappa"]) == (2, 1.0, 1.0)
    assert result["conflict_rate"]["share"] == 0.0


def test_verdicts_with_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    arguments = fair(tmp_path, "\ufeffChatGPT\r\nTIE\r\n")
    model = script(tmp_path / "s.json", *["[[A=70, B=70]]"] * 4)
    found = invoke("agree", *arguments, "--model", model, "--k", "1", "--json")
    assert json.loads(found.stdout)["people"] == {"CHATGPT": 1, "tie": 1}


@pytest.mark.parametrize("row", [{"id": 2, "text": "x"}, {"question_id": 2}, {"question_id": 2, "text": None}])
@pytest.mark.parametrize("file", ["q.jsonl", "gpt.jsonl"])
def test_a_malformed_row_of_fairevals_files_is_named(tmp_path: Path, file: str, row: dict[str, Any]) -> None:
    arguments = fair(tmp_path, "ChatGPT\nTIE\n")
    write_rows(tmp_path / file, {"question_id": 1, "text": "One"}, row)
    found = invoke("agree", *arguments)
    assert isinstance(found.exception, SourceError) and f"{file}: row 2 is not" in str(found.exception)


def test_people_and_answers_are_checked_before_the_judge_is_asked(tmp_path: Path) -> None:
    model, records = script(tmp_path / "s.json", *["[[A=1, B=0]]"] * 4), tmp_path / "r.jsonl"
    data = write_rows(tmp_path / "d.jsonl", ROWS[0] | {"human": "with"}, ROWS[1] | {"human": "nobody"})
    found = invoke("agree", "--data", data, "--model", model, "--records", records)
    assert "d.jsonl: row 2: 'nobody' is not an answer of it" in str(found.exception)
    data = write_rows(tmp_path / "d.jsonl", ROWS[0], {"question": "Q?", "answer": "A"})
    found = invoke("pair", "--data", data, "--model", model, "--records", records)
    assert "row 2 has 1 answers" in str(found.exception)
    assert not records.exists(), "nothing was judged"


def test_judgements_are_printed_before_an_upload_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise SettingsError("LangSmith did not accept it")

    monkeypatch.setattr("evals.common.langsmith.client", lambda: None)
    monkeypatch.setattr("evals.common.experiment.publish", refuse)
    data, model = write_rows(tmp_path / "d.jsonl", ROWS[0]), script(tmp_path / "s.json", *["[[A=1, B=0]]"] * 2)
    found = invoke("pair", "--data", data, "--model", model, "--k", "1", "--upload", "--json")
    assert isinstance(found.exception, SettingsError) and json.loads(found.stdout)["scored"] == 1


def test_a_judge_that_was_trained_again_does_not_resume(tmp_path: Path) -> None:
    (tmp_path / "judge").mkdir()
    weights, records = tmp_path / "judge" / "model.safetensors", tmp_path / "r.jsonl"
    options = JudgeOptions(str(weights.parent), k=1)
    for content in ("weights", "trained again"):
        weights.write_text(content, encoding="utf-8")
        model = ScriptedChatModel(responses=["[[A=1, B=0]]"] * 2)
        if records.exists():
            with pytest.raises(SettingsError, match="name another file"):
                judge_cases("pair", [PAIR], options, records=records, model=model)
        else:
            judge_cases("pair", [PAIR], options, records=records, model=model)


def test_files_that_do_not_match_are_errors(tmp_path: Path) -> None:
    for verdicts, message in (("CHATGPT\nBARD\n", "the verdict BARD"), ("CHATGPT\n", "1 verdicts on 2 questions")):
        found = invoke("agree", *fair(tmp_path, verdicts))
        assert isinstance(found.exception, SourceError)
        assert message in str(found.exception)
    data = write_rows(tmp_path / "d.jsonl", ROWS[0])
    model = script(tmp_path / "s.json", "[[A=1, B=0]]", "[[A=1, B=0]]")
    found = invoke("agree", "--data", data, "--model", model, "--k", "1")
    assert "no row has a person's verdict" in str(found.exception)
    assert isinstance(invoke("agree").exception, SettingsError)


def test_fairevals_real_labels(shared_data: Path) -> None:
    folder = shared_data / "faireval"
    names = {"CHATGPT": "gpt35", "VICUNA13B": "vicuna-13b"}
    cases = load_faireval(
        folder / "question.jsonl",
        {name: folder / "answer" / f"answer_{file}.jsonl" for name, file in names.items()},
        folder / "review" / "review_gpt35_vicuna-13b_human.txt",
    )
    verdicts = [case.human for case in cases]
    assert [verdicts.count(v) for v in ("CHATGPT", "VICUNA13B", "tie")] == [41, 25, 14]
    always = [Result("", case, combine([sample(False, 90, 10), sample(True, 90, 10)])) for case in cases]
    assert agreement(always, 0.0)["mec_bpc"]["accuracy"] == pytest.approx(41 / 80)
    assert agreement(always, 0.0)["mec_bpc"]["kappa"] == pytest.approx(0.0)


# A person labels


def form(*arguments: str | Path, entered: str) -> Any:
    return CliRunner().invoke(app_of(command.label), [str(a) for a in arguments], input=entered)


def test_labels_become_examples_for_the_judge(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "d.jsonl", ROWS[0], {"question": "Why?", "answer": "So."})
    out = tmp_path / "e.jsonl"
    found = form("--data", data, "--out", out, entered="90\nIt is right.\n900\nbad\n10\nIt is wrong.\n50\nHalf.\n")
    assert found.exit_code == 0, found.output
    assert found.output.count("A whole number from 0 to 100") == 2
    examples = load_cases(out)
    assert [e.label["scores"] for e in examples] == [{"with": 90}, {"without": 10}, {"answer": 50}]
    judge_data = write_rows(tmp_path / "j.jsonl", {"question": "New?", "answer": "Yes."})
    model = script(tmp_path / "s.json", "[[77]]")
    scored = invoke("score", "--data", judge_data, "--model", model, "--k", "1", "--examples", out, "--json")
    assert json.loads(scored.stdout)["answers"]["answer"]["mean"] == 77.0


def test_the_form_hides_who_answered_skips_rows_and_is_resumed(tmp_path: Path) -> None:
    data, out = write_rows(tmp_path / "d.jsonl", *ROWS), tmp_path / "e.jsonl"
    arguments = ("--data", data, "--out", out, "--mode", "pair")
    first = form(*arguments, entered="s\n60\n60\nBoth.\nq\n")
    assert "without" not in first.output
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [(row["id"], row["human"]) for row in rows] == [("2", "tie")]
    form(*arguments, entered="70\n20\nOne.\n70\n20\nOne.\n")
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == ["2", "1", "3"]
    for row in rows[1:]:
        assert row["human"] == max(row["label"]["scores"], key=row["label"]["scores"].get)


def test_the_form_asks_for_rankings_and_starts_with_the_most_doubtful_row(tmp_path: Path) -> None:
    data, out, records = write_rows(tmp_path / "d.jsonl", *ROWS), tmp_path / "e.jsonl", tmp_path / "r.jsonl"
    replies = ["[[A > B]]", "[[B > A]]", "[[A > B]]", "[[A > B]]", "[[A > B]]", "[[B > A]]"]
    model = script(tmp_path / "s.json", *replies)
    assert invoke("rank", "--data", data, "--model", model, "--k", "1", "--records", records).exit_code == 0
    arguments = ("--data", data, "--out", out, "--mode", "rank", "--doubtful", records)
    found = form(*arguments, entered="BB\nb > a\nBecause.\nq\n")
    assert found.exit_code == 0, found.output
    (row,) = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert row["id"] == "2"
    assert sorted(row["label"]["order"]) == ["with", "without"]
    Judge(ScriptedChatModel(responses=[]), "rank", examples=tuple(load_cases(out)))


def test_labels_are_appended_on_lines_of_their_own_in_a_folder_that_is_made(tmp_path: Path) -> None:
    data = write_rows(
        tmp_path / "d.jsonl", {"question": "Why?", "answer": "So."}, {"question": "How?", "answer": "So."}
    )
    out = tmp_path / "new" / "e.jsonl"
    assert form("--data", data, "--out", out, entered="90\nRight.\nq\n").exit_code == 0
    out.write_bytes(out.read_bytes().rstrip(b"\n"))
    assert form("--data", data, "--out", out, entered="80\nRight.\n").exit_code == 0
    assert [case.id for case in load_cases(out)] == ["1", "2"]


def test_a_file_of_labels_is_checked_before_the_person_is_asked(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "d.jsonl", {"question": "Why?", "answer": "So."})
    for out, message in ((tmp_path, "it is a folder"), (data / "e.jsonl", "is no folder")):
        found = form("--data", data, "--out", out, entered="90\nRight.\n")
        assert isinstance(found.exception, SettingsError) and message in str(found.exception)
        assert "Score" not in found.output
    others = write_rows(tmp_path / "o.jsonl", {"id": "1", "question": "Who?", "answers": {"answer": "I."}})
    found = form("--data", data, "--out", others, entered="90\nRight.\n")
    assert "has the label of another row with the id 1" in str(found.exception)
    nameless = write_rows(tmp_path / "n.jsonl", {"question": "Who?"}, {"id": None, "question": "Who?"})
    found = form("--data", data, "--out", nameless, entered="90\nRight.\n")
    assert found.exit_code == 0 and "n.jsonl: row 1 has no id" in found.output and "row 2 has no id" in found.output


def test_an_id_or_a_field_of_a_label_that_is_null_counts_as_left_out(tmp_path: Path) -> None:
    row = {"id": None, "question": "Q?", "answers": {"a": "x", "b": "y"}}
    label = {"scores": {"a": 50, "b": 60}, "why": None, "order": None}
    cases = load_cases(write_rows(tmp_path / "d.jsonl", row | {"label": label}, row | {"label": {"scores": None}}))
    assert [case.id for case in cases] == ["1", "2"]
    Judge(ScriptedChatModel(responses=["[[A=1, B=0]]"] * 2), "pair", k=1, examples=(cases[0],))(PAIR)
    with pytest.raises(SettingsError, match="example 2 has no label"):
        Judge(ScriptedChatModel(responses=[]), "pair", examples=(cases[1],))


BAD = [
    ({"question": "Q?"}, "row 1 has no question with answers"),
    ({"question": "Q?", "answers": {}}, "row 1 has no question with answers"),
    ({"question": "Q?", "answer": 5}, "must be texts"),
    ({"question": "Q?", "answer": "A", "label": "x"}, "label must be"),
    ({"question": "Q?", "answer": "A", "label": {"scores": {"answer": 500}}}, "scores of a label"),
    ({"question": "Q?", "answer": "A", "label": {"scores": ["answer"]}}, "scores of a label"),
    ({"question": "Q?", "answer": "A", "label": {"order": "answer"}}, "order of a label"),
    ({"question": "Q?", "answer": "A", "label": {"why": ["x"]}}, "why of a label"),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_a_malformed_row_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        load_cases(write_rows(tmp_path / "d.jsonl", row))


def test_empty_files_and_repeated_ids_are_errors(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no rows"):
        load_cases(write_rows(tmp_path / "d.jsonl"))
    with pytest.raises(SourceError, match="d.jsonl: rows 1 and 2 have the same id '7'"):
        load_cases(write_rows(tmp_path / "d.jsonl", *[{"id": 7, "question": "Q?", "answer": "A"}] * 2))
