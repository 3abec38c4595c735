"""What can be told of an answer to a manual without a judge, and the rule of refusal, calibrated by halves.

ROUGE is recall of n-grams over jieba words (Lin 2004), as the published figures on the car manual have it; BLEU is
sacrebleu's sentence BLEU (tokenizer ``zh``, which takes English too), averaged. A refusal has no overlap worth telling,
so all three are of the answerable questions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from egosrag.rag.answer.draft import refuses
from egosrag.text.words import words
from evals.common.detectors import estimate, quality, share
from evals.common.records import Record

OVERLAP = ("rouge1", "rouge2", "bleu", "told")
PAGES = ("page_hit", "citation_precision", "citation_stands")
_SHORT = 40  # characters: such a reference is a value that an answer tells or does not
_SPACES = re.compile(r"\s+")


def rouge(answer: str, reference: str, n: int) -> float:
    """The share of the reference's n-grams that the answer has, 0 to 1; of words where it has fewer than n."""
    size = min(n, len(words(reference))) or 1
    wanted, there = (_grams(text, size) for text in (reference, answer))
    return sum((wanted & there).values()) / max(1, sum(wanted.values()))


def _grams(text: str, n: int) -> Counter[tuple[str, ...]]:
    found = words(text)
    return Counter(zip(*(found[k:] for k in range(n)), strict=False))


@cache
def _bleu() -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize="zh", effective_order=True)


def bleu(answer: str, reference: str) -> float:
    """Sentence BLEU, 0 to 1."""
    return float(_bleu().sentence_score(answer, [reference]).score) / 100


def measures(row: Record, outputs: Record) -> dict[str, Any]:
    """Every measure of an answer; None is what does not apply to it.

    Args:
        row: as :mod:`evals.rag.data` has them.
        outputs: of a system: ``answer``; with a document ``refused``, ``citations`` and ``stands`` too.
    """
    answer, reference = outputs["answer"], row["reference"]
    refused = outputs.get("refused", refuses(answer))
    found: dict[str, Any] = {"refused": float(refused)}
    if row["answerable"] and reference:
        found |= {f"rouge{n}": rouge(answer, reference, n) for n in (1, 2)}
        found["bleu"] = bleu(answer, reference)
        if len(reference) <= _SHORT:
            found["told"] = float(_plain(reference) in _plain(answer))
    cited = [citation["page"] for citation in outputs.get("citations", ())]
    if row["pages"] and "citations" in outputs:
        right = [page in row["pages"] for page in cited]
        found["page_hit"] = float(any(right))
        found["citation_precision"] = sum(right) / len(right) if right else None
    if cited:
        found["citation_stands"] = outputs["stands"] / len(cited)
    return found


def _plain(text: str) -> str:
    return _SPACES.sub("", text).lower()


def summary(rows: Sequence[Record], records: Sequence[Record]) -> dict[str, Any]:
    """One system's measures with 95 % intervals: of all rows, and of each kind and manual.

    ``refusal`` has the precision and recall of its refusals against the questions that nothing answers.
    """
    by_id = {row["id"]: row for row in rows}
    parts: dict[str, list[Record]] = {"all": list(records)}
    for record in records:
        row = by_id[record["item"]]
        for part in (row["kind"], row["manual"]):
            parts.setdefault(part, []).append(record)
    return {part: _of(by_id, found) for part, found in parts.items()}


def _of(by_id: dict[str, Record], records: Sequence[Record]) -> dict[str, Any]:
    names = (*OVERLAP, *PAGES)
    values = {name: estimate([record["measures"].get(name) for record in records]) for name in names}
    refused = [record["measures"]["refused"] == 1.0 for record in records]
    hopeless = [not by_id[record["item"]]["answerable"] for record in records]
    found: dict[str, Any] = {"n": len(records), **{name: value for name, value in values.items() if value}}
    found["refused"] = share(sum(refused), len(refused))
    if any(hopeless):
        found["refusal"] = quality(refused, hopeless)
    return found


def calibrated(points: Sequence[tuple[float, bool, str]]) -> dict[str, Any]:
    """The evidence under which to refuse, found on one half of the questions and judged on the other, both ways.

    Args:
        points: (evidence, whether the manual answers it, kind) of each question, in a fixed order.

    Returns:
        ``threshold``: of all points; ``halves``: for each half the threshold found on it and, on the other half,
        the precision and recall of refusing under it; ``held_out``: both other halves together. Empty where there
        are no questions of both sorts.
    """
    halves, seen = (list[tuple[float, bool]](), list[tuple[float, bool]]()), Counter[tuple[bool, str]]()
    for evidence, answerable, kind in points:  # each kind goes to the halves by turns
        halves[seen[answerable, kind] % 2].append((evidence, answerable))
        seen[answerable, kind] += 1
    if any(len({answerable for _, answerable in half}) < 2 for half in halves):
        return {}
    found: dict[str, Any] = {"threshold": threshold([*halves[0], *halves[1]]), "halves": []}
    said, truth = list[bool](), list[bool]()
    for mine, other in (halves, halves[::-1]):
        least = threshold(mine)
        refused = [evidence < least for evidence, _ in other]
        hopeless = [not answerable for _, answerable in other]
        found["halves"].append({"threshold": least, **quality(refused, hopeless)})
        said, truth = said + refused, truth + hopeless
    return found | {"held_out": quality(said, truth)}


def threshold(points: Sequence[tuple[float, bool]]) -> float:
    """The evidence with the best mean of both recalls: answered questions answered, hopeless ones refused.

    Half way between two neighbouring values, the lower one of equals: a question too many goes to the model.
    """
    values = sorted({evidence for evidence, _ in points})
    cuts = [0.0, *((a + b) / 2 for a, b in zip(values, values[1:], strict=False))]
    good = [evidence for evidence, answerable in points if answerable]
    bad = [evidence for evidence, answerable in points if not answerable]
    return max(cuts, key=lambda cut: sum(e >= cut for e in good) / len(good) + sum(e < cut for e in bad) / len(bad))
