"""The scorer of an answer from a manual, without a judge: overlap, pages, citations and refusals.

ROUGE is recall of n-grams over jieba words (Lin 2004), as in the published figures on the car manual; BLEU is
sacrebleu's sentence BLEU (tokenizer ``zh``, which splits English too), averaged. ``right``: the answer contains the
reference (:mod:`evals.rag.correctness`). The overlap of a refusal means nothing, so these are of the answerable
questions.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from typing import Any

from egosrag.rag.refusals import is_refusal
from egosrag.text.words import words
from evals.common.records import Record
from evals.rag.correctness import is_right

OVERLAP = ("right", "rouge1", "rouge2", "bleu", "reference_contained")
PAGES = ("page_hit", "citation_precision", "quote_verified")
_SHORT = 40  # characters: a reference up to this length is a value that an answer contains or not
_SPACES = re.compile(r"\s+")


def rouge(answer: str, reference: str, n: int) -> float:
    """ROUGE-n recall, 0 to 1: the share of the reference's n-grams in the answer; of its words if it has fewer."""
    size = min(n, len(words(reference))) or 1
    expected, present = (_ngrams(text, size) for text in (reference, answer))
    return sum((expected & present).values()) / max(1, sum(expected.values()))


def _ngrams(text: str, n: int) -> Counter[tuple[str, ...]]:
    tokens = words(text)
    return Counter(zip(*(tokens[k:] for k in range(n)), strict=False))


@cache
def _bleu() -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize="zh", effective_order=True)


def bleu(answer: str, reference: str) -> float:
    """Sentence BLEU, 0 to 1."""
    return float(_bleu().sentence_score(answer, [reference]).score) / 100


def score(row: Record, outputs: Record) -> dict[str, Any]:
    """All measures of an answer; those that do not apply to it are left out, or None.

    Args:
        row: A row of :mod:`evals.rag.questions`.
        outputs: Of a system: ``answer``; with a document also ``refused``, ``citations`` and ``verified_quotes``, the
            number of citations whose quote is on their page.
    """
    answer, reference = outputs["answer"], row["reference"]
    refused = outputs.get("refused", is_refusal(answer))
    measures: dict[str, Any] = {"refused": float(refused)}
    if row["answerable"] and reference:
        measures |= {f"rouge{n}": rouge(answer, reference, n) for n in (1, 2)}
        measures["bleu"] = bleu(answer, reference)
        measures["right"] = float(not refused and is_right(answer, reference, row.get("question", "")))
        if len(reference) <= _SHORT:
            measures["reference_contained"] = float(_without_blanks(reference) in _without_blanks(answer))
    cited = [citation["page"] for citation in outputs.get("citations", ())]
    if row["pages"] and "citations" in outputs:
        right = [page in row["pages"] for page in cited]
        measures["page_hit"] = float(any(right))
        measures["citation_precision"] = sum(right) / len(right) if right else None
    if cited:
        measures["quote_verified"] = outputs["verified_quotes"] / len(cited)
    return measures


def _without_blanks(text: str) -> str:
    return _SPACES.sub("", text).lower()
