"""The samples: the PDFs match the Markdown, every answer is on its page, the two languages have the same content."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from egosrag import load_role
from egosrag.schema import Role
from egosrag.text.language import language_of
from tests.make_samples import FONT, SAMPLES, build, pages

LANGUAGES = ["en", "zh"]
ROLES = {"en": "edda.en", "zh": "gu.zh"}
EVALUATED = SAMPLES.parents[2] / "evals" / "data" / "roles"
SIX = [*(SAMPLES / f"{name}.json" for name in ("edda.en", "gu.zh", "juno.en", "luo.zh"))]
SIX += [EVALUATED / "corin.en.json", EVALUATED / "su.zh.json"]


def manual(language: str) -> dict[int, str]:
    return pages((SAMPLES / f"manual.{language}.md").read_text(encoding="utf-8"))


def questions(language: str) -> list[dict[str, object]]:
    rows = json.loads((SAMPLES / f"manual.{language}.questions.json").read_text(encoding="utf-8"))
    assert isinstance(rows, list)
    return rows


def letters(text: str) -> str:
    """The text without white space and Markdown syntax."""
    return re.sub(r"[\s|#\-\x02\ufffe]", "", text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_pdf_has_the_text_of_the_markdown_page_by_page(language: str) -> None:
    import pypdfium2

    path = SAMPLES / f"manual.{language}.pdf"
    assert path.stat().st_size < 300_000
    document = pypdfium2.PdfDocument(path)
    assert len(document) == len(manual(language)) == 21
    for number, text in manual(language).items():
        assert letters(text) in letters(document[number - 1].get_textpage().get_text_range()), f"page {number}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_building_the_pdf_again_gives_the_same_bytes(language: str, tmp_path: Path) -> None:
    if language == "zh" and not Path(FONT).is_file():
        pytest.skip(f"the Chinese font is not installed: {FONT}")
    build(language, tmp_path / "again.pdf", FONT)
    assert (tmp_path / "again.pdf").read_bytes() == (SAMPLES / f"manual.{language}.pdf").read_bytes()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_answer_is_on_its_page(language: str) -> None:
    texts, rows = manual(language), questions(language)
    assert len(rows) >= 60
    for row in rows:
        if row["kind"] == "unanswerable":
            assert "reference" not in row
            continue
        references = row["reference"] if isinstance(row["reference"], list) else [row["reference"]]
        cited = [texts[int(str(name).removeprefix("page_"))] for name in references]
        assert any(str(row["answer"]).lower() in text.lower() for text in cited), row
        assert (row["kind"] == "followup") == ("history" in row)


def test_both_languages_have_the_same_questions() -> None:
    english, chinese = questions("en"), questions("zh")
    assert [(r["kind"], r.get("reference")) for r in english] == [(r["kind"], r.get("reference")) for r in chinese]
    assert all(language_of(str(r["question"])) == "en" for r in english)
    assert all(language_of(str(r["question"])) == "zh" for r in chinese)


def numbers(text: str) -> list[str]:
    return sorted(re.findall(r"\d+(?:\.\d+)?", re.sub(r"(?<=\d),(?=\d{3})", "", text)))


@pytest.mark.parametrize("number", [4, 13, 18, 20])
def test_both_languages_have_the_same_numbers(number: int) -> None:
    assert set(numbers(manual("en")[number])) == set(numbers(manual("zh")[number]))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_cards_match_their_sources(language: str) -> None:
    card, html, story = ((SAMPLES / f"{ROLES[language]}.{end}").read_text("utf-8") for end in ("json", "html", "txt"))
    role, sources = Role.model_validate_json(card), html + story
    assert role.language == language
    assert role.name in sources
    assert len(role.background) >= 4
    assert role.sample_dialogue[-1].text.rstrip(".。")[-10:] in sources


@pytest.mark.parametrize("path", SIX, ids=lambda path: path.stem)
def test_each_of_the_six_role_cards_loads_and_matches_its_text(path: Path) -> None:
    role, source = load_role(path), path.with_suffix(".txt").read_text(encoding="utf-8")
    assert role.language == path.stem.split(".")[-1] == language_of(source)
    assert role.name in source
    assert role.background and role.personality
    assert len(role.sample_dialogue) >= 2
    for part in re.split(r"[,.?!，。？！]", f"{role.greeting}{role.sample_dialogue[-1].text}"):
        assert part.strip() in source, part
    if "spec" not in json.loads(path.read_text(encoding="utf-8")):  # a character card has no fields for these two
        assert role.speaking_style and role.relations


def test_the_six_roles_are_all_listed_three_in_each_language() -> None:
    cards = {path for folder in (SAMPLES, EVALUATED) for path in folder.glob("*.json") if "questions" not in path.name}
    assert cards == set(SIX)
    assert sorted(path.stem.split(".")[-1] for path in SIX) == ["en"] * 3 + ["zh"] * 3
    readme = (SAMPLES.parent / "README.md").read_text(encoding="utf-8")
    assert all(f"`{path.stem}`" in readme for path in SIX)
