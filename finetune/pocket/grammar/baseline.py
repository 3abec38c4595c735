"""What a sample's answer is held against: its value, and a guess that needs no model."""

from __future__ import annotations

import re

from finetune.pocket.grammar.sample import Sample

_WORD = re.compile(r"[A-Za-z]+|[0-9]+|[\u3400-\u9fff]")


def lexical(sample: Sample) -> str | None:
    """What a model-free baseline answers: the sentence that shares most words with the question.

    None where no sentence can be the answer (a summary, an extraction).
    """
    if sample.family == "condense":
        return sample.asked
    if sample.family not in ("role", "manual"):
        return None
    asked = _words(sample.asked)
    return max(sample.sentences, key=lambda s: len(asked & _words(s)) / (1 + len(_words(s))) ** 0.5, default="")


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


def kept(sample: Sample, text: str) -> bool:
    """Whether the values that matter stand in ``text``."""
    return all(value.lower() in text.lower() for value in sample.value.split("\n"))
