"""Every command and every Python block of the READMEs and of docs/ runs here, and what they show is what comes out.

A block after ``<!-- needs: ... -->`` wants a model, a key or a person: of its commands only the words are
checked. A line ``...`` in shown output stands for any lines. ``pytest --write-golden`` writes the output anew.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import Done, Run

ROOT = Path(__file__).resolve().parent.parent
READMES = ["README.md", "README.zh.md"]
DOCUMENTS = READMES + sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
OTHERS = ("curl", "llama-server", "vllm", "streamlit", "openssl")  # other people's programs: not ours to check
_BLOCK = re.compile(r"(?:<!-- needs: (?P<needs>[^\n]+) -->\n)?```(?P<kind>console|python)\n(?P<text>.*?)```", re.S)


class Block(NamedTuple):
    document: str
    kind: str
    needs: str
    text: str


def blocks(kind: str) -> list[Block]:
    found = []
    for name in DOCUMENTS:
        for match in _BLOCK.finditer((ROOT / name).read_text(encoding="utf-8")):
            found.append(Block(name, match["kind"], match["needs"] or "", match["text"]))
    return [block for block in found if block.kind == kind]


def commands(block: Block) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output shown."""
    parts = re.split(r"^\$ (.*)\n", block.text, flags=re.M)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def every_command(runs: bool) -> list[tuple[Block, str, str]]:
    """The commands that run here, or those that do not; once, where both READMEs show the same."""
    found = {(command, shown): block for block in blocks("console") for command, shown in commands(block)}
    rows = [(block, command, shown) for (command, shown), block in found.items()]
    return [r for r in rows if (not r[0].needs and r[1].startswith(("egosrag ", "echo ", "make demo"))) == runs]


def matches(shown: str, real: str) -> bool:
    return bool(re.fullmatch(re.escape(shown.strip()).replace(re.escape("..."), r".*"), real.strip(), re.S))


def renew(command: str, shown: str, real: str) -> None:
    for path in (ROOT / name for name in DOCUMENTS):
        text = path.read_text(encoding="utf-8")
        end = "\n\n" if shown.endswith("\n\n") else "\n"
        path.write_text(text.replace(f"$ {command}\n{shown}", f"$ {command}\n{real.rstrip()}{end}"), encoding="utf-8")


@pytest.mark.parametrize("document", READMES)
def test_there_is_something_to_check(document: str) -> None:
    assert any(block.document == document for block in blocks("python"))
    assert any(block.document == document for block in blocks("console"))


def label(value: object) -> str | None:
    return value if isinstance(value, str) and "\n" not in value else ""


def run_here(line: str, run: Run) -> Done | None:
    """Runs ``egosrag`` with ``&&`` and after ``echo`` in this process; None if the line has more of a shell's syntax.

    A new process would import the models' libraries once more, which takes most of its time.
    """
    chains = [chain.split(" | ") for chain in line.split(" && ")]
    if any(re.search(r"[<>;`$&|]", c) or not c.startswith(("egosrag ", "echo ")) for chain in chains for c in chain):
        return None
    output = ""
    for chain in chains:
        text = ""
        for program, *words in map(shlex.split, chain):
            done = Done(0, " ".join(words) + "\n", "") if program == "echo" else run(*words, stdin=text.encode())
            if done.code:
                return done
            text = done.out
        output += text
    return Done(0, output, "")


