"""The scorer of a conversation: the three dimensions of report 7.3.1 from measures that need no judge.

consistency: no break of character, no line for somebody else, the card's facts respected. memory: facts stated by the
user are recalled, and facts never stated are not invented. quality: the reply is not empty, ends by itself, is speech
only, is in the card's language and does not repeat one of the ten before. Each is the mean of its measures, 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from egosrag.prompts.render import USER
from egosrag.text.language import language_of
from evals.common.facts import contains, contains_all, normalized
from evals.common.records import Record
from evals.roleplay.detectors import BROKE, DECLINED, outside_quotes, speaks_for_others, stance

DIMENSIONS = {
    "consistency": ("in_role", "own_lines", "facts"),
    "memory": ("recall", "honest"),
    "quality": ("answered", "ended", "speech_alone", "language", "fresh"),
}


def score(row: Record, outputs: Record, name: str) -> dict[str, Any]:
    """Measures and dimensions of one conversation; None for those that do not apply to it.

    Args:
        row: The conversation, with ``expected``.
        outputs: Of the target: ``replies``, each with ``text`` and ``stop_reason``, and ``simulated``, true when a
            model spoke for the user, so that nothing is expected of a reply.
        name: The role's name.
    """
    language, user = row["language"], USER[row["language"]]
    replies = outputs["replies"]
    texts = [reply["text"] for reply in replies]
    spoken = [text for text in texts if text.strip()]
    stances = [stance(text, name, language) for text in spoken]
    expected = [{}] * len(texts) if outputs.get("simulated") else row["expected"]
    pairs = list(zip(texts, expected, strict=True))
    measures = {
        "in_role": _mean([s != BROKE for s in stances]),
        "declined": _mean([s == DECLINED for s in stances]),
        "own_lines": _mean([not speaks_for_others(text, name, user) for text in spoken]),
        "facts": _mean([_has_facts(text, e) for text, e in pairs if "facts" in e and "after" not in e]),
        "recall": _mean([_has_facts(text, e) for text, e in pairs if "after" in e]),
        "honest": _mean([stance(text, name, language) == DECLINED for text, e in pairs if e.get("never_told")]),
        "answered": _mean([bool(text.strip()) for text in texts]),
        "ended": _mean([reply["stop_reason"] != "length" for reply in replies]),
        "speech_alone": _mean([not outside_quotes(text, name, user) for text in spoken]),
        "language": _mean([language_of(text) == language for text in spoken]),
        "fresh": _mean(
            [normalized(text) not in map(normalized, spoken[max(0, n - 10) : n]) for n, text in enumerate(spoken)]
        ),
    }
    for distance in dict.fromkeys(e["after"] for e in expected if "after" in e):
        measures[f"recall@{distance}"] = _mean([_has_facts(text, e) for text, e in pairs if e.get("after") == distance])
    for dimension, parts in DIMENSIONS.items():
        known = [value for part in parts if (value := measures[part]) is not None]
        measures[dimension] = fmean(known) if known else None
    return measures


def _has_facts(text: str, expected: Record) -> bool:
    return contains_all(text, expected["facts"]) and not contains(text, expected.get("never", ()))


def _mean(values: Sequence[bool]) -> float | None:
    return fmean(map(float, values)) if values else None
