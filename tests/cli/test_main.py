"""The command line as a whole: help texts, start-up imports, wrong usage."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.conftest import SAMPLES, Run

MANUAL = str(SAMPLES / "manual.en.pdf")
EDDA = str(SAMPLES / "edda.en.json")
COMMANDS = ["demo", "index", "ask", "extract", "chat", "card", "doctor", "serve", "mcp"]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_the_reviewed_text(
    command: str, run: Run, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    done = run(*([command] if command else []), "--help")
    assert (done.code, done.err) == (0, "")
    assert not command or "Examples:" in done.out
    golden(f"help/{command or 'egosrag'}.txt", done.out)


def test_help_loads_nothing_heavy() -> None:
    """Options are printed without libraries that take seconds to import; ``evals.speed.start`` measures it."""
    program = (
        "import sys; from egosrag.cli.main import main; sys.argv = ['egosrag', '--help']; main();"
        "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    loaded = set(done.stderr.split())
    assert "Usage: egosrag" in done.stdout and "typer" in loaded
    assert not loaded & {"torch", "transformers", "langchain_core", "langgraph", "llama_index", "numpy", "jieba"}


@pytest.mark.parametrize(
    "words",
    [
        ("ask", "why?"),
        ("ask", "why?", "--doc", MANUAL, "--index", "x"),
        ("ask",),
        ("chat",),
        ("chat", "--role", EDDA, "--memory", "some"),
        ("chat", "--role", EDDA, "--name", "Edda"),
        ("chat", "--name", "Edda"),
        ("chat", "--role", EDDA, "--history", "both"),
        ("extract", "a.txt", "--name", "X", "--out", "o.json", "--strategy", "none"),
        ("ask", "why?", "--doc", MANUAL, "--top-k", "many"),
        ("ask", "why?", "--doc", MANUAL, "--set", "seed"),
        ("index", MANUAL),
        ("nothing",),
        ("ask", "--nothing"),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(words: tuple[str, ...], run: Run) -> None:
    done = run(*words)
    assert done.code == 2
    assert done.out == ""
    assert "Usage: egosrag" in done.err


def test_a_misspelt_setting_is_an_error_with_a_suggestion(run: Run) -> None:
    done = run("ask", "why?", "--doc", MANUAL, "--set", "topk=3")
    assert done.code == 1
    assert done.err.startswith("egosrag: no such setting in the arguments: topk (did you mean top_k?)")
