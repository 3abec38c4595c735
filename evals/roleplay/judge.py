"""The judge on conversations: a score from 0 to 100 in each of the three dimensions of report 7.3.1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from egosrag.prompts.render import USER, card, quoted
from evals.common.records import Record
from evals.judge.asking import JudgeOptions, judge_cases
from evals.judge.cases import Case
from evals.judge.report import report
from evals.roleplay.cases import CASES, subject

CRITERIA = {
    "consistency": "whether every reply keeps to the role's card: its facts, manner and point of view; never as an AI",
    "memory": "whether the replies remember and use what was said earlier, and invent nothing that was never told",
    "quality": "fluent language, sound logic and precise meaning; only the role's own speech, without narration",
}
_SHOWN_ENDS = 2  # exchanges at either end of a recall conversation that the judge reads, beside those that matter


def judge_conversations(
    rows: Sequence[Record], results: Mapping[str, Sequence[Record]], options: JudgeOptions, records: Path | None
) -> dict[str, Any]:
    """The judge's reports by dimension and case, see :func:`evals.judge.report.report`.

    Args:
        rows: The conversations' rows.
        results: Each system's records.
        options: The judge; each dimension has criteria of its own.
        records: JSONL of the judgements, one file a dimension: ``NAME.DIMENSION.jsonl``.

    Raises:
        EgosRagError: The judge cannot be loaded or cannot continue; what was judged until then is recorded.
    """
    by_item = {name: {r["item"]: r for r in part} for name, part in results.items()}
    cases = [case for row in rows if (case := _case(row, by_item))]
    case_of = {row["id"]: row["case"] for row in rows}
    model = options.load()  # loaded once: the dimensions share a script
    reports: dict[str, Any] = {}
    for dimension, criteria in CRITERIA.items():
        file = records.with_name(f"{records.stem}.{dimension}.jsonl") if records else None
        judged = judge_cases("score", cases, replace(options, criteria=criteria), records=file, model=model)
        parts = {name: [r for r in judged if case_of[r.case.id] == name] for name in CASES}
        reports[dimension] = {name: report("score", part) for name, part in parts.items() if part}
        reports[dimension]["all"] = report("score", judged)
    return reports


def _case(row: Record, by_item: Mapping[str, Mapping[str, Record]]) -> Case | None:
    played = {name: records[row["id"]] for name, records in by_item.items() if row["id"] in records}
    if not played:
        return None
    role, language = subject(row["role"]).card, row["language"]
    task = (
        f"扮演{role.name}，与用户对话。" if language == "zh" else f"Play {role.name} in a conversation with the user."
    )
    answers = {name: transcript(record, row, role.name, language) for name, record in played.items()}
    return Case(row["id"], f"{task}\n{card(role, language)}", answers)


def transcript(record: Record, row: Record, name: str, language: str) -> str:
    """The conversation, a line a turn; of a recall conversation only the lines that state or ask for facts.

    Args:
        record: With ``said`` and ``replies``.
        row: The conversation's row.
        name: The role's name.
        language: "en" or "zh".
    """
    states = {n - expected["after"] // 2 for n, expected in enumerate(row["expected"]) if "after" in expected}
    asks = {n for n, expected in enumerate(row["expected"]) if expected}
    last = len(record["replies"]) - 1
    lines, omitted = [], False
    for n, (line, reply) in enumerate(zip(record["said"], record["replies"], strict=True)):
        if row["case"] == "recall" and n not in states | asks and min(n, last - n) >= _SHOWN_ENDS:
            omitted = True
            continue
        lines += ["..."] if omitted else []
        omitted = False
        lines += [quoted(USER[language], line, language), quoted(name, reply["text"], language)]
    return "\n".join(lines)
