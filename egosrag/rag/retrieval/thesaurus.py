"""The owner's words and the manual's: groups of terms that mean much the same, in Chinese and English.

Where lexical search ends is paraphrase: who asks for the trunk finds nothing under "luggage compartment". The
groups are general ones, of vehicles and household devices; only terms that stand in the documents are used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from egosrag.text.words import words


class Meaning(NamedTuple):
    """A term of a question, and the terms of the documents that mean much the same."""

    term: str
    others: list[str]


def _key(text: str, language: str) -> str:
    """What terms are looked up in: Chinese as it is, English by whole words without their endings."""
    return text.lower() if language == "zh" else f" {' '.join(words(text))} "


@cache
def _groups(language: str) -> list[dict[str, str]]:
    """The groups of a language, each a mapping of lookup keys to terms."""
    text = (files("egosrag") / "data" / "thesaurus" / f"{language}.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    parted = [line.split() if language == "zh" else [t.strip() for t in line.split(",")] for line in lines]
    return [{_key(term, language): term for term in group} for group in parted]


def meanings(question: str, language: str, known: Callable[[str], bool]) -> list[Meaning]:
    """The terms of a question that have others in the documents.

    A term inside a longer one is not looked at: who asks for a parking brake does not ask for brakes.

    Args:
        question: any text.
        language: "zh" or "en".
        known: whether the documents have a term.
    """
    asked = _key(question, language)
    found: dict[str, list[dict[str, str]]] = {}
    for group in _groups(language):
        for key in _longest([key for key in group if key in asked]):
            found.setdefault(key, []).append(group)
    made = []
    for key in _longest(list(found)):
        others = {k: term for group in found[key] for k, term in group.items() if k not in asked}
        kept = [term for term in others.values() if known(term)]
        if kept:
            made.append(Meaning(found[key][0][key], kept))
    return made


def _longest(keys: Sequence[str]) -> list[str]:
    return [key for key in keys if not any(key != other and key in other for other in keys)]
