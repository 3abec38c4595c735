"""``python -m evals.talk``: how a model plays the natural cards, family by family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from egosrag import Settings
from egosrag.errors import SettingsError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.schema import Role
from evals.common.command import app_of
from evals.common.records import Records
from evals.compare import compare, read_run
from evals.talk import DATA, FAMILIES, Case, _right, cases, command, measure

OSRIC = Role(name="Osric", language="en")


def scores(tmp_path: Path, family: str, *replies: str, language: str = "en", options: tuple[str, ...] = ()) -> Any:
    script = tmp_path / "script.json"
    script.write_text(json.dumps(replies), encoding="utf-8")
    arguments = ["--model", f"scripted:{script}", "--family", family, "--language", language, "--cards", "1"]
    done = CliRunner().invoke(app_of(command), [*arguments, "--workers", "1", "--json", *options])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["scores"][f"{family}.{language}"]


def test_a_fact_is_right_where_the_reply_contains_the_words_of_the_card(tmp_path: Path) -> None:
    rows = json.loads((DATA / "natural.en.json").read_text(encoding="utf-8"))[0]["questions"]
    answers = [row["answer"] for row in rows if row["answer"]]
    replies = [f'That is {answer}."' for answer in answers[:-2]] + ['Pardon?"', "No idea."]
    found = scores(tmp_path, "fact", *replies)
    assert found["right"]["n"] == len(answers)
    assert found["right"]["value"] == pytest.approx((len(answers) - 2) / len(answers))
    assert found["closed"]["value"] == pytest.approx((len(answers) - 1) / len(answers))


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("I don't know, traveller.", True),
        ("I couldn't tell you.", True),
        ("这我不知道，朋友。", True),
        ("I am 40.", False),
        ("No brothers.", False),
        ("As an AI language model, I don't know.", False),
        ("", False),
    ],
)
def test_what_the_card_does_not_answer_is_to_be_declined_in_character(reply: str, right: bool) -> None:
    case = Case(("unknown", "en", "Osric", 0), OSRIC, (), (("How old are you?", ()),))
    assert _right(case, reply, ()) is right


def test_a_stated_fact_is_asked_for_after_small_talk(tmp_path: Path) -> None:
    (case,) = cases(["recall"], ["en"], 1)
    facts, small_talk = case.lines[:3], case.lines[3:]
    assert len(small_talk) == 3 and len(case.questions) == 3
    assert all(any(wording in facts[n] for wording in wordings) for n, (_, wordings) in enumerate(case.questions))
    replies = ['Good."'] * len(case.lines) + [f'It is {wordings[0]}."' for _, wordings in case.questions]
    assert scores(tmp_path, "recall", *replies)["right"]["value"] == 1


def test_every_family_has_cases_in_both_languages() -> None:
    found = {(case.family, case.language) for case in cases(FAMILIES, ("en", "zh"), 2)}
    assert found == {(family, language) for family in FAMILIES for language in ("en", "zh")}


def test_two_models_are_compared_by_their_records(tmp_path: Path) -> None:
    before, after = tmp_path / "before.jsonl", tmp_path / "after.jsonl"
    rows = json.loads((DATA / "natural.en.json").read_text(encoding="utf-8"))[0]["questions"]
    answers = [f'It is {row["answer"]}."' for row in rows if row["answer"]]
    scores(tmp_path, "fact", *answers, options=("--records", str(before)))
    scores(tmp_path, "fact", *['Pardon me."'] * len(answers), options=("--records", str(after)))
    found = compare(read_run(str(before)), read_run(str(after)))["measures"]
    assert found["right"]["difference"] == found["fact.en right"]["difference"] == -1
    assert found["closed"]["difference"] == 0


def test_a_repeated_line_is_counted_and_records_resume(tmp_path: Path) -> None:
    records = tmp_path / "talk.jsonl"
    found = scores(tmp_path, "identity", *["你是AI吗？”"] * 2, language="zh", options=("--records", str(records)))
    assert found["echo"]["value"] == 1
    before = records.read_text(encoding="utf-8")
    again = scores(tmp_path, "identity", *["你是AI吗？”"] * 2, language="zh", options=("--records", str(records)))
    assert again == found
    assert records.read_text(encoding="utf-8") == before


def test_a_setting_without_a_value_is_an_error() -> None:
    done = CliRunner().invoke(app_of(command), ["--set", "foo"])
    assert isinstance(done.exception, SettingsError) and "--set foo has no =" in str(done.exception)


def test_a_model_that_was_trained_again_does_not_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = ScriptedChatModel(responses=['No, I am Osric."'] * 9)
    monkeypatch.setattr("egosrag.assemble.chat_model", lambda settings: reply)
    model, adapter, records = tmp_path / "model", tmp_path / "adapter", tmp_path / "r.jsonl"
    for folder in (model, adapter):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"weights")
    arguments = ["--family", "identity", "--language", "en", "--cards", "1", "--records", str(records), "--json"]
    arguments += ["--model", str(model), "--adapter", str(adapter)]
    for changed in (model, adapter):
        assert CliRunner().invoke(app_of(command), arguments).exit_code == 0
        (changed / "model.safetensors").write_bytes(b"trained again")
        done = CliRunner().invoke(app_of(command), arguments)
        assert isinstance(done.exception, SettingsError) and "name another file" in str(done.exception)
        records.unlink()


def test_a_changed_card_is_played_again(tmp_path: Path) -> None:
    records, settings = Records(tmp_path / "r.jsonl", {}), Settings.load(model="pocket")
    model = ScriptedChatModel(responses=['I am 40."', 'I am 50."'])
    old, new = (Case(("fact", "en", "Osric", 0), OSRIC, (), (("How old are you?", (age,)),)) for age in ("40", "50"))
    for case in (old, old, new):
        (record,) = measure(model, [case], settings, records, 1)
    assert record["right"] == [True] and len((tmp_path / "r.jsonl").read_text("utf-8").splitlines()) == 3
