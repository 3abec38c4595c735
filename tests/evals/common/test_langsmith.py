"""LangSmith: pushing datasets (twice changes nothing), and experiments with a trace of each step."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langsmith import Client
from typer.testing import CliRunner

from egosrag.errors import SettingsError, SourceError
from egosrag.models.scripted import ScriptedChatModel
from evals import push
from evals.common import experiment, langsmith
from evals.common.command import app_of
from evals.common.records import Records
from evals.judge.command import agree
from evals.ppl.command import command as ppl
from evals.roleplay.cases import load_rows
from evals.roleplay.run import evaluate
from evals.roleplay.systems import System
from tests.evals.langsmith_fake import FakeLangSmith
from tests.evals.ppl.data import make_data

ROWS = [
    {"id": "a", "task": "basic", "language": "en", "question": "Capital of Australia?", "reference": "Canberra."},
    {"id": "b", "task": "open", "language": "zh", "question": "为什么？", "reference": "因为。", "facts": [["因为"]]},
]


@pytest.fixture(name="server")
def _server(langsmith: FakeLangSmith) -> FakeLangSmith:
    return langsmith


@pytest.fixture
def client(server: FakeLangSmith) -> Client:
    connected: Client = langsmith.client()
    return connected


# Datasets


def test_rows_become_examples_with_splits_and_references(server: FakeLangSmith, client: Client) -> None:
    tag = langsmith.push(client, "ours", ROWS)
    assert [d["name"] for d in server.datasets.values()] == ["ours"]
    first, second = sorted(server.examples.values(), key=lambda e: e["inputs"]["id"])
    assert first["split"] == ["basic", "en"] and second["split"] == ["open", "zh"]
    assert first["inputs"]["question"] == "Capital of Australia?" and first["outputs"] == {"reference": "Canberra."}
    assert second["outputs"] == {"reference": "因为。", "facts": [["因为"]]} and "facts" not in second["inputs"]
    assert [t for _, t in server.tags] == [tag] and tag.startswith("rows-")


def test_pushing_again_changes_nothing(server: FakeLangSmith, client: Client) -> None:
    tag = langsmith.push(client, "ours", ROWS)
    before, calls = json.dumps(server.examples), len(server.calls)
    assert langsmith.push(client, "ours", ROWS[::-1]) == tag
    assert (json.dumps(server.examples), len(server.calls)) == (before, calls), "nothing was written"


def test_changed_rows_are_updated_and_missing_rows_deleted_under_a_new_version(
    server: FakeLangSmith, client: Client
) -> None:
    old = langsmith.push(client, "ours", ROWS)
    ids = set(server.examples)
    calls = len(server.calls)
    new = langsmith.push(client, "ours", [ROWS[0] | {"reference": "Canberra, since 1913."}])
    assert [path for _, path in server.calls[calls:]] == [
        "/v1/platform/datasets/ID/examples",
        "/examples",
        "/datasets/ID/tags",
    ]
    (only,) = server.examples.values()
    assert only["id"] in ids and only["outputs"] == {"reference": "Canberra, since 1913."}
    assert new != old and [t for _, t in server.tags] == [old, new]


def test_the_same_row_has_the_same_id_on_every_machine() -> None:
    assert str(langsmith.example_id("ours", "a")) == str(langsmith.example_id("ours", "a"))
    assert len({langsmith.example_id(name, row) for name in "xy" for row in "ab"}) == 4


def invoke(command: Any, *arguments: str | Path) -> Any:
    return CliRunner().invoke(app_of(command), [str(a) for a in arguments])


def test_our_own_datasets_as_a_command(server: FakeLangSmith, client: Client, tmp_path: Path) -> None:
    mine = tmp_path / "mine.jsonl"
    mine.write_text('{"id": 7, "question": "Why?"}\n', encoding="utf-8")
    done = invoke(push.command, "chatbot", "roleplay", mine)
    assert done.exit_code == 0, done.output
    assert "egosrag-chatbot: 120 examples" in done.stdout and "recall: 4" in done.stdout
    names = {d["id"]: d["name"] for d in server.datasets.values()}
    assert Counter(names[e["dataset_id"]] for e in server.examples.values()) == {
        "egosrag-chatbot": 120,
        "egosrag-roleplay": 16,
        "mine": 1,
    }
    tagged = len(server.tags)
    assert invoke(push.command, "chatbot", "roleplay", mine).exit_code == 0
    assert len(server.tags) == tagged == 3


def test_errors_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANGSMITH_API_KEY", raising=False)
    assert "set LANGSMITH_API_KEY" in str(invoke(push.command, "chatbot").exception)
    (tmp_path / "x.jsonl").write_text('{"question": "Why?"}\n', encoding="utf-8")
    with pytest.raises(SourceError, match="whose rows have an id each"):
        push.rows_of(str(tmp_path / "x.jsonl"))
    unreachable = SimpleNamespace(has_dataset=refuse)
    with pytest.raises(SettingsError, match="LangSmith did not accept ours"):
        langsmith.push(unreachable, "ours", ROWS)


def refuse(*arguments: Any, **options: Any) -> None:
    from langsmith.utils import LangSmithConnectionError

    raise LangSmithConnectionError("connection refused")


# Runs


def test_a_run_is_uploaded_with_the_names_of_the_four_steps(
    server: FakeLangSmith, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = load_rows(["edda.en.json"], ())[0]
    # A context window that the fourth line exceeds, so that Summarize runs too.
    model = ScriptedChatModel(responses=['Soup is soup, sailor."'] * 40, context_window=330, max_new_tokens=40)
    monkeypatch.setattr("egosrag.assemble.chat_model", lambda settings: model)
    system = System("EGOS-Small")
    (record,) = evaluate([system], [row], upload=True)[system.name]
    assert record["scenes"] > 0
    names = Counter(run["name"] for run in server.runs.values() if run.get("name"))
    assert {"Organize", "Generate", "Summarize"} <= set(names)
    assert names["Generate"] == names["EGOS"] == len(row["lines"])
    (session,) = server.sessions.values()
    (dataset,) = server.datasets.values()
    assert session["reference_dataset_id"] == dataset["id"]
    assert session["name"].startswith(dataset["name"] + " EGOS-Small")
    assert dataset["name"].startswith("egosrag-roleplay-"), "the rows of one card are a dataset of their own"
    assert {f["key"] for f in server.feedback} >= {"in_role", "consistency", "quality"}


def test_nothing_is_sent_without_upload(server: FakeLangSmith, client: Client) -> None:
    dataset = experiment.Dataset("ours", ROWS, ("reference", "facts"))
    seen: list[dict[str, Any]] = []

    def target(inputs: dict[str, Any]) -> dict[str, Any]:
        seen.append(inputs)
        return {"answer": "x"}

    records = Records(None, {})
    found = experiment.run(dataset, "m", target, lambda row, out: {"ok": 1.0}, records, lambda *a: None)  # type: ignore[arg-type]
    assert [r["measures"] for r in found] == [{"ok": 1.0}] * 2
    assert all("reference" not in inputs and "facts" not in inputs for inputs in seen)
    assert server.calls == [] and not server.runs


def test_the_first_error_ends_the_run_and_is_raised() -> None:
    dataset = experiment.Dataset("ours", ROWS)
    asked = []

    def target(inputs: dict[str, Any]) -> dict[str, Any]:
        asked.append(inputs["id"])
        raise ZeroDivisionError("a bug in the target")

    def scorer(row: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("a bug in the scorer")

    silent: Any = lambda *a: None  # noqa: E731
    with pytest.raises(ZeroDivisionError):
        experiment.run(dataset, "m", target, scorer, Records(None, {}), silent)
    assert asked == ["a"]
    with pytest.raises(KeyError, match="a bug in the scorer"):
        experiment.run(dataset, "m", lambda inputs: {"answer": "x"}, scorer, Records(None, {}), silent)


def test_choices_of_ppl_mode_are_uploaded_as_a_dataset_a_task(
    server: FakeLangSmith, tiny_qwen: Path, tmp_path: Path
) -> None:
    data = make_data(tmp_path, 3)
    flags = [f for task in ("boolq", "winogrande") for f in ("--data", f"{task}={data[task]}")]
    arguments = ("--model", tiny_qwen, *flags, "--predictions", tmp_path / "p.jsonl", "--upload", "--json")
    done = invoke(ppl, *arguments)
    assert done.exit_code == 0, done.output
    results = json.loads(done.stdout)
    names = sorted(d["name"] for d in server.datasets.values())
    assert [name.rpartition("-")[0] for name in names] == ["egosrag-ppl-boolq", "egosrag-ppl-winogrande"]
    assert len(server.examples) == sum(r["n"] for r in results.values())
    for example in server.examples.values():
        assert len(example["inputs"]["options"]) == 2 and example["outputs"]["reference"] in (0, 1)
    accuracy = [f["score"] for f in server.feedback if f["key"] == "accuracy"]
    assert sum(accuracy) == pytest.approx(sum(r["n"] * r["accuracy"] for r in results.values()))
    written = len(server.examples)
    assert invoke(ppl, *arguments).exit_code == 0
    assert (len(server.datasets), len(server.examples)) == (2, written), "a second run on the same rows"
    assert len(server.sessions) == 4


def test_judgements_are_uploaded_with_the_verdicts_of_people(
    server: FakeLangSmith, tmp_path: Path, script: Callable[..., str]
) -> None:
    rows = [{"question": f"Q{n}?", "answers": {"a": f"x {n}", "b": f"y {n}"}, "human": "a"} for n in range(2)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    replies = ["[[A=80, B=60]]", "[[A=50, B=70]]", "[[A=10, B=20]]", "no verdict", "none"]
    arguments = ("--data", tmp_path / "d.jsonl", "--k", "1", "--records", tmp_path / "r.jsonl", "--upload", "--json")
    done = invoke(agree, *arguments, "--model", script(*replies))
    assert done.exit_code == 0, done.output
    assert {e["outputs"]["human"] for e in server.examples.values()} == {"a"}
    assert {f["score"] for f in server.feedback if f["key"] == "pair a"} == {75.0}
    assert len({f["score"] for f in server.feedback if f["key"] == "pair b"}) == 1, "one case is unscored"
    (session,) = server.sessions.values()
    assert session["name"].startswith("egosrag-judge-pair-")


def test_a_conversation_with_sources_is_uploaded_with_extract_and_the_steps_after_it(
    server: FakeLangSmith, client: Client
) -> None:
    from langchain_core.tracers.context import tracing_v2_enabled
    from langchain_core.tracers.langchain import wait_for_all_tracers

    from egosrag import Conversation, Extract
    from egosrag.egos.pipeline import RoleSources

    sources = [("page", "Edda keeps the lighthouse of Vardo. Edda is afraid of fog.")]
    model = ScriptedChatModel(responses=["Background: Edda keeps the lighthouse of Vardo."] + ['I am Edda."'] * 40)
    conversation = Conversation(model, "Edda", sources=RoleSources(sources, extract=Extract(model)), window=240)
    with tracing_v2_enabled(project_name="p", client=client):
        for n in range(6):
            conversation.say(f"This is line {n}, and it is long enough to fill a small window with what nobody needs.")
    wait_for_all_tracers()
    names = {run.get("name") for run in server.runs.values()}
    assert {"EGOS", "Extract", "Organize", "Generate", "Summarize"} <= names
    errors = [run["error"] for run in server.runs.values() if run.get("error")]
    # LangChain records a stream that was closed early as a model run that ended with GeneratorExit.
    assert all(error.startswith("GeneratorExit") for error in errors), errors
