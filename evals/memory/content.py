"""Whether a reply says what the evidence says, by its words: no judge, and no reference answer.

1. The evidence turns are cut into sentences, without stage directions.
2. A sentence's key words are its content words that the question has not (a reply gets no credit for repeating the
   question), weighted by 1 / (1 + other turns of the dialogue that have the word).
3. A reply is right if it contains, of one sentence, at least two key words (or the only one) with ``SHARE`` of the
   weight of all. Words are compared as search compares them (jieba, Snowball's stemmer), Chinese ones also as parts of
   longer words.

A paraphrase in quite other words counts as wrong and a negation as right: the measure's own precision and recall on
labelled replies are ``python -m evals.memory --labels FILE``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from egosrag.errors import SourceError
from egosrag.text.sentences import sentence_spans
from egosrag.text.words import is_content_word, without_question_words, words
from evals.common.estimates import precision_recall
from evals.common.records import read_jsonl

SHARE = 0.34  # of the weight of a sentence's key words
LABELS = Path(__file__).parents[1] / "data" / "memory_replies.jsonl"
_DIRECTION = re.compile(r"（[^（）]*）|\([^()]*\)|\*[^*]*\*")
_FILLERS = frozenset(
    words(
        "just really very so well oh yes yeah hey then now too also only more some any all other one thing know think "
        "say said go going come want like make see look good let us always never every he she they him her them his "
        "hers their theirs am been being than as into out up down off over because since though but"
    )
)


def key_words(sentence: str, question: str, others: Sequence[str] = ()) -> dict[str, float]:
    """The key words of a sentence of the evidence, with their weights.

    Args:
        sentence: The sentence.
        question: Its words do not count.
        others: The other turns of the dialogue.
    """
    asked = set(words(question))
    found = [w for w in words(without_question_words(sentence)) if w not in asked and w not in _FILLERS]
    found = [w for w in found if w.isdigit() or (len(w) > 2 if w.isascii() else len(w) > 1 or is_content_word(w))]
    # Chinese words that the question contains within a longer one were asked too.
    found = [w for w in found if w.isascii() or w not in question]
    texts = [set(words(text)) for text in others]
    return {w: 1 / (1 + sum(w in text for text in texts)) for w in dict.fromkeys(found)}


def is_right(reply: str, evidence: Sequence[str], question: str, others: Sequence[str] = ()) -> bool:
    """Whether a reply says what a sentence of the evidence says.

    Args:
        reply: The reply.
        evidence: The turns that answer.
        question: The question.
        others: The other turns of the dialogue.
    """
    said = set(words(_spoken(reply)))
    text = _spoken(reply)
    for turn in evidence:
        spoken = _spoken(turn)
        for start, end in sentence_spans(spoken):
            keys = key_words(spoken[start:end], question, others)
            hits = {w: weight for w, weight in keys.items() if w in said or (not w.isascii() and w in text)}
            if hits and len(hits) >= min(2, len(keys)) and sum(hits.values()) >= SHARE * sum(keys.values()):
                return True
    return False


def _spoken(text: str) -> str:
    return _DIRECTION.sub(" ", text)


def quality(labels: Path) -> dict[str, Any]:
    """Precision and recall of ``is_right`` on labelled replies.

    Args:
        labels: JSONL of ``question``, ``evidence`` and ``others`` (lists of turns), ``reply`` and ``right``.

    Raises:
        SourceError: A row is malformed, or there are none.
    """
    rows = list(read_jsonl(labels))
    try:
        found = [_judged(row) for row in rows]
    except (KeyError, TypeError, AttributeError) as error:
        raise SourceError(
            f"{labels} has a row that is not a labelled reply ({error!r}): give question, evidence, reply and right"
        ) from error
    if not rows:
        raise SourceError(f"{labels} has no labelled replies: give question, evidence, reply and right a line")
    return precision_recall([judged for judged, _ in found], [right for _, right in found])


def _judged(row: Mapping[str, Any]) -> tuple[bool, bool]:
    if isinstance(row["evidence"], str):
        raise TypeError("evidence is a text, not a list")
    return is_right(row["reply"], row["evidence"], row["question"], row.get("others") or ()), bool(row["right"])
