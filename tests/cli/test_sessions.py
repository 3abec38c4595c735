"""``egosrag sessions``, and conversations that are resumed, exported and brought back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import SAMPLES, Run

EDDA = str(SAMPLES / "edda.en.json")
GU = str(SAMPLES / "gu.zh.json")
Script = Callable[..., str]
COMMANDS = ["list", "export", "import", "rename", "pin", "search", "memory", "delete"]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_reads_as_reviewed(
    command: str, run: Run, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    done = run("sessions", *([command] if command else []), "--help")
    assert (done.code, done.err) == (0, "")
    assert not command or "Examples:" in done.out
    golden(f"help/sessions{'-' + command if command else ''}.txt", done.out)


def test_a_conversation_goes_out_and_comes_back(run: Run, script: Script, tmp_path: Path) -> None:
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


def test_what_cannot_be_done_is_one_line(run: Run) -> None:
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


def test_a_reply_as_json_shows_its_ledger(run: Run, script: Script) -> None:
    words = ("chat", "--role", GU, "--memory", "static", "--json")
    (row,) = run(*words, "--model", script("我是顾青禾。”"), stdin="你是谁？\n".encode()).rows
    parts = ("template", "card", "lore", "scenes", "recalled", "note", "history", "line")
    assert set(row["ledger"]) == {*parts, "reply", "cached"}
    assert sum(row["ledger"][part] for part in parts) == row["usage"]["prompt_tokens"]
    assert row["ledger"]["reply"] == row["usage"]["completion_tokens"]


def test_several_cards_make_a_scene(run: Run, script: Script) -> None:
    words = ("chat", "--role", EDDA, "--role", GU, "--memory", "static", "--session", "two", "--json")
    done = run(*words, "--model", script("我是顾青禾。”", 'I am Edda."'), stdin="顾青禾，你好！\nEdda?\n".encode())
    assert [row["speaker"] for row in done.rows] == ["顾青禾", "Edda"]
    done = run("chat", "--role", EDDA, "--memory", "static", "--session", "two", "--model", script(), stdin=b"Hi\n")
    assert done.code == 1 and "belongs to Edda, 顾青禾, not to Edda" in done.err


def test_conversations_are_renamed_pinned_and_searched(run: Run, script: Script, tmp_path: Path) -> None:
    for session, line in (("a", "Where is the lighthouse?"), ("b", "Hello.")):
        run("chat", "--role", EDDA, "--session", session, "--model", script('Here."'), stdin=f"{line}\n".encode())
    assert run("sessions", "rename", "a", "evening").out == "evening\n"
    assert run("sessions", "pin", "evening").out == "evening\n"
    rows = [line.split("\t") for line in run("sessions", "list").out.splitlines()]
    assert [row[0] for row in rows] == ["evening", "b"] and rows[0][-1] == "pinned" and len(rows[1]) == 4
    found = run("sessions", "search", "LIGHTHOUSE", "where").out
    assert found == "evening\t2\tMe\tWhere is the lighthouse?\n"
    row = json.loads(run("sessions", "search", "lighthouse", "--json").out)
    assert (row["session"], row["turn"]) == ("evening", 2)
    assert run("sessions", "rename", "b", "evening").code == 1
    run("sessions", "pin", "evening", "--off")
    assert "pinned" not in run("sessions", "list").out


def test_a_chat_of_another_program_goes_on_with_a_card(run: Run, script: Script, tmp_path: Path) -> None:
    chat = {"internal": [["<|BEGIN-VISIBLE-CHAT|>", "You are late."], ["Sorry.", "Sit."]], "visible": []}
    (tmp_path / "ooba.json").write_text(json.dumps(chat), encoding="utf-8")
    done = run("sessions", "import", "ooba.json", "--role", EDDA, "--user", "Ann")
    assert (done.code, done.out) == (0, "ooba\n")
    reply = run("chat", "--role", EDDA, "--session", "ooba", "--model", script('Well."'), "--json", stdin=b"Hm.\n")
    assert json.loads(reply.out)["text"] == "Well."
    exported = run("sessions", "export", "ooba", "out.jsonl", "--role", EDDA)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert exported.code == 0
    assert [(row["name"], row["mes"]) for row in rows[1:]] == [
        ("Edda", "You are late."), ("Ann", "Sorry."), ("Edda", "Sit."), ("Ann", "Hm."), ("Edda", "Well."),
    ]  # fmt: skip
    (tmp_path / "half.jsonl").write_text('{"user_name": "A", "character_name": "E"}\n{"mes": "Hi"}\n{"na', "utf-8")
    done = run("sessions", "import", "half.jsonl")
    assert done.code == 0 and done.err == "half.jsonl, line 3: this is not JSON and is left out\n"
