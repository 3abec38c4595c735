"""``egosrag sessions``: list, export, import and delete conversations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import SAMPLES, Run

EDDA = str(SAMPLES / "edda.en.json")
Script = Callable[..., str]
COMMANDS = ["list", "export", "import", "delete"]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_the_reviewed_text(
    command: str, run: Run, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    done = run("sessions", *([command] if command else []), "--help")
    assert (done.code, done.err) == (0, "")
    assert not command or "Examples:" in done.out
    golden(f"help/sessions{'-' + command if command else ''}.txt", done.out)


def test_a_conversation_is_exported_and_imported(run: Run, script: Script, tmp_path: Path) -> None:
    words = ("chat", "--role", EDDA, "--memory", "static", "--session", "monday", "--json")
    run(*words, "--model", script('Hello, sailor."'), stdin=b"Hello!\n")
    (row,) = run("sessions", "list", "--json").rows
    assert (row["session"], row["name"], row["turns"]) == ("monday", "Edda", 3)
    assert run("sessions", "list").out.startswith("monday\tEdda\t3\t20")
    for file in ("out.json", "out.jsonl", "out.md"):
        done = run("sessions", "export", "monday", file, "--role", EDDA)
        assert (done.code, done.out) == (0, f"{file}\n")
    assert "**Edda:** Hello, sailor." in Path("out.md").read_text(encoding="utf-8")
    assert json.loads(Path("out.json").read_text(encoding="utf-8"))["roles"][0]["background"]
    assert run("sessions", "delete", "monday").out == "monday\n"
    assert run("sessions", "list").out == ""
    assert run("sessions", "import", "out.json", "--session", "tuesday").out == "tuesday\n"
    assert run("sessions", "import", "out.jsonl").out == "out\n"
    for session in ("tuesday", "out"):
        again = ("chat", "--role", EDDA, "--memory", "static", "--session", session, "--json")
        done = run(*again, "--model", script('You said hello."'), stdin=b"What did I say?\n")
        assert done.rows[0]["text"] == "You said hello."
        assert f"session {session}: 3 turns so far" in done.err


def test_an_impossible_request_is_one_line_of_error(run: Run) -> None:
    Path("bad.json").write_text('{"format": "egosrag.conversation",\n "version": 1,\n "turns": 3}', encoding="utf-8")
    for words, reason in (
        (("export", "none", "a.json"), "there is no conversation in session 'none'"),
        (("delete", "none"), "there is no session 'none'"),
        (("import", "none.json"), "none.json cannot be read"),
        (("import", "bad.json"), "bad.json, line 1: roles: Field required"),
    ):
        done = run("sessions", *words)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith(f"egosrag: {reason}") and done.err.count("\n") == 1
