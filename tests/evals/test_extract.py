"""``python -m evals.extract``: the measures of cards and scenes, the data, and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from egosrag.egos.extract.evidence import LABELS
from egosrag.models.scripted import ScriptedChatModel
from egosrag.rag.documents.load import read_text
from evals.common.command import app_of
from evals.common.facts import contains, contains_all
from evals.common.records import Records
from evals.extract import ROOT, Case, cases, command, evaluate, score_card, score_scenes, summary

TEXT = "Tim is a tram driver in Holm. He is afraid of geese. Ann, his sister, sells fish. She is 40."
ROW: dict[str, Any] = {
    "id": "tim",
    "name": "Tim",
    "text": TEXT,
    "facts": [
        {"words": [["tram"], ["driver", "drives"]], "under": ["background"]},
        {"words": [["geese"], ["afraid"]], "under": ["personality"]},
        {"words": [["Ann"], ["sister"]], "under": ["relations", "background"]},
    ],
    "others": [{"words": [["fish"]], "unless": ["Ann"]}],
}
ALL = [case for out in (False, True) for case in cases(["card", "summary"], ["en", "zh"], held_out=out)]


def scored(**card: list[str]) -> dict[str, float | None]:
    return score_card(card, ROW, TEXT)


def test_a_fact_counts_where_one_statement_has_all_its_words() -> None:
    assert scored(background=["Tim drives a tram."])["facts"] == pytest.approx(1 / 3)
    assert scored(background=["Tim has a tram.", "Tim is a driver."])["facts"] == 0


def test_a_fact_is_sorted_under_each_heading_that_fits() -> None:
    everywhere = scored(background=["Tim is a tram driver.", "He is afraid of geese.", "Ann is his sister."])
    assert everywhere["facts"] == 1
    assert everywhere["sorted"] == pytest.approx(2 / 3)


def test_names_numbers_and_words_that_the_text_lacks_are_not_supported() -> None:
    stated = ["Tim is a tram driver.", "Tim comes from Oslo.", "Tim is 50.", "Tim loves opera, chess and cooking."]
    assert scored(background=stated)["supported"] == 1 / 4


@pytest.mark.parametrize("about", ["Tim is 40.", "He sells trams.", "Ann is his sister.", "Afraid of geese.", "怕鹅。"])
def test_a_statement_about_the_person_may_leave_the_name_out(about: str) -> None:
    assert scored(background=[about])["about"] == 1


@pytest.mark.parametrize("other", ["I am a driver.", "Ann is forty.", "He sells fish.", "我怕鹅。"])
def test_a_statement_in_the_first_person_or_about_another_is_not_about_the_person(other: str) -> None:
    assert scored(background=[other])["about"] == 0


def test_an_empty_card_has_no_statements_to_measure() -> None:
    assert scored() == {"facts": 0, "sorted": 0, "supported": None, "about": None}


def test_scenes_are_measured_by_what_they_keep_invent_and_save() -> None:
    row = {"turns": [["Me", "I am Bob, and I need 3 eggs."], ["Tim", "Come on Friday."]]}
    row |= {"keep": [["Bob"], ["3 eggs", "three eggs"], ["Friday"]]}
    turns = "Me: I am Bob, and I need 3 eggs.\nTim: Come on Friday."
    measures = score_scenes(["Bob needs three eggs.", "Bob likes Zoe."], row)
    assert measures == {
        "kept": 2 / 3,
        "supported": 1 / 2,
        "length": len("Bob needs three eggs.\nBob likes Zoe.") / len(turns),
    }


@pytest.mark.parametrize("case", [case for case in ALL if case.kind == "card"], ids=lambda case: "/".join(case.key))
def test_every_labelled_fact_is_in_its_text(case: Case) -> None:
    row = case.row
    text = row["text"] if "text" in row else read_text(ROOT / row["file"])
    assert row["name"].split()[-1] in text
    for fact in row["facts"]:
        assert set(fact["under"]) <= set(LABELS["en"])
        assert sum(contains(text, wordings) for wordings in fact["words"]) >= len(fact["words"]) - 1, fact
    assert all(contains_all(text, other["words"]) for other in row["others"])


@pytest.mark.parametrize("case", [case for case in ALL if case.kind == "summary"], ids=lambda case: "/".join(case.key))
def test_everything_to_keep_is_in_its_conversation(case: Case) -> None:
    said = "\n".join(f"{speaker}: {text}" for speaker, text in case.row["turns"])
    assert [wordings for wordings in case.row["keep"] if not contains(said, wordings)] == []
    assert {speaker for speaker, _ in case.row["turns"]} == {case.row["role"], "Me" if case.language == "en" else "我"}


def test_both_languages_have_as_many_cases() -> None:
    kinds = [(case.kind, bool(case.row.get("held_out")), case.language) for case in ALL]
    assert all(kinds.count((kind, out, "en")) == kinds.count((kind, out, "zh")) for kind, out, _ in kinds)


def test_a_run_resumes_from_its_records(tmp_path: Path) -> None:
    chosen = [Case("card", "en", ROW)]
    model = ScriptedChatModel(responses=["Background: Tim is a tram driver in Holm."] * 8)
    records = Records(tmp_path / "records.jsonl", {})
    first = evaluate(model, chosen, records, workers=1)
    resumed = Records(tmp_path / "records.jsonl", {})
    assert evaluate(ScriptedChatModel(responses=[]), chosen, resumed) == first
    assert summary(first)["card en"]["facts"]["value"] > 0


def test_the_command_prints_both_measures_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    records = tmp_path / "records.jsonl"
    app_of(command)(["--limit", "1", "--records", str(records), "--json"], standalone_mode=False)
    result = json.loads(capsys.readouterr().out)
    assert list(result) == ["card en", "card zh", "summary en", "summary zh"]
    assert result["card en"]["facts"]["n"] == 1
    assert len(records.read_text().splitlines()) == 5
