"""Score an answer by its value, and a lexical baseline that answers without a model."""

from __future__ import annotations

import re

from finetune.pocket.grammar.sample import Sample

_WORD = re.compile(r"[A-Za-z]+|[0-9]+|[\u3400-\u9fff]")


def lexical_answer(sample: Sample) -> str | None:
    """The baseline's answer: the sentence that shares most words with the question.

    For a follow-up it is the question itself; None if no sentence can be the answer (a summary, an extraction).
    """
    if sample.family == "condense":
        return sample.question
    if sample.family not in ("role", "manual"):
        return None
    question = _words(sample.question)
    return max(sample.sentences, key=lambda s: len(question & _words(s)) / (1 + len(_words(s))) ** 0.5, default="")


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


def contains_values(sample: Sample, text: str) -> bool:
    """Whether ``text`` contains all values of the sample (``Sample.value``, one per line)."""
    return all(value.lower() in text.lower() for value in sample.value.split("\n"))
