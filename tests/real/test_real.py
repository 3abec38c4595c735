"""Real Qwen2.5 weights: talk, manual, Extract, Summarize, likelihoods and GGUF, each with a floor that was reached.

``make test-real`` fetches the models and runs this; without them it is skipped. A floor is two standard errors or
more below what was measured on more cases (docs/prompts.md), so that it holds on another processor.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from typer.testing import CliRunner

from egosrag.models import catalogue, load_chat_model
from evals.common.command import app_of

# The user's own folder, read before the tests are given one of theirs.
FOLDER = catalogue.models_dir()
NAMES = ("qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b")
SMALL, LARGE = (str(catalogue.entries()[name].path(FOLDER)) for name in NAMES)

BASELINE = Path(__file__).with_name("gate.qwen2.5-coder-0.5b.json")

pytestmark = [
    pytest.mark.skipif(not os.environ.get("EGOSRAG_TEST_REAL"), reason="make test-real runs it"),
    pytest.mark.timeout(2400),
]


@pytest.fixture(scope="module", autouse=True)
def models() -> None:
    for name in NAMES:
        if not catalogue.entries()[name].is_here(FOLDER):
            pytest.skip(f"{name} is not on this machine: egosrag models get {name}")


def run(command: Any, *arguments: str) -> Any:
    done = CliRunner().invoke(app_of(command), [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def talk(model: str, family: str, cards: int) -> dict[str, float]:
    from evals.talk import command

    found = run(command, "--model", model, "--family", family, "--cards", str(cards), "--workers", "4")
    return {label.rpartition(".")[2]: part["right"]["value"] for label, part in found["scores"].items()}


@pytest.mark.parametrize(("model", "en", "zh"), [(LARGE, 0.6, 0.5), (SMALL, 0.2, 0.1)])
def test_a_role_says_what_its_card_states(model: str, en: float, zh: float) -> None:
    right = talk(model, "fact", 2)
    assert right["en"] >= en and right["zh"] >= zh


def test_a_role_declines_what_nothing_states() -> None:
    right = talk(LARGE, "unknown", 4)
    assert min(right.values()) >= 0.5


def test_a_role_remembers_what_the_user_said_also_from_the_summary() -> None:
    for family in ("recall", "summarized"):
        right = talk(LARGE, family, 1)
        assert sum(right.values()) / 2 >= 0.5


def test_a_manual_is_answered_and_what_it_leaves_out_refused() -> None:
    from evals.manual import command

    found = run(command, "--model", LARGE, "--limit", "2")
    assert found["right"]["value"] >= 0.5
    assert found["refusal"]["recall"]["value"] >= 0.5


def test_a_card_and_a_summary_keep_what_is_stated() -> None:
    from evals.extract import command

    found = run(command, "--model", LARGE, "--limit", "1")
    for language in ("en", "zh"):
        assert found[f"card {language}"]["facts"]["value"] >= 0.7
        assert found[f"summary {language}"]["kept"]["value"] >= 0.8


def test_the_likelihoods_of_a_gguf_file_prefer_what_the_prompt_states() -> None:
    model: Any = load_chat_model(SMALL)
    ask = [
        SystemMessage("You are Tim. Tim is 34 years old."),
        HumanMessage('Me: "How old are you?"'),
        AIMessage('Tim: "'),
    ]
    assert sum(model.log_likelihoods(ask, "I am 34.")) > sum(model.log_likelihoods(ask, "I am 77.")) + 2


def test_ppl_mode_scores_a_gguf_file(tmp_path: Path) -> None:
    from evals.ppl.command import command

    rows = [
        {"query": f"The capital of {country} is", "choices": ["Rome", "Paris", "Berlin", "Madrid"], "gold": gold}
        for gold, country in enumerate(["Italy", "France", "Germany", "Spain"])
    ]
    file = tmp_path / "capitals.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = run(command, "--model", SMALL, "--data", f"arc_easy={file}")
    assert next(iter(found.values()))["accuracy"] >= 0.75


def test_the_gate_finds_nothing_worse_than_its_baseline(tmp_path: Path) -> None:
    """``evals.gate`` as a team's CI runs it; its baseline was written with the same command."""
    import yaml

    from evals.gate import MEASURES, command

    measures = yaml.safe_load(MEASURES.read_text(encoding="utf-8"))
    measures["ignore"].append("seconds")  # of the machine that wrote the baseline
    file = tmp_path / "gate.yaml"
    file.write_text(yaml.safe_dump(measures), encoding="utf-8")
    done = CliRunner().invoke(
        app_of(command),
        ["--model", SMALL, "--baseline", str(BASELINE), "--measures", str(file), "--out", str(tmp_path)],
    )
    assert done.exit_code == 0, done.output
