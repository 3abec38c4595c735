"""The four systems of the report (7.3.2) by name; every setting of a preset can be overridden."""

from __future__ import annotations

from pathlib import Path

import pytest

from egosrag.errors import SettingsError
from egosrag.presets import PRESETS
from egosrag.settings import Settings


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "model", "adapter", "quote", "strategy"),
    [
        ("EGOS-Small", "Qwen/Qwen2.5-3B", "runs/lora_3b", True, "static"),
        ("EGOS-wo-quote", "Qwen/Qwen2.5-3B", "runs/lora_3b", False, "static"),
        ("EGOS-wo-Extract", "Qwen/Qwen2.5-3B", "runs/lora_3b", True, "none"),
        ("EGOS-Large", "deepseek:deepseek-chat", None, True, "static"),
    ],
)
def test_a_preset_is_a_system_of_the_report(
    name: str, model: str, adapter: str | None, quote: bool, strategy: str
) -> None:
    for settings in (Settings.load(preset=name), Settings(preset=name), Settings.load(preset=name.lower())):
        assert (settings.model, settings.adapter, settings.quote, settings.strategy) == (
            model,
            adapter,
            quote,
            strategy,
        )
        assert (settings.history, settings.memory, settings.extract_model) == ("single", "both", "openai:gpt-4o")


def test_there_are_four_presets() -> None:
    assert list(PRESETS) == ["EGOS-Small", "EGOS-wo-quote", "EGOS-wo-Extract", "EGOS-Large"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("quote", False),
        ("history", "multiple"),
        ("memory", "static"),
        ("strategy", "dynamic"),
        ("extract_model", "pocket"),
    ],
)
def test_every_setting_of_a_preset_can_be_overridden(key: str, value: object) -> None:
    assert getattr(Settings.load(preset="EGOS-Small", **{key: value}), key) == value
    assert getattr(Settings(preset="EGOS-Small", **{key: value}), key) == value  # type: ignore[arg-type]


def test_another_model_drops_the_presets_adapter() -> None:
    assert Settings.load(preset="EGOS-Small", model="pocket").adapter is None
    assert Settings.load(preset="EGOS-Small", model="pocket", adapter="mine").adapter == "mine"
    assert Settings.load(preset="EGOS-Small", adapter="mine").model == "Qwen/Qwen2.5-3B"


def test_a_preset_has_the_precedence_of_the_place_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EGOSRAG_MODEL", "pocket")
    assert Settings.load(preset="EGOS-Large").model == "deepseek:deepseek-chat"
    Path("egosrag.toml").write_text("preset = 'EGOS-Large'\nquote = false\n", encoding="utf-8")
    settings = Settings.load(memory="dynamic")
    assert (settings.model, settings.quote, settings.memory) == ("pocket", False, "dynamic")
    assert settings.extract_model == "openai:gpt-4o"


def test_settings_round_trip_through_json() -> None:
    settings = Settings(preset="EGOS-Large", quote=False)
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_an_unknown_preset_is_an_error_that_lists_them() -> None:
    with pytest.raises(SettingsError, match=r"no preset 'EGOS-Smal' \(did you mean EGOS-Small\?\): take one of"):
        Settings.load(preset="EGOS-Smal")
