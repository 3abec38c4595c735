"""Settings: flags override the environment, that the file, that the defaults; a misspelt key is an error."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from egosrag.errors import SettingsError
from egosrag.settings import Settings, save_default_model

PACKAGE = Path(__file__).resolve().parent.parent / "egosrag"


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_flag_overrides_environment_overrides_file_overrides_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Settings.load().top_k == 5
    Path("egosrag.toml").write_text("top_k = 6\nwindow = 400\n")
    assert (Settings.load().top_k, Settings.load().window) == (6, 400)
    monkeypatch.setenv("EGOSRAG_TOP_K", "7")
    assert (Settings.load().top_k, Settings.load().window) == (7, 400)
    assert Settings.load(top_k=8).top_k == 8


def test_the_settings_file_overrides_the_users_settings(tmp_path: Path) -> None:
    user = tmp_path / "data"
    user.mkdir()
    (user / "settings.toml").write_text("model = 'mine'\ntop_k = 9\n")
    assert (Settings.load(data_dir=user).model, Settings.load(data_dir=user).top_k) == ("mine", 9)
    Path("egosrag.toml").write_text("model = 'the folder'\n")
    assert (Settings.load(data_dir=user).model, Settings.load(data_dir=user).top_k) == ("the folder", 9)
    Path("egosrag.toml").write_text("preset = 'EGOS-Large'\n")
    assert Settings.load(data_dir=user).model == Settings(preset="EGOS-Large").model


def test_a_default_model_leaves_the_other_settings_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("top_k = 9\nquote = false\nstore = 'ein \"Ort\" 所'\n", encoding="utf-8")
    save_default_model(tmp_path, "tiny")
    loaded = Settings.load(data_dir=tmp_path)
    assert (loaded.model, loaded.top_k, loaded.quote, loaded.store) == ("tiny", 9, False, 'ein "Ort" 所')
    save_default_model(tmp_path, None)
    assert Settings.load(data_dir=tmp_path).model == "pocket"
    assert Settings.load(data_dir=tmp_path).top_k == 9


def test_a_misspelt_key_of_the_user_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("modle = 'x'\n")
    with pytest.raises(SettingsError, match=r"no such setting in .*settings.toml: modle \(did you mean model\?\)"):
        Settings.load(data_dir=tmp_path)


def test_a_flag_that_is_none_overrides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EGOSRAG_QUOTE", "false")
    assert Settings.load(quote=None).quote is False
    assert Settings.load(quote=True).quote is True


def test_a_config_file_replaces_the_one_in_the_folder(tmp_path: Path) -> None:
    Path("egosrag.toml").write_text("top_k = 6\n")
    other = tmp_path / "other.toml"
    other.write_text("window = 500\n")
    assert (Settings.load(other).top_k, Settings.load(other).window) == (5, 500)


@pytest.mark.parametrize("place", ["file", "environment", "flag"])
def test_a_misspelt_key_is_an_error_with_a_suggestion(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = {}
    if place == "file":
        Path("egosrag.toml").write_text("modle = 'pocket'\n")
    elif place == "environment":
        monkeypatch.setenv("EGOSRAG_MODLE", "pocket")
    else:
        flags = {"modle": "pocket"}
    with pytest.raises(SettingsError, match=r"modle \(did you mean model\?\)"):
        Settings.load(**flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"top_k": 0}, "top_k is 0"),
        ({"history": "both"}, "history is 'both'"),
        ({"window": 100, "overlap": 100}, r"overlap \(100\) must be smaller than window \(100\)"),
        ({"temperature": -1}, "temperature is -1"),
        ({"top_p": 1.5, "seed": "x"}, "top_p is 1.5.*; seed is 'x'"),
    ],
)
def test_invalid_values_are_listed_in_one_line(flags: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        Settings.load(**flags)
    assert "\n" not in str(caught.value)


def test_a_missing_or_malformed_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no settings file"):
        Settings.load(tmp_path / "none.toml")
    Path("egosrag.toml").write_text("top_k: 6")
    with pytest.raises(SettingsError, match="cannot be read as TOML"):
        Settings.load()
    Path("egosrag.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="cannot be read as TOML"):
        Settings.load()
    with pytest.raises(SettingsError, match="config is .* give it the path"):
        Settings.load(config={"a": 1})  # type: ignore[arg-type]


def test_sessions_are_stored_in_the_data_folder_by_default(tmp_path: Path) -> None:
    assert Settings.load(data_dir=tmp_path).session_store == str(tmp_path / "sessions.sqlite")
    assert Settings.load(store="postgresql://localhost/x").session_store == "postgresql://localhost/x"


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EGOSRAG_DATA_DIR", "~/data")
    assert Settings.load().data_dir == Path.home() / "data"


def test_every_setting_is_described_and_used() -> None:
    files = [PACKAGE / "settings.py", *(PACKAGE / "cli").glob("*.py"), *(PACKAGE / "assemble").glob("*.py")]
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in files]
    read = {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for name, field in Settings.model_fields.items():
        assert field.description, f"{name} has no description"
        # A preset only sets the other settings.
        assert name in read or name == "preset", f"nothing reads the setting {name}"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings.load().top_k = 3  # type: ignore[misc]
