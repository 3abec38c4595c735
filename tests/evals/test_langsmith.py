"""LangSmith: datasets pushed without change when nothing changed, runs traced by their steps."""

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
from evals.common import experiment
from evals.common.command import app_of
from evals.common.records import Records
from evals.judge import command as judge
from evals.ppl import command as ppl
from evals.roleplay import command as roleplay
from evals.roleplay import systems as roleplay_systems
from evals.roleplay.data import load_rows
from tests.evals.langsmith_fake import FakeLangSmith
from tests.evals.ppl.data import make_data

ROWS = [
    {"id": "a", "task": "basic", "language": "en", "question": "Capital of Australia?", "reference": "Canberra."},
    {"id": "b", "task": "open", "language": "zh", "question": "为什么？", "reference": "因为。", "facts": [["因为"]]},
]


@pytest.fixture
def server(langsmith: FakeLangSmith) -> FakeLangSmith:
    return langsmith


@pytest.fixture
def client(langsmith: FakeLangSmith) -> Client:
    made: Client = experiment.client()
    return made


# Datasets


def test_rows_become_examples_with_splits_and_references(server: FakeLangSmith, client: Client) -> None:
    tag = push.push(client, "ours", ROWS)
    assert [d["name"] for d in server.datasets.values()] == ["ours"]
    first, second = sorted(server.examples.values(), key=lambda e: e["inputs"]["id"])
    assert first["split"] == ["basic", "en"] and second["split"] == ["open", "zh"]
    assert first["inputs"]["question"] == "Capital of Australia?" and first["outputs"] == {"reference": "Canberra."}
    assert second["outputs"] == {"reference": "因为。", "facts": [["因为"]]} and "facts" not in second["inputs"]
    assert [t for _, t in server.tags] == [tag] and tag.startswith("rows-")


def test_pushing_again_changes_nothing(server: FakeLangSmith, client: Client) -> None:
    tag = push.push(client, "ours", ROWS)
    before, calls = json.dumps(server.examples), len(server.calls)
    assert push.push(client, "ours", ROWS[::-1]) == tag
    assert (json.dumps(server.examples), len(server.calls)) == (before, calls), "nothing was written"


def test_what_changed_is_updated_and_what_is_gone_deleted_under_a_new_version(
    server: FakeLangSmith, client: Client
) -> None:
    old = push.push(client, "ours", ROWS)
    ids = set(server.examples)
    calls = len(server.calls)
    new = push.push(client, "ours", [ROWS[0] | {"reference": "Canberra, since 1913."}])
    assert [path for _, path in server.calls[calls:]] == [
        "/v1/platform/datasets/ID/examples",
        "/examples",
        "/datasets/ID/tags",
    ]
    (only,) = server.examples.values()
    assert only["id"] in ids and only["outputs"] == {"reference": "Canberra, since 1913."}
    assert new != old and [t for _, t in server.tags] == [old, new]


def test_the_same_row_has_the_same_id_on_every_machine() -> None:
    assert str(push.example_id("ours", "a")) == str(push.example_id("ours", "a"))
    assert len({push.example_id(name, row) for name in "xy" for row in "ab"}) == 4


def invoke(command: Any, *arguments: str | Path) -> Any:
    return CliRunner().invoke(app_of(command), [str(a) for a in arguments])


def test_our_own_sets_as_a_command(server: FakeLangSmith, client: Client, tmp_path: Path) -> None:
    mine = tmp_path / "mine.jsonl"
    mine.write_text('{"id": 7, "question": "Why?"}\n', encoding="utf-8")
    done = invoke(push._command, "chatbot", "roleplay", mine)
    assert done.exit_code == 0, done.output
    assert "egosrag-chatbot: 120 examples" in done.stdout and "recall: 4" in done.stdout
    names = {d["id"]: d["name"] for d in server.datasets.values()}
    assert Counter(names[e["dataset_id"]] for e in server.examples.values()) == {
        "egosrag-chatbot": 120,
        "egosrag-roleplay": 16,
        "mine": 1,
    }
    tagged = len(server.tags)
    assert invoke(push._command, "chatbot", "roleplay", mine).exit_code == 0
    assert len(server.tags) == tagged == 3


