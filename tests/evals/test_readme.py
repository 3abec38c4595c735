"""evals/README.md lists every evaluation, and the commands in our texts and plans exist with their options."""

from __future__ import annotations

import re
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from evals.reproduce.stages import load_plan

ROOT = Path(__file__).parents[2]
EVALS = ROOT / "evals"
README = EVALS / "README.md"
TEXTS = [ROOT / "README.md", ROOT / "README.zh.md", README, *sorted(EVALS.rglob("*.py"))]
OPTION = re.compile(r"--(?!help)[a-z][a-z-]+")
COMMAND = re.compile(r"python -m (evals\.[a-z_.]*[a-z])\b(?!\.\{)([^`\n]*)")
GROUPS = ("evals.judge", "evals.roleplay.replies")  # several commands each
HELPERS = {"evals.reproduce.material", "evals.speed.start_peer", "evals.speed.train_trl"}  # run by other commands


def documented(texts: list[Path]) -> dict[str, set[str]]:
    """The modules (with its subcommand) that the texts run, and the options that they show."""
    found: dict[str, set[str]] = {}
    for text in texts:
        for module, rest in COMMAND.findall(text.read_text(encoding="utf-8")):
            words = rest.split("   ")[0].split()
            subcommand = words[0] if module in GROUPS and words else ""
            options = {word for word in words if OPTION.fullmatch(word)}
            found.setdefault(f"{module} {subcommand}".strip(), set()).update(options)
    return found


def all_commands() -> dict[str, set[str]]:
    """Those of our texts and of the plans of the reproduction."""
    found = documented(TEXTS)
    for plan in (load_plan(name, None) for name in ("mini", "small", "full")):
        for _, words in (command for stage in plan.stages for command in plan.commands(stage)):
            if words[0].startswith("evals."):
                found.setdefault(words[0], set()).update(word for word in words if word.startswith("--"))
    return found


def modules() -> set[str]:
    """The modules in evals that ``python -m`` runs."""
    files = [path for path in EVALS.rglob("*.py") if '\nif __name__ == "__main__":' in path.read_text(encoding="utf-8")]
    files += [path.parent for path in EVALS.rglob("__main__.py")]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files} - HELPERS


COMMANDS = all_commands()


def test_the_readme_lists_every_evaluation() -> None:
    listed = {name.split()[0] for name in documented([README])}
    assert modules() - listed == set()


def test_every_documented_command_exists() -> None:
    assert [name for name in COMMANDS if not find_spec(name.split()[0])] == []
    runnable = modules() | HELPERS
    assert [name for name in COMMANDS if name.split()[0] not in runnable] == []


def help_text(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    module, *rest = name.split()
    monkeypatch.setattr(sys, "argv", [module, *rest, "--help"])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_module(module, run_name="__main__")
    assert exit_.value.code in (0, None)
    return capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:'evals.* found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("name", sorted({*modules(), *(name for name, options in COMMANDS.items() if options)}))
def test_help_shows_every_documented_option(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if name in HELPERS:
        return
    printed = help_text(name, monkeypatch, capsys)
    assert [option for option in COMMANDS.get(name, ()) if option not in printed] == []
