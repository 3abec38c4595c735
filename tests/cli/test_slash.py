"""The commands that can be typed in a conversation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import SAMPLES, Run

EDDA = str(SAMPLES / "edda.en.json")
GU = str(SAMPLES / "gu.zh.json")
Script = Callable[..., str]


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """The user at the terminal types these lines, then Ctrl-D."""
    remaining = iter(lines)

    def read(prompt: str) -> str:
        try:
            return next(remaining)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("egosrag.cli.chat.at_terminal", lambda: True)
    monkeypatch.setattr("builtins.input", read)


def test_commands_at_the_terminal(run: Run, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    model = script('One."', 'Two."', 'Three."', 'Four."')
    typed(
        monkeypatch, "Hi", "/regenerate", "/swipe", "/swipe 1", "/edit 2 Good day.", "/delete 1", "/turns", "//x",
        "/regenerate 9", "/swipe 7", "/next", "/nothing", "/edit 1", "/edit", "/export", "/export out.md",
        "/help", "/regenerate",
    )  # fmt: skip
    done = run("chat", "--role", EDDA, "--memory", "static", "--session", "s", "--model", model)
    assert done.code == 0
    out = done.out.splitlines()
    assert out[1:6] == ["Edda: One.", "Edda: Two.", "1. One.", "2. Two.", "Edda: One."]
    assert out[6:9] == ["1. Me: Good day.", "2. Edda: One.", "Edda: Three."]
    assert out[9] == "out.md" and "/regenerate [N]" in done.out and out[-2] == "Edda: Four."
    for reason in (
        "there is no turn 9", "the command needs the number of a turn",
        "there is no reply 7 to choose, only 1", "there is one role in this conversation",
        "there is no command /nothing: /help", "the new text is empty", "the file has no name",
    ):  # fmt: skip
        assert reason in done.err
    assert "**Me:** /x" in Path("out.md").read_text(encoding="utf-8")


def test_next_makes_the_next_role_speak(run: Run, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "Hello, Edda", "/next", "/next Edda")
    model = script('I am Edda."', "我是顾青禾。”", 'Fine."')
    done = run("chat", "--role", EDDA, "--role", GU, "--memory", "static", "--model", model)
    assert [line.split(":")[0] for line in done.out.splitlines() if line][-3:] == ["Edda", "顾青禾", "Edda"]


def test_a_slash_in_piped_input_is_a_line(run: Run, script: Script) -> None:
    words = ("chat", "--role", EDDA, "--memory", "static", "--model", script('What?"'))
    assert run(*words, stdin=b"/turns\n").out == "Edda: What?\n"


CARD = """{"name": "Tim", "background": ["Tim bakes."], "greeting": "Hello.",
"alternate_greetings": ["Closed, {{user}}."],
"lorebook": {"entries": [{"keys": ["oven"], "content": "The oven is {{user}}'s.", "comment": "oven"}]}}"""


def test_the_further_commands(run: Run, script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tim.json").write_text(CARD, encoding="utf-8")
    model = script('One."', ' And two."', 'I am Ann."', 'Three."')
    typed(
        monkeypatch, "/greeting", "/greeting 2", "/lore", "/persona Ann: a sailor", "/note It rains.", "The oven?",
        "/lore", "/continue", "/impersonate", "/retry 2", "/search OVEN", "/branch 2 other", "/branch",
        "/rename evening", "/pin",
        "/unpin", "/note", "/note -", "/persona", "/greeting x", "/search", "/retry", "/rename", "/help",
    )  # fmt: skip
    done = run(
        "chat", "--role", "tim.json", "--persona", "Bo", "--memory", "static", "--session", "s", "--model", model
    )
    assert done.code == 0, done.err
    out = done.out.splitlines()
    assert out[:14] == [
        "Tim: Hello.", "1. Hello.", "2. Closed, Bo.", "Tim: Closed, Bo.", "Ann: a sailor", "It rains.", "Tim: One.",
        "oven: The oven is Ann's.", "Tim:  And two.", "Tim: Three.", "2. Ann: The oven?",
        "other; to continue it: egosrag chat ... --session other",
        "s 2; to continue it: egosrag chat ... --session 's 2'",
        "It rains.",
    ]  # fmt: skip
    assert out[14] == "Ann: a sailor"
    for name in (
        "/continue",
        "/impersonate",
        "/retry N",
        "/branch",
        "/rename",
        "/pin",
        "/search",
        "/greeting",
        "/lore",
    ):
        assert name in done.out
    for reason in ("there is no greeting x", "nothing to search for", "needs the number of a turn", "name is empty"):
        assert reason in done.err
    assert {line.split("\t")[0] for line in run("sessions", "list").out.splitlines()} == {"evening", "other", "s 2"}
