"""``egosrag demo``: the same steps with any model, and what it says to try next works."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest

from egosrag import samples
from egosrag.cli.demo import SCRIPTS
from tests.conftest import Run

Script = Callable[..., str]


@pytest.mark.parametrize(("language", "reply"), [("en", "Aye, sailor."), ("zh", "小友，好。")])
def test_it_shows_what_the_model_says(language: str, reply: str, run: Run, script: Script) -> None:
    model = script(*[f'{reply}"' if language == "en" else f"{reply}”"] * 30)
    done = run("demo", "--language", language, "--model", model)
    assert done.code == 0, done.err
    texts, lines = SCRIPTS[language], [line.strip() for line in done.out.splitlines()]
    headings = [*texts.headings, texts.budgeted, texts.next]  # only pocket is known to recall what was said
    assert [line for line in lines if line in (*headings, texts.recalled)] == headings
    assert sum(reply in line for line in lines) >= len(texts.lines)
    assert f"egosrag chat --role {texts.role.partition('.')[0]} --model {model}" in lines
    assert texts.real not in lines


def test_what_to_try_next_names_samples_that_exist() -> None:
    for texts in SCRIPTS.values():
        samples.document_path(texts.manual), samples.document_path(texts.source), samples.role_path(texts.role)
        for command in texts.next_commands:
            words = shlex.split(command)
            value = words[words.index("--doc" if "ask" in words else "--role") + 1]
            path = samples.document_path(value) if "ask" in words else samples.role_path(value)
            assert path.is_file()


def test_a_model_that_is_not_here_is_one_line(run: Run) -> None:
    done = run("demo", "--model", "qwen2.5-1.5b")
    assert (done.code, done.out) == (1, "")
    assert done.err == "egosrag: qwen2.5-1.5b is not on this machine yet: egosrag models get qwen2.5-1.5b\n"