def run_in_shell(line: str) -> Done:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(("block", "command", "shown"), every_command(runs=True), ids=label)
def test_a_command_gives_what_is_shown(
    block: Block,
    command: str,
    shown: str,
    run: Run,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``make demo`` starts the installed program, as a newcomer does; the others run in this process."""
    monkeypatch.chdir(ROOT)
    line = command.replace("make demo", "egosrag demo").replace("runs/", f"{tmp_path}/")
    done = (None if command == "make demo" else run_here(line, run)) or run_in_shell(line)
    assert done.code == 0, done.err
    real = done.out.replace(f"{tmp_path}/", "runs/")
    if request.config.getoption("--write-golden") and "..." not in shown:
        renew(command, shown, real)
    else:
        assert matches(shown, real), f"shown:\n{shown}\nreal:\n{real}\nif it is meant: pytest --write-golden"


@functools.cache
def help_of(*words: str) -> str:
    """The help of ``-m MODULE [COMMAND]``, or a command's golden file, which tests/cli keeps true."""
    if words[0] != "-m":
        folder = ROOT / "tests/golden/help"
        own = folder / f"{'-'.join(words)}.txt"  # of a command of a command, egosrag sessions export
        return (own if own.is_file() else folder / f"{words[0]}.txt").read_text(encoding="utf-8")
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(sys, "argv", [*words[1:], "--help"])
        with pytest.raises(SystemExit) as exit_:
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    assert exit_.value.code in (0, None)
    return printed.getvalue()


@pytest.mark.filterwarnings("ignore:'.*' found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize(("block", "command", "shown"), every_command(runs=False), ids=label)
def test_a_command_that_cannot_run_here_names_what_exists(block: Block, command: str, shown: str) -> None:
    words = shlex.split(command.split("|")[-1])
    while re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    if words[0] in OTHERS:
        return
    if words[0] == "make":
        assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text(encoding="utf-8")
    elif words[:2] == ["pip", "install"]:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        for extra in re.findall(r"\[(.*?)\]", command):
            assert set(extra.split(",")) <= set(project["optional-dependencies"])
    elif words[:2] == ["python", "-m"] and "--" not in command:  # not every module has a help to ask for
        assert importlib.util.find_spec(words[2])
    else:
        assert words[0] in ("python", "egosrag"), f"this test does not know how to check: {command}"
        help_text = help_of(*words[1 : 4 if words[2:3] == ["evals.judge"] else 3])
        for word in words:
            if word.startswith("--"):
                assert word in help_text


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.document)
def test_a_python_block_prints_what_is_shown(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block.text, block.document, "exec"), {"__name__": "__main__"})
    shown = [line.removeprefix("#> ") for line in block.text.splitlines() if line.startswith("#> ")]
    assert shown == printed.getvalue().splitlines()


def test_both_languages_show_the_same() -> None:
    shape = [
        [(len(re.findall(r"^#+ ", text, re.M)), text.count("```"), text.count("\n| "))]
        for text in ((ROOT / name).read_text(encoding="utf-8") for name in READMES)
    ]
    assert shape[0] == shape[1]


def test_what_a_newcomer_needs_is_on_the_first_screen() -> None:
    for name in READMES:
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        assert any("make demo" in line for line in lines[:25])


def test_every_file_that_is_linked_to_exists() -> None:
    others = [name for name in ("CONTRIBUTING.md", "SECURITY.md") if (ROOT / name).exists()]
    for name in [*DOCUMENTS, *others]:
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]+)[^)]*\)", text):
            assert ((ROOT / name).parent / target).exists(), f"{name} links to {target}"


def test_a_command_in_a_document_stands_where_it_is_checked() -> None:
    for name in DOCUMENTS:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.findall(r"^```(?:sh|bash|shell)$", text, re.M), f"{name}: make it a console block"
        assert "how-to" not in name or not re.findall(r"^ {4}(?:egosrag|python -m|pip|make|curl) ", text, re.M), (
            f"{name}: fence its commands"
        )


def test_every_setting_in_the_documents_exists() -> None:
    from egosrag.settings import Settings

    folders = ("apps", "egosrag", "tests")
    sources = "".join(path.read_text("utf-8") for folder in folders for path in (ROOT / folder).rglob("*.py"))
    for name in DOCUMENTS:
        for key in re.findall(r"EGOSRAG_([A-Z_]+)", (ROOT / name).read_text(encoding="utf-8")):
            if key.startswith(("APP_", "SERVE_", "TEST_")):  # of a program, not a setting
                assert f"EGOSRAG_{key}" in sources, f"{name}: nothing reads EGOSRAG_{key}"
            else:
                assert key.lower() in Settings.model_fields, f"{name}: no setting {key.lower()}"


def test_every_extra_is_explained() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for name in READMES:
        told = re.findall(r"^\| `egosrag\[(\w+)\]` \|", (ROOT / name).read_text(encoding="utf-8"), re.M)
        assert sorted(told) == sorted(extras), name


def test_every_file_that_a_contributor_is_sent_to_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:egosrag|evals|tests)/[a-z_/.]+)`", text)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []
