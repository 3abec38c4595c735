"""Synonyms between the user's words and the manual's, in Chinese and English, from ``data/thesaurus``.

Lexical search fails on paraphrases: "trunk" matches nothing under "luggage compartment". The groups are general ones,
of vehicles and household devices, and only terms that occur in the documents are used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from egosrag.text.words import words


class Synonyms(NamedTuple):
    """A term of a question, and the terms of the documents that mean much the same."""

    term: str
    others: list[str]


def synonyms(question: str, language: str, contained: Callable[[str], bool]) -> list[Synonyms]:
    """The terms of a question that have synonyms in the documents.

    Only the longest of nested terms counts: a question about a parking brake is not about brakes.

    Args:
        question: any text.
        language: "zh" or "en".
        contained: whether the documents contain a term.
    """
    key_text = _lookup_key(question, language)
    groups_of: dict[str, list[dict[str, str]]] = {}
    for group in synonym_groups(language):
        for key in _longest([key for key in group if key in key_text]):
            groups_of.setdefault(key, []).append(group)
    result = []
    for key in _longest(list(groups_of)):
        others = {k: term for group in groups_of[key] for k, term in group.items() if k not in key_text}
        present = [term for term in others.values() if contained(term)]
        if present:
            result.append(Synonyms(groups_of[key][0][key], present))
    return result


@cache
def synonym_groups(language: str) -> list[dict[str, str]]:
    """The groups of synonyms of a language, each a mapping from lookup keys to terms."""
    text = (files("egosrag") / "data" / "thesaurus" / f"{language}.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    groups = [line.split() if language == "zh" else [term.strip() for term in line.split(",")] for line in lines]
    return [{_lookup_key(term, language): term for term in group} for group in groups]


def _lookup_key(text: str, language: str) -> str:
    """Lower-cased Chinese text, or stemmed English words between spaces, so that only whole words match."""
    return text.lower() if language == "zh" else f" {' '.join(words(text))} "


def _longest(keys: Sequence[str]) -> list[str]:
    return [key for key in keys if not any(key != other and key in other for other in keys)]
