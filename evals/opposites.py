"""The check for opposites: how many sentences that say the opposite are caught, and how many true ones are lost.

    python -m evals.opposites --pages manual.pdf --json

Every sentence of the document with a word that has an opposite is verified against its own page: as it is, and with its
parts in another order (both have to pass), and with one of its words replaced by the opposite (has to fail), unless the
page says that too.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from egosrag.rag.answer.citation_verifier import answer_sentences
from egosrag.rag.answer.opposites import Opposite, opposite_words, opposites
from egosrag.schema import Page
from egosrag.text.numbers import LIST_MARKER
from evals.common.citation_check import Case, command_of
from evals.common.command import run

_LEAST_LETTERS = 12  # of a sentence; shorter ones are labels of pictures and cells
_PART_END = re.compile(r"(?<=[,，;；])\s*")


def cases(page: Page) -> Iterator[Case]:
    """The sentences of a page with a word that has an opposite: as they are, reordered, and with one opposite."""
    chooser = random.Random(f"{page.source} {page.page}")
    letters = "".join(filter(str.isalpha, page.text)).casefold()
    for sentence, _ in answer_sentences(page.text):
        statement = LIST_MARKER.sub("", sentence)
        found = opposites(statement)
        if not found or sum(map(str.isalpha, statement)) < _LEAST_LETTERS or "|" in statement:
            continue
        yield Case(page, "true", sentence)
        if reordered := _reordered(statement):
            yield Case(page, "reordered", reordered)
        changed = [text for word in found for text in _with_opposite(statement, word)]
        changed = [text for text in changed if "".join(filter(str.isalpha, text)).casefold() not in letters]
        if changed:
            yield Case(page, "opposite", chooser.choice(changed))


def _reordered(text: str) -> str:
    """The sentence with its last part first; empty where it has one part."""
    stop = re.search(r"[.。!！]*\s*$", text)
    parts = [part.strip(" ,，;；") for part in _PART_END.split(text[: stop.start()] if stop else text)]
    if len(parts) < 2 or not all(parts):
        return ""
    comma = ", " if parts[0].isascii() else "，"
    return comma.join([parts[-1], *parts[:-1]]) + ("." if parts[0].isascii() else "。")


def _with_opposite(text: str, word: Opposite) -> Iterator[str]:
    """The sentence with each opposite of one of its words, in the same form."""
    surface = text[word.start : word.end]
    for number, side in sorted(word.sides):
        pair = opposite_words()[number]
        other = pair.sides[1 - side][0]
        if pair.verbs:
            ending = re.search(r"(?:ing|ed|s)?$", surface, re.IGNORECASE)
            ending_text = ending.group() if ending and surface.casefold() not in pair.sides[side] else ""
            stem = other.removesuffix("e") if ending_text in ("ing", "ed") else other
            other = stem + ending_text
        yield text[: word.start] + (other.capitalize() if surface[:1].isupper() else other) + text[word.end :]


command = command_of(cases, "the check for opposites")

if __name__ == "__main__":
    run(command)
