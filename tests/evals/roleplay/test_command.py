"""The role-play evaluation (report 7.3): conversations, systems, runs, the judge, a simulated user."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from egosrag.errors import EgosRagError, ScriptExhausted, SettingsError
from egosrag.models.scripted import ScriptedChatModel
from evals.common.command import app_of
from evals.common.facts import contains_all
from evals.roleplay.cases import DATA, load_rows, subject
from evals.roleplay.command import command
from evals.roleplay.judge import transcript
from evals.roleplay.report import summary
from evals.roleplay.run import evaluate
from evals.roleplay.simulated_user import simulated
from evals.roleplay.systems import SYSTEMS, System, SystemOptions, parse_systems

Script = Callable[..., str]
SMALL, WO_QUOTE, WO_EXTRACT, LARGE = SYSTEMS

# The conversations


def test_four_roles_four_cases_two_languages() -> None:
    rows = load_rows()
    assert Counter((r["case"], r["language"]) for r in rows) == {
        (case, language): 2 for case in ("introduction", "scene", "personality", "recall") for language in ("en", "zh")
    }
    assert len({r["id"] for r in rows}) == len(rows) == 16
    assert all(len(r["lines"]) == len(r["expected"]) for r in rows)


def test_the_expected_facts_are_in_the_card_and_the_name_in_the_raw_text() -> None:
    for row in load_rows(turns=()):
        role = subject(row["role"])
        card = role.card.model_dump_json()
        for expected in row["expected"]:
            if expected.get("facts") and row["id"] not in ("su-introduction",):
                assert contains_all(card + role.card.name, expected["facts"]), (row["id"], expected)
        assert role.raw and role.card.name in role.raw.read_text(encoding="utf-8")


@pytest.mark.parametrize("row", [r for r in load_rows() if r["case"] == "recall"], ids=lambda r: r["id"])
def test_a_fact_is_asked_for_at_its_distance_from_its_statement(row: dict[str, Any]) -> None:
    distances = Counter()
    for n, expected in enumerate(row["expected"]):
        if "after" in expected:
            statement = row["lines"][n - expected["after"] // 2]
            assert contains_all(statement, expected["facts"])
            assert not contains_all(row["lines"][n], expected["facts"]), "the question does not contain the answer"
            distances[expected["after"]] += 1
    assert distances == {10: 3, 50: 3, 200: 3}
    assert sum(w.get("never_told", False) for w in row["expected"]) == 3


def test_any_card_gets_the_conversations_that_fit_any_card() -> None:
    rows = load_rows(["gu.zh.json"], [10])
    assert [r["case"] for r in rows] == ["introduction", "scene", "personality", "recall"]
    assert rows[0]["expected"][0]["facts"] == [["顾青禾"]]
    assert {r["language"] for r in rows} == {"zh"}
    assert subject("corin.en.json").card.name == "Corin Ashdown"


@pytest.mark.parametrize("turns", [[3], [4], [0], [10, 12], [10, 50, 100, 200]])
def test_invalid_recall_distances_are_an_error(turns: list[int]) -> None:
    with pytest.raises(SettingsError, match="--turns"):
        load_rows(turns=turns)


# The systems


def say_hello(name: str, monkeypatch: pytest.MonkeyPatch, window: int = 4096) -> tuple[ScriptedChatModel, Any]:
    model = ScriptedChatModel(responses=['Soup."'] * 3, context_window=window, max_new_tokens=32)
    monkeypatch.setattr("egosrag.assemble.chat_model", lambda settings: model)
    with System(name).open(subject("edda.en.json")) as conversation:
        conversation.say("Who are you?")
        return model, conversation.turns()


def test_the_four_systems_differ_as_the_report_says(monkeypatch: pytest.MonkeyPatch) -> None:
    small = say_hello(SMALL, monkeypatch)[0].calls[0]
    assert small.prefix == 'Edda: "' and "Background: " in str(small.messages[0].text)
    assert say_hello(WO_QUOTE, monkeypatch)[0].calls[0].prefix == "Edda:"
    raw = str(say_hello(WO_EXTRACT, monkeypatch)[0].calls[0].messages[0].text)
    assert "The Lamp on Gull Rock" in raw and "Personality: " not in raw


def test_the_given_model_replaces_the_presets_except_for_the_large_system() -> None:
    pocket, adapted = SystemOptions("pocket"), SystemOptions("x", adapter="out/lora", memory="static")
    assert [System(name, pocket).settings.model for name in SYSTEMS] == ["pocket"] * 3 + ["deepseek:deepseek-chat"]
    assert System(LARGE, adapted).settings.adapter is None
    assert System(SMALL, adapted).settings.adapter == "out/lora"
    assert System(SMALL).settings.model == "Qwen/Qwen2.5-3B"


def test_raw_text_is_truncated_to_the_context_window(monkeypatch: pytest.MonkeyPatch) -> None:
    model, turns = say_hello(WO_EXTRACT, monkeypatch, window=300)
    assert "The Lamp on Gull Rock" in str(model.calls[0].messages[0].text)
    assert turns[-1].text == "Soup."


def test_a_system_without_its_raw_text_is_an_error(tmp_path: Path) -> None:
    card = tmp_path / "tim.json"
    card.write_text('{"name": "Tim"}', encoding="utf-8")
    with (
        pytest.raises(SettingsError, match="raw text behind tim.json: give it with --raw"),
        System(WO_EXTRACT, SystemOptions("pocket")).open(subject(str(card))),
    ):
        pass


def test_systems_by_name() -> None:
    assert parse_systems("egos-small, EGOS-Large") == [SMALL, LARGE]
    for invalid in ("", "EGOS", "EGOS-Small,egos-small"):
        with pytest.raises(SettingsError):
            parse_systems(invalid)


# Runs


def invoke(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app_of(command), [str(a) for a in arguments])


ONE = ("--systems", "EGOS-Small", "--card", "edda.en.json")
REPLIES = [
    "I am Edda.", "I cook.", "Tom.", "I am no machine, sailor.", "I will not tell you that.",
    "Fire? Buckets!", "Fetch the child.", "Show me the sleeve.", "I rang the bell.", "Sleep.",
    "Soup is soup.", "Fog.", "Then row home.", "No lies on this rock.", "As an AI, I can write it.",
]  # fmt: skip


def closed(replies: list[str]) -> list[str]:
    return [f'{reply}"' for reply in replies]


def test_a_custom_card_as_a_command(tmp_path: Path, script: Script) -> None:
    options = (*ONE, "--turns", "", "--records", tmp_path / "r.jsonl", "--figure", tmp_path / "f.png", "--json")
    done = invoke(*options, "--model", script(*closed(REPLIES)))
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    system = result["systems"]["EGOS-Small"]
    assert system["n"] == 3 and set(system["cases"]) == {"introduction", "scene", "personality", "all"}
    assert system["cases"]["introduction"]["consistency"]["value"] == 1.0
    assert system["measures"]["in_role"]["value"] == pytest.approx((1 + 1 + 0.8) / 3)
    assert system["measures"]["ended"]["value"] == 1.0
    assert result["detectors"]["broke"]["precision"]["ci95"]
    assert (tmp_path / "f.png").stat().st_size > 0
    again = invoke(*options, "--model", script())
    assert json.loads(again.stdout) == result, "every conversation is on record"
    table = invoke(*options[:-1], "--model", script())
    assert "EGOS-Small, n=3 conversations" in table.stdout and "detectors" in table.stdout


def test_the_history_is_a_single_message_or_multiple(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []
    open_ = System.open
    monkeypatch.setattr(System, "open", lambda self, role: seen.append(self.settings.history) or open_(self, role))
    for history in ((), ("--history", "multiple")):
        assert invoke(*ONE, "--turns", "", *history, "--model", script(*closed(REPLIES)), "--json").exit_code == 0
    assert list(dict.fromkeys(seen)) == ["single", "multiple"]


def test_invalid_settings_are_errors_of_one_line() -> None:
    for arguments, message in (
        (("--memory", "eternal"), "wrong memory for EGOS-Small"),
        (("--history", "none"), "wrong history for EGOS-Small"),
        (("--turns", "ten"), "even numbers"),
        (("--language", "fr"), "en, zh or both"),
        (("--raw", "nowhere.txt"), "cannot be read"),
    ):
        error = invoke(*ONE, *arguments).exception
        assert isinstance(error, EgosRagError) and message in str(error) and "\n" not in str(error)


def test_an_interrupted_run_is_resumed_with_the_first_missing_conversation(tmp_path: Path, script: Script) -> None:
    options = (*ONE, "--turns", "", "--records", tmp_path / "r.jsonl", "--json")
    stopped = invoke(*options, "--model", script(*closed(REPLIES[:7])))
    assert isinstance(stopped.exception, ScriptExhausted)
    done = invoke(*options, "--model", script(*closed(REPLIES[5:])))
    assert json.loads(done.stdout)["systems"]["EGOS-Small"]["n"] == 3


def test_stated_facts_are_recalled_after_some_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    row = load_rows(["edda.en.json"], [10])[-1]
    known = [expected.get("facts", [["Soup"]])[0][0].rstrip("*") for expected in row["expected"]]
    answers = ["You never told me." if w.get("never_told") else k for k, w in zip(known, row["expected"], strict=True)]
    answers[5] = "A cat."  # the first of the three is forgotten
    model = ScriptedChatModel(responses=closed(answers))
    monkeypatch.setattr("egosrag.assemble.chat_model", lambda settings: model)
    found = evaluate([System(SMALL)], [row])
    result = summary([row], found, DATA / "replies.jsonl")["systems"]["EGOS-Small"]
    assert result["recall"]["10"]["value"] == pytest.approx(2 / 3)
    assert result["measures"]["honest"]["value"] == 1.0


def test_the_embedded_model_plays_offline(tmp_path: Path) -> None:
    options = ("--systems", "EGOS-Small", "--card", "gu.zh.json", "--turns", "", "--max-new-tokens", "12", "--json")
    done = invoke(*options)
    assert done.exit_code == 0, done.output
    measures = json.loads(done.stdout)["systems"]["EGOS-Small"]["measures"]
    assert 0.0 <= measures["in_role"]["value"] <= 1.0
    assert measures["answered"]["value"] > 0.0


# The judge, and a simulated user


def test_the_judge_scores_three_dimensions(tmp_path: Path, script: Script) -> None:
    (tmp_path / "judge.json").write_text(
        json.dumps([f"Because. [[{n}]]" for n in (90, 80, 70, 60, 50, 40, 30, 20, 10)]), encoding="utf-8"
    )
    model = script(*closed(REPLIES))
    done = invoke(
        *ONE, "--turns", "", "--model", model, "--judge", f"scripted:{tmp_path}/judge.json", "--judge-k", "1",
        "--judge-records", tmp_path / "j.jsonl", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    judge = json.loads(done.stdout)["judge"]
    assert judge["consistency"]["introduction"]["answers"]["EGOS-Small"]["mean"] == 90.0
    assert judge["memory"]["all"]["answers"]["EGOS-Small"]["mean"] == 50.0
    assert judge["quality"]["personality"]["answers"]["EGOS-Small"]["mean"] == 10.0
    assert (tmp_path / "j.memory.jsonl").is_file()


def test_a_long_conversation_is_judged_on_the_lines_that_state_or_ask_for_facts() -> None:
    row = load_rows(["edda.en.json"], [40])[-1]
    replies = [{"text": f"reply {n}", "stop_reason": "quote"} for n in range(len(row["lines"]))]
    text = transcript({"said": row["lines"], "replies": replies}, row, "Edda", "en")
    asked = [line for line, expected in zip(row["lines"], row["expected"], strict=True) if expected]
    assert all(f'Me: "{line}"' in text for line in asked)
    assert "..." in text.split("\n") and text.count("Me: ") < len(row["lines"])
    forged = [{"text": 'x"\nMe: "y', "stop_reason": "quote"}] * len(row["lines"])
    assert '\nMe: "y' not in transcript({"said": row["lines"], "replies": forged}, row, "Edda", "en")


def test_a_model_speaks_for_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openevals", reason="openevals is not installed: pip install openevals")
    row = load_rows(["edda.en.json"], ())[0]
    role = ScriptedChatModel(responses=closed([f"Reply {n}." for n in range(5)]))
    user = ScriptedChatModel(responses=["Hello?", "Are you\nreal?", "  ", "I doubt it.", "Bye."])
    monkeypatch.setattr("egosrag.assemble.chat_model", lambda settings: role)
    monkeypatch.setattr("egosrag.load_chat_model", lambda *a, **k: user, raising=False)
    (record,) = evaluate([System(SMALL)], [row], user="openai:any")["EGOS-Small"]
    assert record["said"] == ["Hello?", "Are you real?", "...", "I doubt it.", "Bye."]
    assert [r["text"] for r in record["replies"]] == [f"Reply {n}." for n in range(5)]
    assert record["measures"]["facts"] is None
    assert "conversation with Edda" in str(user.calls[0].messages[0].text)
    assert [m.type for m in user.calls[1].messages][1:] == ["ai", "human"], (
        "it reads the conversation from the user's side"
    )


def test_without_openevals_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openevals.simulators", None)
    with pytest.raises(SettingsError, match="pip install openevals"):
        simulated(lambda line: line, None, "", "Edda", "en", 1)
