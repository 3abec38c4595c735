"""evals.pocket: fixed cases through the real pipeline, scores that a wrong model does not get, resumed runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from egosrag import load_chat_model
from egosrag.errors import SettingsError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Role
from evals.common.command import app_of
from evals.common.records import Records
from evals.pocket import command as pocket
from evals.pocket.cases import CASES, card_fact, recall_summarized, unknown
from evals.pocket.handwritten import Family, cards, families
from evals.roleplay.cases import DATA, subject

LANGUAGES = ("en", "zh")


class Parrot(ScriptedChatModel):
    """Gives the same reply to everything."""

    def __init__(self, text: str) -> None:
        super().__init__(responses=[text] * 40)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_model_with_one_reply_has_no_fact_right_and_declines_only_by_declining(language: str) -> None:
    close, decline = ('"', "That I do not know.") if language == "en" else ("”", "这个我不知道。")
    wrong = [card_fact(Parrot("Fish!" + close), language, "names", n) for n in range(5)]
    assert not any(record["right"] for record in wrong)
    assert all(record["closed"] for record in wrong)
    assert not card_fact(Parrot("Fish"), language, "names", 0)["closed"]
    assert unknown(Parrot(decline + close), language, "names", 0)["right"]
    assert not unknown(Parrot("Fish!" + close), language, "names", 0)["right"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_case_is_repeatable(language: str) -> None:
    model = load_chat_model("pocket")
    for family, case in CASES.items():
        record = case(model, language, "names", 0)
        assert 0 <= record["right"] <= 1, family
        if family in ("card_fact", "passages"):
            assert record == case(model, language, "names", 0)
            assert record != case(model, language, "wordings", 0)


@pytest.mark.parametrize("language", LANGUAGES)
def test_answers_to_questions_about_our_cards_are_on_the_card(language: str) -> None:
    rows = json.loads((DATA / f"cards.{language}.json").read_text(encoding="utf-8"))
    asked = [(subject(row["role"]).card, row) for row in rows]
    written = json.loads((DATA / f"natural.{language}.json").read_text(encoding="utf-8"))
    asked += [(Role.model_validate(entry["card"]), row) for entry in written for row in entry["questions"]]
    for role, row in asked:
        statements = [
            s.text for part in (role.background, role.personality, role.speaking_style, role.relations) for s in part
        ]
        assert row["answer"] is None or row["answer"] in "\n".join(statements)
    close, decline = ('"', "That I do not know.") if language == "en" else ("”", "这个我不知道。")
    some = [asked[0], next(pair for pair in asked if pair[1]["answer"] is None)]
    assert [r["right"] for r in cards(Parrot(decline + close), language, some)] == [False, True]
    said = some[0][1]["answer"] + close
    assert [r["right"] for r in cards(Parrot(said), language, some)] == [True, False]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_handwritten_family_is_asked_and_some_of_the_model_alone(language: str) -> None:
    silent, alone = Parrot("Fish!"), Parrot("Fish?")
    found = {family.name: family for family in families(silent, alone, language)}
    assert set(found) == {
        *(
            f"{name}{end}"
            for name in ("sample cards", "natural cards", "natural cards, tuned")
            for end in ("", "_written")
        ),
        "sample manual",
    }
    assert next(found["natural cards"].ask())["said"] == "Fish!"
    assert next(found["natural cards_written"].ask())["said"] == "Fish?"
    assert found["natural cards"].number >= 100


def test_the_summarized_memory_is_summarized() -> None:
    assert recall_summarized(load_chat_model("pocket"), "zh", "names", 0)["summarized"]


def test_refusals_are_scored_over_all_questions_and_answers_over_the_answerable_ones() -> None:
    def row(right: bool, hopeless: bool, refused: bool) -> dict[str, Any]:
        return {"right": right, "hopeless": hopeless, "refused": refused, "baseline": False, "passage": right}

    rows = [row(True, False, False), row(False, False, True), row(True, True, True), row(False, True, False)]
    scores = pocket.summary({"passages.en": rows})["passages.en"]
    assert scores["right"]["value"] == 0.5
    assert scores["right"]["n"] == 2
    assert scores["refusal"]["precision"]["value"] == 0.5
    assert scores["refusal"]["recall"]["value"] == 0.5


def test_the_command_resumes_from_its_records_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pocket, "CASES", {"card_fact": card_fact})
    written = [Family("sample manual", 3, lambda: ({"right": True, "n": n} for n in range(3)))]
    monkeypatch.setattr(pocket, "families", lambda *_: written)
    flags = ["--number", "2", "--records", str(tmp_path / "r.jsonl"), "--out", str(tmp_path / "p.png"), "--json"]
    first = CliRunner().invoke(app_of(pocket.command), flags)
    assert first.exit_code == 0, first.output
    scores = json.loads(first.stdout.splitlines()[-1])["scores"]
    assert scores["card_fact.zh"]["closed"]["n"] == 2
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")

    def never(*_: Any) -> Any:
        raise AssertionError("a case on record is not asked again")

    monkeypatch.setattr(pocket, "CASES", {"card_fact": never})
    again = CliRunner().invoke(app_of(pocket.command), flags)
    assert json.loads(again.stdout.splitlines()[-1])["scores"] == scores


def test_the_scores_are_written_into_the_model_card_and_overwritten(tmp_path: Path) -> None:
    rows = [{"right": True, "closed": True}, {"right": False, "closed": True}]
    pace = {"megabytes": 11.6, "import_s": 2.5, "load_s": 0.4, "tokens_per_second": 400.5}
    scores = pocket.summary({"card_fact.en": rows, "card_fact.zh": rows[:1]})
    others = {"card_fact.en": [0.5, 0.75], "card_fact.zh": []}
    result = {"split": "names", "scores": scores, "other_seeds": others, "speed": pace}
    (tmp_path / "README.md").write_text("# pocket\n\n## Limits\n\nMany.\n", encoding="utf-8")
    pocket.write_card(result, tmp_path)
    written = (tmp_path / "README.md").read_text(encoding="utf-8")
    cell = pocket.percent(result["scores"]["card_fact.en"]["right"])
    assert f"| card_fact | en | 2 | {cell} | 50, 75 | 90 | - | " in written
    assert written.startswith("# pocket\n\n## Through the pipeline\n") and written.endswith("## Limits\n\nMany.\n")
    assert json.loads((tmp_path / "pipeline.json").read_text(encoding="utf-8")) == result
    pocket.write_card(result, tmp_path)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == written
    (tmp_path / "README.md").unlink()
    with pytest.raises(SettingsError, match="not a model card of pocket"):
        pocket.write_card(result, tmp_path)


def test_other_seeds_are_scored_on_the_same_cases(tmp_path: Path) -> None:
    found = {"card_fact.en": [{"right": True}, {"right": True}], "card.en": [{"right": 1.0}]}
    records = Records(tmp_path / "seed1.jsonl", {"weights": "1", "split": "names"})
    for n, right in enumerate((True, False)):
        records.add(("card_fact.en", n), {"right": right})
    others = pocket.other_seeds([tmp_path / "seed1.jsonl"] * 2, found, "names")
    assert others == {"card_fact.en": [0.5, 0.5], "card.en": []}
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(SettingsError, match="not of split names"):
        pocket.other_seeds([tmp_path / "empty.jsonl"], found, "names")
    with pytest.raises(SettingsError, match="not of split wordings"):
        pocket.other_seeds([tmp_path / "seed1.jsonl"], found, "wordings")
    records.add(("card_fact.en", 2), {"right": True})
    with pytest.raises(SettingsError, match=r"other cases of card_fact\.en"):
        pocket.other_seeds([tmp_path / "seed1.jsonl"], found, "names")


def test_the_shipped_card_has_the_measured_scores() -> None:
    folder = pocket.weights_of("pocket")
    result = json.loads((folder / "pipeline.json").read_text(encoding="utf-8"))
    assert pocket.section(result) in (folder / "README.md").read_text(encoding="utf-8")


def test_an_unknown_split_is_an_error() -> None:
    found = CliRunner().invoke(app_of(pocket.command), ["--split", "easy"])
    assert "give --split names or wordings" in str(found.exception)
