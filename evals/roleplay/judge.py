"""The judge on conversations: each of the three dimensions of report 7.3.1, 0 to 100, beside the automatic measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from egosrag import load_chat_model
from egosrag.prompts.render import USER, card, quoted
from evals.common.records import Record
from evals.judge.cases import Case
from evals.judge.command import judge_cases
from evals.judge.report import report
from evals.roleplay.data import CASES, subject

CRITERIA = {
    "consistency": "whether every reply keeps to the role's card: its facts, manner and point of view; never as an AI",
    "memory": "whether the replies remember and use what was said earlier, and invent nothing that was never told",
    "quality": "fluent language, sound logic and precise meaning; only the role's own speech, without narration",
}
_AROUND = 2  # exchanges of a long conversation that are shown: those that ask or tell, and so many at either end
_PEOPLE = 0.2


def judged(
    rows: Sequence[Record], found: Mapping[str, Sequence[Record]], model: str, *, k: int, records: Path | None
) -> dict[str, Any]:
    """The judge's report by dimension and case: ``evals.judge.report.report`` of each.

    Args:
        rows: the conversations' rows.
        found: each system's records.
        model: the judge.
        k: its explanations.
        records: JSONL to keep the judgements in, one file a dimension: ``NAME.DIMENSION.jsonl``.

    Raises:
        EgosRagError: the judge cannot be loaded or cannot go on; what was judged by then is kept.
    """
    items = {name: {r["item"]: r for r in part} for name, part in found.items()}
    cases = [case for row in rows if (case := _case(row, items))]
    of = {row["id"]: row["case"] for row in rows}
    loaded = load_chat_model(model, temperature=1.0, max_new_tokens=512)  # one script for all of it
    reports: dict[str, Any] = {}
    for dimension, criteria in CRITERIA.items():
        kept = records.with_name(f"{records.stem}.{dimension}.jsonl") if records else None
        results = judge_cases("score", cases, model, k=k, criteria=criteria, records=kept, loaded=loaded)
        parts = {c: [r for r in results if of[r[1].id] == c] for c in CASES}
        reports[dimension] = {c: report("score", part, _PEOPLE) for c, part in parts.items() if part}
        reports[dimension]["all"] = report("score", results, _PEOPLE)
    return reports


def _case(row: Record, items: Mapping[str, Mapping[str, Record]]) -> Case | None:
    played = {name: records[row["id"]] for name, records in items.items() if row["id"] in records}
    if not played:
        return None
    role, language = subject(row["role"]).card, row["language"]
    asked = (
        f"扮演{role.name}，与用户对话。" if language == "zh" else f"Play {role.name} in a conversation with the user."
    )
    answers = {name: _transcript(record, row, role.name, language) for name, record in played.items()}
    return Case(row["id"], f"{asked}\n{card(role, language)}", answers)


def _transcript(record: Record, row: Record, name: str, language: str) -> str:
    """The conversation, a line a turn; of a long one only what is told and asked, with marks for the small talk."""
    told = {n - wanted["after"] // 2 for n, wanted in enumerate(row["expected"]) if "after" in wanted}
    asked = {n for n, wanted in enumerate(row["expected"]) if wanted}
    last = len(record["replies"]) - 1
    lines, left_out = [], False
    for n, (line, reply) in enumerate(zip(record["said"], record["replies"], strict=True)):
        if row["case"] == "recall" and n not in told | asked and min(n, last - n) >= _AROUND:
            left_out = True
            continue
        lines += ["..."] if left_out else []
        left_out = False
        lines += [quoted(USER[language], line, language), quoted(name, reply["text"], language)]
    return "\n".join(lines)
