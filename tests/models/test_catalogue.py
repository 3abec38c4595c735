"""The catalogue: entries that can be checked, and names that load_chat_model understands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from egosrag import assemble, load_chat_model
from egosrag.errors import ModelError
from egosrag.models import catalogue
from egosrag.models.catalogue import Entry, entries
from egosrag.settings import Settings
from tests.conftest import ROOT
from tests.models.test_download import make_entry

QWEN = {f"qwen2.5-{kind}{size}b" for kind in ("", "coder-") for size in ("0.5", "1.5", "3", "7")}


def test_the_catalogue_has_the_two_families_and_a_weak_model() -> None:
    assert set(entries()) == QWEN | {"smollm2-135m"}


@pytest.mark.parametrize("entry", entries().values(), ids=lambda entry: entry.name)
def test_an_entry_agrees_with_itself(entry: Entry) -> None:
    assert entry.name.split("-")[0] in entry.repository.lower()
    assert all(re.fullmatch(r"[\w.-]+\.gguf", file.name) for file in entry.files)
    assert len({file.name for file in entry.files}) == len(entry.files)
    assert ("3b" in entry.name) == (entry.licence == "Qwen Research") == ("not for commercial use" in entry.good_for)
    assert entry.size < entry.memory < 1.3 * entry.size + 500e6
    if entry.parts:
        assert len(entry.files) == 1, "parts are of one file"
        assert re.fullmatch(r"[\w.{}-]+==[\d.]+", entry.parts.package), "a part has a fixed version"


def test_no_two_files_have_the_same_hash() -> None:
    hashes = [file.sha256 for entry in entries().values() for file in entry.files]
    assert len(hashes) == len(set(hashes))


def test_a_misspelt_name_gets_a_suggestion() -> None:
    with pytest.raises(ModelError, match=r"no model qwen2.5-15b in the catalogue: did you mean qwen2.5-1.5b\?"):
        catalogue.entry("qwen2.5-15b")
    with pytest.raises(ModelError, match=r"no model x in the catalogue: there are qwen2.5-0.5b, "):
        catalogue.entry("x")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Entry:
    """The only model of the catalogue; its file is not there yet."""
    entry = make_entry()
    monkeypatch.setattr(catalogue, "entries", lambda: {entry.name: entry})
    return entry


def put(entry: Entry, folder: Path, size: int | None = None) -> Path:
    path = entry.path(folder)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * (entry.size if size is None else size))
    return path


def test_a_model_that_was_not_fetched_names_the_command(tiny: Entry) -> None:
    message = r"^tiny is not on this machine yet: egosrag models get tiny$"
    with pytest.raises(ModelError, match=message):
        load_chat_model("tiny")
    with pytest.raises(ModelError, match=message):
        assemble.chat_model(Settings.load(model="tiny"))


def test_a_file_that_is_not_whole_does_not_count(tiny: Entry) -> None:
    put(tiny, catalogue.models_dir(), size=10)
    with pytest.raises(ModelError, match="not on this machine yet"):
        load_chat_model("tiny")


def test_a_name_is_loaded_as_its_file(tiny: Entry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = put(tiny, tmp_path / "egosrag-data" / "models")
    assert catalogue.resolve("tiny") == str(path)
    loaded = []
    monkeypatch.setattr("egosrag.models.load_chat_model", lambda name, **settings: loaded.append(name))
    assemble.chat_model(Settings.load(model="tiny"))
    assemble.extract_model(Settings.load(extract_model="tiny"))
    assert loaded == [str(path)] * 2


def test_settings_decide_where_the_models_are(tiny: Entry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = put(tiny, tmp_path / "elsewhere" / "models")
    loaded = []
    monkeypatch.setattr("egosrag.models.load_chat_model", lambda name, **settings: loaded.append(name))
    assemble.chat_model(Settings.load(model="tiny", data_dir=tmp_path / "elsewhere"))
    assert loaded == [str(path)]


def test_other_names_stay_as_they_are(tiny: Entry) -> None:
    for name in ("pocket", "openai:tiny", "./tiny", "us/tiny", "tiny.gguf"):
        assert catalogue.resolve(name) == name


def test_the_data_file_says_how_its_hashes_were_checked() -> None:
    text = (ROOT / "egosrag" / "data" / "models.toml").read_text(encoding="utf-8")
    assert "two independent public sources agree" in text
