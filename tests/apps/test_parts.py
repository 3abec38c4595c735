"""What the pages share: words in both languages, streams that are closed, pictures of this version."""

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

from apps.parts import show
from apps.parts.words import LANGUAGES, sections
from tests.apps import screenshots

APPS = Path(__file__).resolve().parents[2] / "apps"
FILES = sorted(APPS.rglob("*.py"))


def keys(language: str) -> dict[str, str]:
    return {f"{name}.{key}": text for name, section in sections(language).items() for key, text in section.items()}


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_both_languages_have_the_same_words_with_the_same_gaps() -> None:
    one, *others = [keys(language) for language in LANGUAGES]
    for other in others:
        assert one.keys() == other.keys()
        assert {key: fields(text) for key, text in one.items()} == {key: fields(text) for key, text in other.items()}


def asked(file: Path) -> Iterator[str]:
    """The words that a page asks for; a gap in a name is one of several."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        name = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
        if name == "words" and isinstance(node, ast.Call) and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant):
                yield re.escape(str(first.value))
            elif isinstance(first, ast.JoinedStr):
                known = (p.value if isinstance(p, ast.Constant) else None for p in first.values)
                yield "".join(r"\w+" if text is None else re.escape(str(text)) for text in known)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(APPS)))
def test_every_word_that_a_page_asks_for_is_there(file: Path) -> None:
    known = keys("en")
    for pattern in asked(file):
        assert any(re.fullmatch(pattern, key) for key in known), pattern


def test_pages_are_short() -> None:
    assert all(len(file.read_text(encoding="utf-8").splitlines()) <= 200 for file in FILES)


def test_whatever_stops_a_page_closes_the_stream_it_showed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(BaseException):
        """As Streamlit stops a script: at its next word to the browser."""

    class Place:
        said = 0

        def text(self, _: str) -> None:
            self.said += 1
            if self.said == 2:
                raise Stopped

    closed: list[bool] = []

    def pieces() -> Iterator[str]:
        try:
            yield from "abc"
        finally:
            closed.append(True)

    monkeypatch.setattr(streamlit, "empty", Place)
    stream = pieces()
    with pytest.raises(Stopped):
        show.streamed(stream)
    assert closed == [True]


def test_the_server_asks_nothing_of_elsewhere_and_shows_no_traceback() -> None:
    config: dict[str, Any] = tomllib.loads((APPS / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert config["browser"]["gatherUsageStats"] is False
    assert config["client"]["showErrorDetails"] == "none"
    assert config["server"]["address"] == "127.0.0.1"
    assert "http" not in json.dumps(config["theme"])
    assert {"light", "dark"} <= config["theme"].keys()


def test_the_pictures_in_the_docs_are_of_these_pages_and_small() -> None:
    known = json.loads(screenshots.STAMP.read_text(encoding="utf-8"))
    mend = "take it anew: python -m tests.apps.screenshots"
    for page in screenshots.pages():
        assert known.get(page) == screenshots.stamp(page), f"the picture of {page} is old; {mend} {page}"
        file = screenshots.IMAGES / f"{page}.png"
        assert file.read_bytes().startswith(b"\x89PNG") and file.stat().st_size < screenshots.MOST_BYTES
