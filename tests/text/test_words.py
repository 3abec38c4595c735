"""Word segmentation for search: jieba words and character bigrams, question words stripped."""

from __future__ import annotations

import pytest

from egosrag.text import words as segmentation
from egosrag.text.words import is_content_word, pairs, without_question_words, words


def test_words_are_those_of_both_languages() -> None:
    assert words("打开前机舱盖 Lynk&CoApp") == [*words("打开前机舱盖"), "lynk&coapp", "lynk", "co", "app"]
    assert words("更换电池") == ["更换", "电池"]
    assert words("two batteries") == words("Two battery")


def test_pairs_are_character_bigrams_and_latin_words() -> None:
    assert pairs("机舱盖 OBD-II 油") == ["机舱", "舱盖", "obd-ii", "obd", "ii", "油"]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Where is the release lever?", ["release", "lever?"]),
        ("请问钥匙电池是什么型号的呢？", ["钥匙电池", "型号", "？"]),
    ],
)
def test_question_words_are_stripped(question: str, expected: list[str]) -> None:
    assert without_question_words(question).split() == expected


@pytest.mark.parametrize(
    ("word", "expected"), [("电池", True), ("打开", False), ("battery", True), ("领克", True), ("非常", False)]
)
def test_nouns_numbers_and_unknown_words_are_content_words(word: str, expected: bool) -> None:
    assert is_content_word(word) is expected


def test_long_texts_without_a_break_are_segmented_in_pieces_and_not_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """jieba's time is quadratic in the characters that form no words, and memory would fill with such tokens."""
    lengths: list[int] = []
    segment = segmentation._jieba().lcut

    class Recorded:
        def lcut(self, text: str) -> list[str]:
            lengths.append(len(text))
            return list(segment(text))

    monkeypatch.setattr(segmentation, "_jieba", Recorded)
    segmentation._known_chinese.cache_clear()
    text = "雨" * 5001
    assert "".join(words(text)) == text and max(lengths) <= 200
    before = segmentation._known_latin.cache_info().currsize
    assert words("x" * 5000) == ["x" * 5000]
    assert segmentation._known_latin.cache_info().currsize == before
