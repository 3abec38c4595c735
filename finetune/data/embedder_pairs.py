"""Training pairs for an embedder, made from the documents alone: no question set is needed (report 6.3.4).

A pair is a query and its passage: a heading and its passage, a sentence and the rest of its passage, a passage's
rarest words, a question that a model asks about it. A pair whose query contains words of the thesaurus is repeated with
synonyms, so that the users' words are trained too.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from egosrag.rag.index.bm25 import Bm25
from egosrag.rag.retrieval.thesaurus import synonyms
from egosrag.text.language import language_of
from egosrag.text.sentences import sentence_spans
from egosrag.text.words import without_question_words, words

if TYPE_CHECKING:
    from egosrag.schema import Passage

KEYWORDS = 4  # words in a query of a passage's rarest words
_MIN_SENTENCE = 8  # characters of a sentence that can be a query


class Pair(NamedTuple):
    """A query and the index of its passage. ``kind``: title, sentence, keywords, question or meaning (a synonym)."""

    query: str
    passage: int
    kind: str


def make_pairs(passages: Sequence[Passage], bm25: Bm25, ask: Callable[[str], str] | None, seed: int) -> list[Pair]:
    """All pairs of the passages.

    Args:
        passages: of all documents, in their order.
        bm25: a word index over the same passages, for the rarity of words.
        ask: generates a question about a passage; None if there is no model for it.
        seed: of the choice of synonyms.
    """
    rng = random.Random(seed)
    pairs = [pair for n, passage in enumerate(passages) for pair in _pairs_of(n, passage, bm25, ask)]
    with_synonyms = [
        Pair(query, p.passage, "meaning") for p in pairs if (query := _with_synonyms(p.query, rng)) != p.query
    ]
    return pairs + with_synonyms


def _pairs_of(number: int, passage: Passage, bm25: Bm25, ask: Callable[[str], str] | None) -> list[Pair]:
    title = passage.section.rpartition(" > ")[2]
    parts = [passage.text[a:b].strip() for a, b in sentence_spans(passage.text)]
    parts = [part for part in parts if len(part) >= _MIN_SENTENCE and part != title]
    rarest = sorted(set(words(without_question_words(passage.text))), key=lambda w: (-bm25.idf(w), w))
    separator = "" if language_of(passage.text) == "zh" else " "
    pairs = [Pair(title, number, "title")] if title else []
    pairs += [Pair(part, number, "sentence") for part in parts[::2]]
    keywords = [w for w in rarest if len(w) > 1 and not w.isdigit()][:KEYWORDS]
    if len(keywords) == KEYWORDS:
        pairs.append(Pair(separator.join(keywords), number, "keywords"))
    if ask and (question := ask(passage.text)):
        pairs.append(Pair(question, number, "question"))
    return pairs


def _with_synonyms(text: str, rng: random.Random) -> str:
    for term, others in synonyms(text, language_of(text), lambda _: True):
        whole_word = rf"(?<![A-Za-z]){re.escape(term)}(?![A-Za-z])"
        text = re.sub(whole_word, rng.choice(others), text, flags=re.IGNORECASE)
    return text


def hard_negatives(pairs: Sequence[Pair], passages: Sequence[Passage], bm25: Bm25) -> list[int]:
    """For each pair the index of the passage with the best BM25 score for the query among those of other pages."""
    import numpy as np

    pages = np.array([hash((p.source, p.page)) for p in passages])
    negatives = []
    for pair in pairs:
        scores = np.where(pages == pages[pair.passage], -1.0, bm25.scores(pair.query))
        negatives.append(int(scores.argmax()))
    return negatives
