"""``egosrag models``: list, get, remove and default, on a catalogue of one tiny file on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from egosrag.models import catalogue
from egosrag.settings import Settings
from tests.conftest import Run
from tests.models.hub import Hub, serving
from tests.models.test_download import DATA, make_entry


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    entry = make_entry()
    monkeypatch.setattr(catalogue, "entries", lambda: {entry.name: entry})
    with serving(DATA) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.delenv("HF_HUB_OFFLINE")
        yield hub


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the model's file gets."""
    return tmp_path / "egosrag-data" / "models" / "tiny" / "tiny.gguf"


@pytest.mark.parametrize("command", ["", "list", "get", "remove", "default"])
def test_help_is_the_reviewed_text(
    command: str, run: Run, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    done = run("models", *([command] if command else []), "--help")
    assert done.code == 0
    golden(f"help/models{command and '-' + command}.txt", done.out)


def test_list_is_what_comes_without_a_command(run: Run) -> None:
    done = run("models")
    assert done.code == 0
    assert done.out == run("models", "list").out
    heading, pocket, tiny, *_ = done.out.splitlines()
    assert heading.split()[:3] == ["name", "size", "here"]
    assert pocket.startswith("pocket") and "default" in pocket
    assert tiny.split() == ["tiny", "0.00", "GB", "-", "CC0-1.0", "en", "tests"]
    assert "Without --model, pocket is used." in done.out


def test_get_prints_the_file_and_list_says_that_it_is_here(run: Run, file: Path) -> None:
    done = run("models", "get", "tiny")
    assert (done.code, done.out) == (0, f"{file}\n")
    assert "use it with --model tiny" in done.err
    assert file.read_bytes() == DATA
    ((pocket, tiny),) = run("models", "list", "--json").rows
    assert (pocket["here"], pocket["default"]) == (True, True)
    assert (tiny["here"], tiny["path"], tiny["default"]) == (True, str(file), False)
    assert {"size", "memory", "licence", "languages", "good_for", "hub", "repository"} <= set(tiny)


def test_wrong_bytes_are_one_line_and_exit_code_1(run: Run, hub: Hub, file: Path) -> None:
    hub.data = b"x" * len(DATA)
    done = run("models", "get", "tiny")
    assert (done.code, done.out) == (1, "")
    assert "gave other bytes than were published" in done.err.splitlines()[-1]
    assert not file.exists()


def test_ctrl_c_says_how_to_go_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("egosrag.models.download._request", interrupt)
    done = run("models", "get", "tiny")
    assert done.code == 130
    assert "egosrag models get tiny goes on from here" in done.err


def test_the_mirror_is_a_setting(run: Run, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("EGOSRAG_HUB_MIRROR", hub.address)
    assert run("models", "get", "tiny").code == 0


def test_the_default_is_used_where_no_model_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("models", "get", "tiny")
    assert Settings.load().model == "pocket"
    assert run("models", "default", "tiny").out == "tiny\n"
    assert Settings.load().model == "tiny"
    assert run("models", "list", "--json").rows[0][1]["default"]
    assert Settings.load(model="pocket").model == "pocket"
    monkeypatch.setenv("EGOSRAG_MODEL", "openai:x")
    assert Settings.load().model == "openai:x"
    assert "selects openai:x here" in run("models", "default", "tiny").err
    monkeypatch.delenv("EGOSRAG_MODEL")
    assert run("models", "default", "pocket").out == "pocket\n"
    assert Settings.load().model == "pocket"


def test_a_default_must_be_here(run: Run) -> None:
    assert "tiny is not on this machine yet: egosrag models get tiny" in run("models", "default", "tiny").err
    assert "no model tinny in the catalogue: did you mean tiny?" in run("models", "default", "tinny").err
    assert Settings.load().model == "pocket"


def test_a_removed_model_is_no_default_any_more(run: Run, file: Path) -> None:
    run("models", "get", "tiny")
    run("models", "default", "tiny")
    done = run("models", "remove", "tiny")
    assert (done.code, done.out) == (0, "tiny\n")
    assert "now pocket is" in done.err
    assert not file.exists()
    assert Settings.load().model == "pocket"
    assert "tiny is not on this machine" in run("models", "remove", "tiny").err
