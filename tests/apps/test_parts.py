"""What the pages share: texts in both languages, streams that are closed, up-to-date screenshots."""

from __future__ import annotations

import ast
import json
import re
import string
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("streamlit", reason="the extra app is not installed")

import streamlit

from apps.parts import display
from apps.parts.translations import LANGUAGES, sections
from tests.apps import screenshots

APPS = Path(__file__).resolve().parents[2] / "apps"
FILES = sorted(APPS.rglob("*.py"))


def keys(language: str) -> dict[str, str]:
    return {f"{name}.{key}": text for name, section in sections(language).items() for key, text in section.items()}


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_both_languages_have_the_same_keys_with_the_same_fields() -> None:
    one, *others = [keys(language) for language in LANGUAGES]
    for other in others:
        assert one.keys() == other.keys()
        assert {key: fields(text) for key, text in one.items()} == {key: fields(text) for key, text in other.items()}


def used_keys(file: Path) -> Iterator[str]:
    """Patterns of the keys that a file translates; a value inside a key matches any word."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        name = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
        if name == "t" and isinstance(node, ast.Call) and node.args:
            first = node.args[0]
            for key in (first.body, first.orelse) if isinstance(first, ast.IfExp) else (first,):
                if isinstance(key, ast.Constant):
                    yield re.escape(str(key.value))
                elif isinstance(key, ast.JoinedStr):
                    parts = (p.value if isinstance(p, ast.Constant) else None for p in key.values)
                    yield "".join(r"\w+" if part is None else re.escape(str(part)) for part in parts)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(APPS)))
def test_every_translated_key_exists(file: Path) -> None:
    known = keys("en")
    for pattern in used_keys(file):
        assert any(re.fullmatch(pattern, key) for key in known), pattern


def test_every_text_is_used() -> None:
    patterns = {pattern for file in FILES for pattern in used_keys(file)}
    own = [key for key in keys("en") if not key.startswith("widgets.")]  # Streamlit's texts, by themselves
    assert [key for key in own if not any(re.fullmatch(pattern, key) for pattern in patterns)] == []


def test_stopping_a_page_closes_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(BaseException):
        """Raised as Streamlit does it to stop a script: at its next call."""

    class Place:
        calls = 0

        def html(self, _: str) -> None:
            self.calls += 1
            if self.calls == 2:  # after the sign of typing
                raise Stopped

    closed: list[bool] = []

    def chunks() -> Iterator[str]:
        try:
            yield from "abc"
        finally:
            closed.append(True)

    monkeypatch.setattr(streamlit, "empty", Place)
    stream = chunks()
    with pytest.raises(Stopped):
        display.show_stream(stream)
    assert closed == [True]


def test_the_server_contacts_no_other_host_and_shows_no_traceback() -> None:
    config: dict[str, Any] = tomllib.loads((APPS / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert config["browser"]["gatherUsageStats"] is False
    assert config["client"]["showErrorDetails"] == "none"
    assert config["server"]["address"] == "127.0.0.1"
    assert "http" not in json.dumps(config["theme"])
    assert {"light", "dark"} <= config["theme"].keys()


def test_no_garbage_collection_after_each_run_holds_up_the_work_in_the_background() -> None:
    config: dict[str, Any] = tomllib.loads((APPS / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert config["runner"]["postScriptGC"] is False


def test_the_screenshots_in_the_docs_are_up_to_date_and_small() -> None:
    stamps = json.loads(screenshots.STAMP.read_text(encoding="utf-8"))
    fix = "take it again: python -m tests.apps.screenshots"
    for page in screenshots.pages():
        assert stamps.get(page) == screenshots.stamp(page), f"the screenshot of {page} is outdated; {fix} {page}"
        file = screenshots.IMAGES / f"{page}.png"
        assert file.read_bytes().startswith(b"\x89PNG") and file.stat().st_size < screenshots.MAX_BYTES