def test_errors_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANGSMITH_API_KEY", raising=False)
    assert "set LANGSMITH_API_KEY" in str(invoke(push._command, "chatbot").exception)
    (tmp_path / "x.jsonl").write_text('{"question": "Why?"}\n', encoding="utf-8")
    with pytest.raises(SourceError, match="whose rows have an id each"):
        push.rows_of(str(tmp_path / "x.jsonl"))
    nobody = SimpleNamespace(has_dataset=refuse)
    with pytest.raises(SettingsError, match="LangSmith did not take ours"):
        push.push(nobody, "ours", ROWS)


def refuse(*arguments: Any, **options: Any) -> None:
    from langsmith.utils import LangSmithConnectionError

    raise LangSmithConnectionError("connection refused")


# Runs


def test_a_run_is_uploaded_with_the_names_of_the_four_steps(
    server: FakeLangSmith, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = load_rows(["edda.en.json"], ())[0]
    # A window in which the fourth line no longer fits, so that Summarize has work too.
    model = ScriptedChatModel(responses=['Soup is soup, sailor."'] * 40, context_window=330, max_new_tokens=40)
    monkeypatch.setattr("egosrag.assemble.chat_model", lambda settings: model)
    system = roleplay_systems.System("EGOS-Small", "m")
    (record,) = roleplay.evaluate([system], [row], upload=True)[system.name]
    assert record["scenes"] > 0
    names = Counter(run["name"] for run in server.runs.values() if run.get("name"))
    assert {"Organize", "Generate", "Summarize"} <= set(names)
    assert names["Generate"] == names["EGOS"] == len(row["lines"])
    (session,) = server.sessions.values()
    (dataset,) = server.datasets.values()
    assert session["reference_dataset_id"] == dataset["id"]
    assert session["name"].startswith(dataset["name"] + " EGOS-Small")
    assert dataset["name"].startswith("egosrag-roleplay-"), "rows of one card are a dataset of their own"
    assert {f["key"] for f in server.feedback} >= {"in_role", "consistency", "quality"}


def test_nothing_is_sent_unless_it_is_asked_for(server: FakeLangSmith, client: Client) -> None:
    dataset = experiment.Dataset("ours", ROWS, ("reference", "facts"))
    seen: list[dict[str, Any]] = []

    def target(inputs: dict[str, Any]) -> dict[str, Any]:
        seen.append(inputs)
        return {"answer": "x"}

    kept = Records(None, {})
    found = experiment.run(dataset, "m", target, lambda row, out: {"ok": 1.0}, kept, lambda *a: None)  # type: ignore[arg-type]
    assert [r["measures"] for r in found] == [{"ok": 1.0}] * 2
    assert all("reference" not in inputs and "facts" not in inputs for inputs in seen)
    assert server.calls == [] and not server.runs


def test_the_first_failure_ends_the_run_as_itself() -> None:
    dataset = experiment.Dataset("ours", ROWS)
    asked = []

    def target(inputs: dict[str, Any]) -> dict[str, Any]:
        asked.append(inputs["id"])
        raise ZeroDivisionError("a fault in the target")

    def scorer(row: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("a fault in the scorer")

    silent: Any = lambda *a: None  # noqa: E731
    with pytest.raises(ZeroDivisionError):
        experiment.run(dataset, "m", target, scorer, Records(None, {}), silent)
    assert asked == ["a"]
    with pytest.raises(KeyError, match="a fault in the scorer"):
        experiment.run(dataset, "m", lambda inputs: {"answer": "x"}, scorer, Records(None, {}), silent)


def test_verdicts_of_ppl_mode_are_sent_a_dataset_a_task(
    langsmith: FakeLangSmith, tiny_qwen: Path, tmp_path: Path
) -> None:
    data = make_data(tmp_path, 3)
    given = [f for task in ("boolq", "winogrande") for f in ("--data", f"{task}={data[task]}")]
    arguments = ("--model", tiny_qwen, *given, "--predictions", tmp_path / "p.jsonl", "--upload", "--json")
    done = invoke(ppl._command, *arguments)
    assert done.exit_code == 0, done.output
    results = json.loads(done.stdout)
    names = sorted(d["name"] for d in langsmith.datasets.values())
    assert [name.rpartition("-")[0] for name in names] == ["egosrag-ppl-boolq", "egosrag-ppl-winogrande"]
    assert len(langsmith.examples) == sum(r["n"] for r in results.values())
    for example in langsmith.examples.values():
        assert len(example["inputs"]["options"]) == 2 and example["outputs"]["reference"] in (0, 1)
    accuracy = [f["score"] for f in langsmith.feedback if f["key"] == "accuracy"]
    assert sum(accuracy) == pytest.approx(sum(r["n"] * r["accuracy"] for r in results.values()))
    written = len(langsmith.examples)
    assert invoke(ppl._command, *arguments).exit_code == 0
    assert (len(langsmith.datasets), len(langsmith.examples)) == (2, written), "a second run, on the same rows"
    assert len(langsmith.sessions) == 4


def test_judgements_are_sent_with_what_people_said(
    langsmith: FakeLangSmith, tmp_path: Path, script: Callable[..., str]
) -> None:
    rows = [{"question": f"Q{n}?", "answers": {"a": f"x {n}", "b": f"y {n}"}, "human": "a"} for n in range(2)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    said = ["[[A=80, B=60]]", "[[A=50, B=70]]", "[[A=10, B=20]]", "no verdict"]
    arguments = ("--data", tmp_path / "d.jsonl", "--k", "1", "--records", tmp_path / "r.jsonl", "--upload", "--json")
    done = invoke(judge.agree, *arguments, "--model", script(*said))
    assert done.exit_code == 0, done.output
    assert {e["outputs"]["human"] for e in langsmith.examples.values()} == {"a"}
    assert {f["score"] for f in langsmith.feedback if f["key"] == "pair a"} == {75.0}
    assert len({f["score"] for f in langsmith.feedback if f["key"] == "pair b"}) == 1, "one case is unscored"
    (session,) = langsmith.sessions.values()
    assert session["name"].startswith("egosrag-judge-pair-")


def test_a_conversation_with_sources_is_uploaded_with_extract_and_the_steps_after_it(
    server: FakeLangSmith, client: Client
) -> None:
    from langchain_core.tracers.langchain import LangChainTracer, wait_for_all_tracers

    from egosrag import Conversation, Extract
    from egosrag.sessions.conversation import RoleSources

    sources = [("page", "Edda keeps the lighthouse of Vardo. Edda is afraid of fog.")]
    model = ScriptedChatModel(responses=["Background: Edda keeps the lighthouse of Vardo."] + ['I am Edda."'] * 40)
    talk = Conversation(model, "Edda", sources=RoleSources(sources, extract=Extract(model)), window=240)
    talk.thread.config["callbacks"] = [LangChainTracer(client=client, project_name="p")]
    for n in range(6):
        talk.say(f"This is line {n}, and it is long enough to fill a small window with what nobody needs.")
    wait_for_all_tracers()
    names = {run.get("name") for run in server.runs.values()}
    assert {"EGOS", "Extract", "Organize", "Generate", "Summarize"} <= names
    errors = [run["error"] for run in server.runs.values() if run.get("error")]
    # LangChain records a stream that we closed (nobody would read on) as a model run that ended by GeneratorExit.
    assert all(error.startswith("GeneratorExit") for error in errors), errors
