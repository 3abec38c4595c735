"""Training pairs of an embedder, made from the documents alone: no question set is needed (report 6.3.4).

A pair is what someone might ask and the passage that tells of it: a heading and its passage, a sentence and its
neighbours in the passage, a passage's rarest words, a question that a model made of it. A pair whose question holds
words of the thesaurus comes again with others of the same meaning, so that the owner's words are learned too.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from egosrag.rag.index.bm25 import Bm25
from egosrag.rag.retrieval.thesaurus import meanings
from egosrag.text.language import language_of
from egosrag.text.sentences import sentences
from egosrag.text.words import content, words

if TYPE_CHECKING:
    from egosrag.schema import Passage

KEYWORDS = 4


class Pair(NamedTuple):
    """What is asked, and the row of the passage that tells of it."""

    question: str
    row: int
    kind: str


def make_pairs(passages: Sequence[Passage], bm25: Bm25, ask: Callable[[str], str] | None, seed: int) -> list[Pair]:
    """All pairs of the passages.

    Args:
        passages: of all documents, in their order.
        bm25: over the same passages, by words; it knows which words are rare.
        ask: makes a question of a passage, where a model is at hand.
        seed: of the words that take another's place.
    """
    draw = random.Random(seed)
    pairs = [pair for row, passage in enumerate(passages) for pair in _of(row, passage, bm25, ask)]
    swapped = [Pair(text, p.row, "meaning") for p in pairs if (text := _swapped(p.question, draw)) != p.question]
    return pairs + swapped


def _of(row: int, passage: Passage, bm25: Bm25, ask: Callable[[str], str] | None) -> list[Pair]:
    title = passage.section.rpartition(" > ")[2]
    parts = [passage.text[a:b].strip() for a, b in sentences(passage.text)]
    parts = [part for part in parts if len(part) >= 8 and part != title]
    rare = sorted(set(words(content(passage.text))), key=lambda w: (-bm25.rarity(w), w))
    joiner = "" if language_of(passage.text) == "zh" else " "
    found = [Pair(title, row, "title")] if title else []
    found += [Pair(part, row, "sentence") for part in parts[::2]]
    rare = [w for w in rare if len(w) > 1 and not w.isdigit()][:KEYWORDS]
    if len(rare) == KEYWORDS:
        found.append(Pair(joiner.join(rare), row, "keywords"))
    if ask and (question := ask(passage.text)):
        found.append(Pair(question, row, "question"))
    return found


def _swapped(text: str, draw: random.Random) -> str:
    for term, others in meanings(text, language_of(text), lambda _: True):
        whole = rf"(?<![A-Za-z]){re.escape(term)}(?![A-Za-z])"
        text = re.sub(whole, draw.choice(others), text, flags=re.IGNORECASE)
    return text


def hard_negatives(pairs: Sequence[Pair], passages: Sequence[Passage], bm25: Bm25) -> list[int]:
    """For each pair the row of the passage that shares most words with the question and is of another page."""
    import numpy as np

    places = np.array([hash((p.source, p.page)) for p in passages])
    rows = []
    for pair in pairs:
        scores = np.where(places == places[pair.row], -1.0, bm25.scores(pair.question))
        rows.append(int(scores.argmax()))
    return rows
