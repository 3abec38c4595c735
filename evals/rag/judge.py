"""The judge on answers from a manual: correctness from 0 to 100 (report 6.3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.common.records import Record
from evals.judge.asking import JudgeOptions, judge_cases
from evals.judge.cases import Case
from evals.judge.report import report


def judge_answers(
    rows: Sequence[Record], results: Mapping[str, Sequence[Record]], options: JudgeOptions, records: Path | None
) -> dict[str, Any]:
    """The judge's report over the answers of all systems, see :func:`evals.judge.report.report`.

    Args:
        rows: The questions.
        results: Each system's records, all on the same rows.
        options: The judge.
        records: JSONL of the judgements, to resume from.

    Raises:
        EgosRagError: The judge cannot be loaded or cannot continue; what was judged until then is recorded.
    """
    by_id = {row["id"]: row for row in rows}
    cases = []
    for same_row in zip(*results.values(), strict=True):
        row = by_id[same_row[0]["item"]]
        answers = {system: record["answer"] for system, record in zip(results, same_row, strict=True)}
        cases.append(Case(row["id"], row["question"], answers, row["reference"]))
    return report("score", judge_cases("score", cases, options, records=records))
