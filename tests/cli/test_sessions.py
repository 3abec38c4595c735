"""``egosrag sessions`` and what can be typed at a conversation: the record in the hands of whoever talks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import SAMPLES, Run

EDDA = str(SAMPLES / "edda.en.json")
GU = str(SAMPLES / "gu.zh.json")
Script = Callable[..., str]
COMMANDS = ["list", "export", "import", "delete"]


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
    parts = ("template", "card", "lore", "scenes", "recalled", "history", "line")
    assert set(row["ledger"]) == {*parts, "reply", "cached"}
    assert sum(row["ledger"][part] for part in parts) == row["usage"]["prompt_tokens"]
    assert row["ledger"]["reply"] == row["usage"]["completion_tokens"]


def test_several_cards_make_a_scene(run: Run, script: Script) -> None:
    words = ("chat", "--role", EDDA, "--role", GU, "--memory", "static", "--session", "two", "--json")
    done = run(*words, "--model", script("我是顾青禾。”", 'I am Edda."'), stdin="顾青禾，你好！\nEdda?\n".encode())
    assert [row["speaker"] for row in done.rows] == ["顾青禾", "Edda"]
    done = run("chat", "--role", EDDA, "--memory", "static", "--session", "two", "--model", script(), stdin=b"Hi\n")
    assert done.code == 1 and "belongs to Edda, 顾青禾, not to Edda" in done.err


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Whoever sits at the terminal types these lines, then Ctrl-D."""
    left = iter(lines)

    def read(prompt: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("egosrag.cli.chat.at_terminal", lambda: True)
    monkeypatch.setattr("builtins.input", read)


def test_commands_at_the_terminal(run: Run, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    model = script('One."', 'Two."', 'Three."', 'Four."')
    typed(
        monkeypatch, "Hi", "/regenerate", "/swipe", "/swipe 1", "/edit 2 Good day.", "/delete 1", "/turns", "//x",
        "/regenerate 9", "/swipe 7", "/next", "/nothing", "/edit 1", "/export", "/export out.md",
        "/help", "/regenerate",
    )  # fmt: skip
    done = run("chat", "--role", EDDA, "--memory", "static", "--session", "s", "--model", model)
    assert done.code == 0
    out = done.out.splitlines()
    assert out[1:6] == ["Edda: One.", "Edda: Two.", "1. One.", "2. Two.", "Edda: One."]
    assert out[6:9] == ["1. Me: Good day.", "2. Edda: One.", "Edda: Three."]
    assert out[9] == "out.md" and "/regenerate [N]" in done.out and out[-2] == "Edda: Four."
    for reason in (
        "there is no turn 9", "there is no reply 7 to choose, only 1", "there is one role in this conversation",
        "there is no command /nothing: /help", "the new text is empty", "the file has no name",
    ):  # fmt: skip
        assert reason in done.err
    assert "**Me:** /x" in Path("out.md").read_text(encoding="utf-8")


def test_next_lets_the_next_role_speak(run: Run, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "Hello, Edda", "/next", "/next Edda")
    model = script('I am Edda."', "我是顾青禾。”", 'Fine."')
    done = run("chat", "--role", EDDA, "--role", GU, "--memory", "static", "--model", model)
    assert [line.split(":")[0] for line in done.out.splitlines() if line][-3:] == ["Edda", "顾青禾", "Edda"]


def test_a_slash_in_a_script_is_a_line(run: Run, script: Script) -> None:
    words = ("chat", "--role", EDDA, "--memory", "static", "--model", script('What?"'))
    assert run(*words, stdin=b"/turns\n").out == "Edda: What?\n"
