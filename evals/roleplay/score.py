"""The scorer of a conversation: three dimensions of report 7.3.1 out of measures that need no judge.

consistency: no break of the role, no line for somebody else, the card's facts kept. memory: facts that the user told
are recalled, and what was never told is not invented. quality: replies that are there, end by themselves, hold speech
alone, are in the card's language and do not repeat one of the ten before. Each is the mean of its measures, 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from egosrag.errors import SourceError
from egosrag.prompts.render import USER
from egosrag.text.language import language_of
from evals.common.detectors import quality
from evals.common.facts import all_told, plain, told
from evals.common.records import Record, read_jsonl
from evals.roleplay.measures import BROKE, DECLINED, STANCES, outside_quotes, speaks_for_others, stance

DIMENSIONS = {
    "consistency": ("in_role", "own_lines", "facts"),
    "memory": ("recall", "honest"),
    "quality": ("answered", "ended", "speech_alone", "language", "fresh"),
}


def score(row: Record, outputs: Record, name: str) -> dict[str, Any]:
    """Measures and dimensions of one conversation; None is what it does not ask for.

    Args:
        row: the conversation, with ``expected``.
        outputs: what the target gave: ``replies``, each with ``text`` and ``stop_reason``, and ``simulated``, true
            where a model spoke for the user, so that nothing is expected of a reply.
        name: who is played.
    """
    language, user = row["language"], USER[row["language"]]
    replies = outputs["replies"]
    texts = [reply["text"] for reply in replies]
    said = [text for text in texts if text.strip()]
    stances = [stance(text, name, language) for text in said]
    expected = [{}] * len(texts) if outputs.get("simulated") else row["expected"]
    pairs = list(zip(texts, expected, strict=True))
    found = {
        "in_role": _mean([s != BROKE for s in stances]),
        "declined": _mean([s == DECLINED for s in stances]),
        "own_lines": _mean([not speaks_for_others(text, name, user) for text in said]),
        "facts": _mean([_kept(text, e) for text, e in pairs if "facts" in e and "after" not in e]),
        "recall": _mean([_kept(text, e) for text, e in pairs if "after" in e]),
        "honest": _mean([stance(text, name, language) == DECLINED for text, e in pairs if e.get("never_told")]),
        "answered": _mean([bool(text.strip()) for text in texts]),
        "ended": _mean([reply["stop_reason"] != "length" for reply in replies]),
        "speech_alone": _mean([not outside_quotes(text, name, user) for text in said]),
        "language": _mean([language_of(text) == language for text in said]),
        "fresh": _mean([plain(text) not in map(plain, said[max(0, n - 10) : n]) for n, text in enumerate(said)]),
    }
    for distance in dict.fromkeys(e["after"] for e in expected if "after" in e):
        found[f"recall@{distance}"] = _mean([_kept(text, e) for text, e in pairs if e.get("after") == distance])
    for dimension, parts in DIMENSIONS.items():
        known = [value for part in parts if (value := found[part]) is not None]
        found[dimension] = fmean(known) if known else None
    return found


def _kept(text: str, expected: Record) -> bool:
    return all_told(text, expected["facts"]) and not told(text, expected.get("never", ()))


def _mean(values: Sequence[bool]) -> float | None:
    return fmean(map(float, values)) if values else None


def detectors(labels: Path, *, split: str = "held out") -> dict[str, Any]:
    """How good the detectors are on labelled replies: precision and recall, with intervals.

    Args:
        labels: JSONL of ``reply``, ``language``, ``role``, ``user``, ``stance``, ``speaks_for_others`` and
            ``outside_quotes``; rows with another ``split`` than the one given are left out.
        split: the rows that count; rows without a split always do.

    Raises:
        SourceError: a row is not such a row.
    """
    rows = [row for row in read_jsonl(labels) if row.get("split", split) == split]
    try:
        stances = [(stance(r["reply"], r["role"], r["language"]), r["stance"]) for r in rows]
        others = [(speaks_for_others(r["reply"], r["role"], r["user"]), r["speaks_for_others"]) for r in rows]
        outside = [(outside_quotes(r["reply"], r["role"], r["user"]), r["outside_quotes"]) for r in rows]
    except (KeyError, TypeError) as error:
        raise SourceError(
            f"{labels} has a row that is no labelled reply ({error!r}): see evals/data/README.md"
        ) from error
    if not rows or {label for _, label in stances} - set(STANCES):
        raise SourceError(f"{labels} has no labelled replies, or a stance beyond {', '.join(STANCES)}: mend it there")
    found = {kind: _quality([(f == kind, label == kind) for f, label in stances]) for kind in STANCES}
    return found | {"speaks_for_others": _quality(others), "outside_quotes": _quality(outside)}


def _quality(pairs: Sequence[tuple[bool, bool]]) -> dict[str, Any]:
    return quality([found for found, _ in pairs], [bool(label) for _, label in pairs])
