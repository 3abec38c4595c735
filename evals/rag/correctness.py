"""Whether an answer contains a reference answer: its numbers and key words, or its yes or no. No judge."""

from __future__ import annotations

import re

from egosrag.text.language import language_of
from egosrag.text.numbers import number_values
from egosrag.text.sentences import sentence_spans
from egosrag.text.words import without_question_words, words

MIN_WORDS = 0.5  # share of a reference's words that a right answer contains: people word one answer in several ways
_STEM = 5  # characters by which English words are compared: "locks" and "locking" are the same key word
_YES_NO = re.compile(
    r"\s*(?:(yes|true|是的?|可以|能|会|有)|(no|false|不是?|否|没有))\b[\s.。,，!！:：]*", re.IGNORECASE
)
_NEGATION = re.compile(r"\b(?:not?|never|cannot|without|none)\b|n[’']t\b|[不没无未勿]", re.IGNORECASE)


def is_right(answer: str, reference: str, question: str = "") -> bool:
    """Whether ``answer`` contains the reference: all its numbers, and at least ``MIN_WORDS`` of its other words.

    A yes or no is compared with the answer's own, or with its polarity where it only states the fact.

    Args:
        answer: What was answered.
        reference: A value, a phrase or a sentence.
        question: Words of the question are no news in an answer: they are not expected of it.
    """
    if expected := _YES_NO.fullmatch(reference):
        own = _YES_NO.match(answer)
        return bool(expected[1]) == (bool(own[1]) if own else not _NEGATION.search(_closest(answer, question)))
    if not number_values(reference) <= number_values(answer):
        return False
    expected_words = _key_words(reference) - _key_words(question) or _key_words(reference)
    found = sum(word in (_key_words(answer) if word.isascii() else answer) for word in expected_words)
    return found >= MIN_WORDS * len(expected_words)


def _closest(answer: str, question: str) -> str:
    """The sentence of an answer that shares the most words with the question."""
    asked, sentences = _key_words(question), [answer[start:end] for start, end in sentence_spans(answer)]
    return max(sentences, key=lambda sentence: len(_key_words(sentence) & asked), default="")


def _key_words(text: str) -> set[str]:
    """The words of a text that name something, English ones by their stems; numbers are left out."""
    text = text.replace("metre", "meter").replace("litre", "liter")
    found = words(without_question_words(text) if language_of(text) == "en" else text)
    return {word[:_STEM] if word.isascii() else word for word in found if not number_values(word)}
