"""The commands that the evaluations' texts and the reproduction's plans give: they exist, with those options."""

from __future__ import annotations

import re
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from evals.reproduce.stages import load_plan

ROOT = Path(__file__).parents[2]
READMES = [ROOT / name for name in ("README.md", "README.zh.md", "evals/README.md")]
TEXTS = [*READMES, *sorted((ROOT / "evals").glob("*.py"))]
OPTION = re.compile(r"--(?!help)[a-z][a-z-]+")
COMMAND = re.compile(r"python -m (evals\.[a-z_.]+)([^`\n]*)")


def commands() -> dict[str, set[str]]:
    """Module, and the options that any of our texts gives it; a word before them is a subcommand."""
    found: dict[str, set[str]] = {}
    for text in TEXTS:
        for module, rest in COMMAND.findall(text.read_text(encoding="utf-8")):
            said = rest.split("   ")[0].split()
            sub = said[0] if module == "evals.judge" and said else ""
            options = {word for word in said if OPTION.fullmatch(word)}
            found.setdefault(f"{module} {sub}".strip(), set()).update(options)
    for plan in (load_plan("mini", None), load_plan("full", None)):
        for _, words in (command for stage in plan.stages for command in plan.commands(stage)):
            if words[0].startswith("evals."):
                found.setdefault(words[0], set()).update(word for word in words if word.startswith("--"))
    return found


COMMANDS = commands()


def test_the_texts_name_every_evaluation() -> None:
    modules = {name.split()[0].removeprefix("evals.") for name in COMMANDS}
    assert modules >= {"ppl", "judge", "chatbot", "rag", "roleplay", "retrieval", "memory", "push", "compare"}
    assert all(find_spec(f"evals.{module}") for module in modules)


@pytest.mark.filterwarnings("ignore:'evals.* found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("name", [name for name, options in COMMANDS.items() if options])
def test_an_option_that_is_shown_exists(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module, *rest = name.split()
    monkeypatch.setattr(sys, "argv", [module, *rest, "--help"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module(module, run_name="__main__")
    assert left.value.code in (0, None)
    shown = capsys.readouterr().out
    assert [option for option in COMMANDS[name] if option not in shown] == []
