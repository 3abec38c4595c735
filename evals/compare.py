"""Compare two runs on the same items, measure by measure: paired differences with their intervals.

    python -m evals.compare before.jsonl after.jsonl                     two --records files of one model each
    python -m evals.compare run.jsonl#pocket run.jsonl#lora --json       two models of one file

Reads the records of ``evals.chatbot``, ``rag``, ``manual``, ``roleplay``, ``talk``, ``nextline``, ``ppl`` and
``judge``. Only items of both runs count, and not those whose recorded contents differ: these are different rows with
the same id. Of a run that was recorded under several settings the last one counts. An interval is a bootstrap over the
items' differences: narrower than the intervals of the two runs suggest.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from egosrag.errors import SettingsError
from evals.common import stats
from evals.common.records import Record, contents_of, item_of, measures_of, numbered_rows

Run = dict[str, dict[str, float]]  # item: measure: value
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


def read_run(source: str) -> Run:
    """The measures of a run by item, see :func:`read_records`."""
    return {item: measures for item, (_, measures) in read_records(source).items()}


def read_records(source: str) -> dict[str, tuple[Record, dict[str, float]]]:
    """The contents (see ``contents_of``) and the measures of a run by item.

    Args:
        source: ``FILE`` with the records of one model or system, or ``FILE#NAME`` for one of several.

    Raises:
        SourceError: The file cannot be read.
        SettingsError: It has no records, a malformed one, or those of several models and none is named.
    """
    path, name = (source, None) if Path(source).exists() else _split_name(source)
    rows = list(numbered_rows(Path(path)))
    records = [(line, row) for line, row in rows if "key" in row]
    names = list(dict.fromkeys(str(row["who"]) for _, row in records if "who" in row))
    if name is None and len(names) > 1:
        raise SettingsError(f"{path} has several runs: name one, such as {path}#{names[0]}")
    if name is not None and name not in names:
        raise SettingsError(f"{path} has no run of {name}: it has {', '.join(names) or 'one without a name'}")
    data = next((row["run"].get("data") for _, row in rows[:1] if isinstance(row.get("run"), dict)), None)
    own = [(line, row) for line, row in records if name is None or str(row.get("who")) == name]
    last = own[-1][1].get("setting") if own else None
    found: dict[str, tuple[Record, dict[str, float]]] = {}
    left_out = 0
    for line, row in own:
        try:
            item, contents, measures = item_of(row), contents_of(row), measures_of(row)
            if isinstance(data, dict) and "content" not in row and row["key"][0] in data:
                contents["content"] = data[row["key"][0]]  # of PPL mode: the digest of the task's file
            if not all(map(math.isfinite, measures.values())):
                raise ValueError("a measure is not a finite number")
        except _MALFORMED as error:
            raise SettingsError(f"{path}: line {line} is not a record ({error!r}): correct or delete it") from error
        if row.get("setting", last) != last:
            left_out += 1
            continue
        left_out += item in found
        found[item] = contents, measures
    if not found:
        raise SettingsError(f"{path} has no records: give the --records file of a run")
    if left_out:
        print(
            f"{source}: {left_out} records of other weights, rows or settings are left out: those of the last count",
            file=sys.stderr,
        )
    return found


def _split_name(source: str) -> tuple[str, str | None]:
    path, mark, name = source.rpartition("#")
    return (path, name) if mark else (source, None)


def compare(first: Mapping[str, Mapping[str, float]], second: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """The difference of two runs, second minus first, for each measure that both have on some item.

    Returns:
        ``{"n": common items, "only": [of the first, of the second], "measures": {NAME: {"n", "first", "second",
        "difference", "ci95", "higher", "lower"}}}``; ``higher`` and ``lower`` name the items that changed. With a
        single item the interval is None.

    Raises:
        SettingsError: The runs have no item in common.
    """
    common = [item for item in first if item in second]
    if not common:
        raise SettingsError("the two runs have no item in common: compare runs on the same rows")
    measures = {}
    for name in dict.fromkeys(name for item in common for name in first[item]):
        pairs = {i: (first[i][name], second[i][name]) for i in common if name in first[i] and name in second[i]}
        if not pairs:
            continue
        change = stats.mean([b - a for a, b in pairs.values()])
        measures[name] = {
            "n": len(pairs),
            "first": sum(a for a, _ in pairs.values()) / len(pairs),
            "second": sum(b for _, b in pairs.values()) / len(pairs),
            "difference": change.value,
            "ci95": None if change.low is None else [change.low, change.high],
            "higher": [i for i, (a, b) in pairs.items() if b > a],
            "lower": [i for i, (a, b) in pairs.items() if b < a],
        }
    return {"n": len(common), "only": [len(first) - len(common), len(second) - len(common)], "measures": measures}


def show(names: tuple[str, str], result: Mapping[str, Any]) -> None:
    """Print the comparison as a table; a star marks an interval without 0."""
    from rich.console import Console
    from rich.table import Table

    table = Table("measure", "n", *names, "difference", "95 %", "higher", "lower", title=f"{result['n']} common items")
    for name, m in result["measures"].items():
        interval = f"{m['ci95'][0]:+.3g} to {m['ci95'][1]:+.3g}" if m["ci95"] else "-"
        star = " *" if m["ci95"] and m["ci95"][0] * m["ci95"][1] > 0 else ""
        numbers = (f"{m['first']:.3g}", f"{m['second']:.3g}", f"{m['difference']:+.3g}{star}", interval)
        table.add_row(name, str(m["n"]), *numbers, str(len(m["higher"])), str(len(m["lower"])))
    Console().print(table)


def paired(first: str, second: str) -> tuple[Run, Run, int]:
    """The measures of two runs without the items whose contents differ, and how many items these are.

    Raises:
        SourceError, SettingsError: As :func:`read_records`.
    """
    one, other = read_records(first), read_records(second)
    differ = {item for item in one.keys() & other.keys() if _differ(one[item][0], other[item][0])}
    runs = [{i: measures for i, (_, measures) in run.items() if i not in differ} for run in (one, other)]
    return runs[0], runs[1], len(differ)


def _differ(one: Record, other: Record) -> bool:
    return any(one[name] != other[name] for name in one.keys() & other.keys())


def command(
    first: Annotated[str, typer.Argument(metavar="FILE[#NAME]", help="Records of the first run.")],
    second: Annotated[str, typer.Argument(metavar="FILE[#NAME]", help="Records of the second run.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Compare two runs."""
    before, after, differ = paired(first, second)
    if differ:
        print(f"{differ} items are left out: their rows have the same ids and different contents", file=sys.stderr)
    result = {**compare(before, after), "other_contents": differ}
    if as_json:
        print(json.dumps({"runs": [first, second], **result}, ensure_ascii=False))
    else:
        show((first.rpartition("/")[2], second.rpartition("/")[2]), result)


if __name__ == "__main__":
    from evals.common.command import run

    run(command)
