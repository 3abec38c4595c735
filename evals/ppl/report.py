"""The results of PPL mode: accuracies with their uncertainty, and the table of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from evals.common import stats
from evals.common.records import Record

CAPTION = "Raw text scored, without a chat template, for chat models too."


def summary(records: Sequence[Record], *, suffix: bool, prompts: str) -> dict[str, Any]:
    """The result of a task: accuracy by its own rule, and lm-eval's acc and acc_norm, with 95 % intervals.

    For a task with groups (MMLU) ``accuracy`` is weighted by the subjects' sizes, ``naive`` is their unweighted mean.

    Args:
        records: Of :func:`evals.ppl.run.run_task`.
        suffix: Whether the task is scored by the suffix (Winogrande).
        prompts: The prompt style.
    """
    n = len(records)
    hits = [r["prediction"] == r["gold"] for r in records]
    rate, acc, acc_norm = (
        stats.proportion(sum(r[rule] == r["gold"] for r in records), n) for rule in ("prediction", "acc", "acc_norm")
    )
    groups: dict[str, list[bool]] = {}
    for record, hit in zip(records, hits, strict=True):
        groups.setdefault(record["group"], []).append(hit)
    report: dict[str, Any] = {
        "n": n,
        "accuracy": rate.value,
        "stderr": rate.stderr,
        "ci95": [rate.low, rate.high],
        "acc": acc.value,
        "acc_ci95": [acc.low, acc.high],
        "acc_norm": acc_norm.value,
        "acc_norm_ci95": [acc_norm.low, acc_norm.high],
        "rule": "highest suffix log-likelihood" if suffix else "lowest mean NLL of the whole string",
        "prompts": prompts,
        "fewer_shots": sum(r["fewer_shots"] for r in records),
        "cut": sum(r["cut"] for r in records),
    }
    if set(groups) != {""}:
        shares = {name: stats.proportion(sum(g), len(g)) for name, g in sorted(groups.items())}
        report |= _unweighted([*shares.values()])
        report["subjects"] = {
            name: {"n": e.n, "accuracy": e.value, "ci95": [e.low, e.high]} for name, e in shares.items()
        }
    return report


def _unweighted(subjects: Sequence[stats.Estimate]) -> dict[str, Any]:
    """The unweighted mean of the subjects' accuracies, with an interval if each subject has at least two rows."""
    mean, errors = sum(e.value for e in subjects) / len(subjects), [e.stderr for e in subjects if e.stderr is not None]
    if len(errors) < len(subjects):
        return {"naive": mean, "naive_ci95": None}
    half = stats.Z95 * math.hypot(*errors) / len(subjects)
    return {"naive": mean, "naive_ci95": [max(0.0, mean - half), min(1.0, mean + half)]}


def show(model: str, results: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the results as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{model}: accuracy in %", caption=CAPTION, title_justify="left", caption_justify="left")
    table.add_column("task")
    for column in ("n", "accuracy", "± se", "95 %", "acc (95 %)", "acc_norm (95 %)", "naive mean (95 %)"):
        table.add_column(column, justify="right")
    for task, r in results.items():
        stderr = "" if r["stderr"] is None else f"{100 * r['stderr']:.1f}"
        interval = "–".join(f"{100 * v:.1f}" for v in r["ci95"])
        name = f"{task} (suffix)" if r["rule"].startswith("highest suffix") else task
        others = (_rate(r, key) for key in ("acc", "acc_norm", "naive"))
        table.add_row(name, str(r["n"]), f"{100 * r['accuracy']:.1f}", stderr, interval, *others)
    Console().print(table)
    for task, r in results.items():
        if r["fewer_shots"] or r["cut"]:
            print(
                f"{task}: the context window is too short: {r['fewer_shots']} items lost solved examples, "
                f"{r['cut']} were cut"
            )


def _rate(result: Mapping[str, Any], key: str) -> str:
    if key not in result:
        return ""
    ends = result[f"{key}_ci95"]
    return f"{100 * result[key]:.1f}" + (f" ({100 * ends[0]:.0f}–{100 * ends[1]:.0f})" if ends else "")
