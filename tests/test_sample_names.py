"""Samples have names, wherever a role or a document is given by its path."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from egosrag import ManualIndex, load_role, samples
from egosrag.errors import RoleError, SourceError
from egosrag.rag.documents.load import read_text
from tests.conftest import SAMPLES, Run

Script = Callable[..., str]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "file"),
    [("edda", "edda.en.json"), ("edda.en", "edda.en.json"), ("sample:gu", "gu.zh.json"), ("luo.zh", "luo.zh.json")],
)
def test_a_role_is_loaded_by_its_name(name: str, file: str) -> None:
    assert load_role(name) == load_role(SAMPLES / file)


@pytest.mark.parametrize(
    ("name", "file"),
    [("manual.en", "manual.en.pdf"), ("manual.zh", "manual.zh.pdf"), ("edda", "edda.en.html"), ("luo", "luo.zh.txt")],
)
def test_a_document_is_named_after_a_prefix(name: str, file: str) -> None:
    assert samples.document_path(f"sample:{name}") == SAMPLES / file


def test_every_role_and_manual_has_a_name() -> None:
    cards = {path for path in SAMPLES.glob("*.json") if "questions" not in path.name}
    assert set(samples.roles().values()) == cards
    assert set(samples.documents()) == {
        *(f"manual.{language}" for language in ("en", "zh")),
        *(name for card in cards for name in (card.stem, card.stem.partition(".")[0])),
    }


def test_a_file_of_the_same_name_wins(tmp_path: Path) -> None:
    shutil.copy(SAMPLES / "juno.en.json", "edda")
    assert load_role("edda").name == "Juno"
    Path("sample:manual.en").mkdir()
    Path("sample:manual.en/a.txt").write_text("The gate opens at nine.")
    assert read_text("sample:manual.en") == "The gate opens at nine."


def test_an_unknown_name_lists_the_samples() -> None:
    with pytest.raises(RoleError, match="there is no role edda.zh: .* a sample: edda, gu, juno, luo"):
        load_role("edda.zh")
    with pytest.raises(SourceError, match="no sample:manual: the samples are sample:edda, .* sample:manual.zh"):
        ManualIndex.build(["sample:manual"])


def test_a_path_is_never_a_name() -> None:
    for path in ("./x/edda", "edda.json", "/edda"):
        assert samples.role_path(path) == Path(path)
    assert samples.document_path("manual.en") == Path("manual.en")


def test_the_commands_know_the_names(run: Run, script: Script) -> None:
    asked = run(
        "ask", "Which battery?", "--doc", "sample:manual.en", "--model", script("It is a CR2032. [1]"), "--json"
    )
    assert asked.rows[0]["citations"][0]["source"] == "manual.en.pdf"
    said = run("chat", "--role", "edda", "--model", script('I am Edda."'), "--json", stdin=b"Who are you?\n")
    assert said.rows[0]["speaker"] == "Edda"
    assert run("index", "sample:manual.zh", "--out", "index").code == 0
    extracted = run("extract", "sample:edda", "--name", "Edda", "--out", "e.json", "--strategy", "dynamic")
    assert extracted.code == 0, extracted.err
    unknown = run("chat", "--role", "ada", "--model", script())
    assert (unknown.code, "edda, gu, juno, luo" in unknown.err) == (1, True)


def test_the_index_of_an_own_role_of_that_name_is_not_taken_for_the_samples(run: Run, script: Script) -> None:
    run("extract", "sample:juno", "--name", "Juno", "--out", "edda.json", "--strategy", "dynamic")
    assert Path("edda.index").is_dir()
    said = run("chat", "--role", "edda", "--model", script('I am Edda."'), "--json", stdin=b"Who are you?\n")
    assert "evidence" not in said.rows[0]
