"""``egosrag personas``: saved, listed and taken by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import SAMPLES, Run

EDDA = str(SAMPLES / "edda.en.json")
Script = Callable[..., str]


@pytest.mark.parametrize("command", ["", "list", "add", "remove"])
def test_help_reads_as_reviewed(
    command: str, run: Run, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    done = run("personas", *([command] if command else []), "--help")
    assert (done.code, done.err) == (0, "")
    golden(f"help/personas{'-' if command else ''}{command}.txt", done.out)


def test_personas_are_saved_and_taken_by_name(run: Run, script: Script, tmp_path: Path) -> None:
    assert run("personas", "add", "Ann: a sailor from Hull").out == "Ann\n"
    backup = (
        '{"personas": {"a.png": "Bo", "b.png": "罗"}, "persona_descriptions": {"a.png": {"description": "a cook"}}}'
    )
    (tmp_path / "personas_backup.json").write_text(backup, encoding="utf-8")
    assert run("personas", "add", "personas_backup.json").out == "Bo\n罗\n"
    assert run("personas", "list").out == "Ann\ta sailor from Hull\nBo\ta cook\n罗\t\n"
    assert '"name": "Bo"' in run("personas", "list", "--json").out
    chat = ("chat", "--role", EDDA, "--model", script('Hi."'), "--session", "p")
    assert run(*chat, "--persona", "bo", stdin=b"Hello.\n").code == 0
    run("chat", "--role", EDDA, "--model", script('Hi."'), "--session", "p", stdin=b"Again.\n")
    run("sessions", "export", "p", "p.md")
    assert (tmp_path / "p.md").read_text("utf-8").count("**Bo:**") == 2
    assert run("personas", "remove", "BO").code == 0 and run("personas", "remove", "Bo").code == 1
