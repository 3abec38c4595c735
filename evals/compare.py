"""Compare two runs on the same items, measure by measure: paired differences with their intervals.

    python -m evals.compare before.jsonl after.jsonl                     two --records files of one model each
    python -m evals.compare run.jsonl#pocket run.jsonl#lora --json       two models of one file

Reads the records of ``evals.chatbot``, ``rag``, ``roleplay``, ``talk``, ``nextline``, ``ppl`` and ``judge``. Only items
of both runs count. An interval is a bootstrap over the items' differences: narrower than the intervals of the two runs
suggest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from egosrag.errors import SettingsError
from evals.common import stats
from evals.common.records import item_of, measures_of, read_jsonl

Run = dict[str, dict[str, float]]  # item: measure: value


def read_run(source: str) -> Run:
    """The measures of a run by item.

    Args:
        source: ``FILE`` with the records of one model or system, or ``FILE#NAME`` for one of several.

    Raises:
        SourceError: The file cannot be read.
        SettingsError: It has no records, or those of several models and none is named.
    """
    path, name = (source, None) if Path(source).exists() else _split_name(source)
    records = [row for row in read_jsonl(Path(path)) if "key" in row]
    names = list(dict.fromkeys(row["who"] for row in records if "who" in row))
    if name is None and len(names) > 1:
        raise SettingsError(f"{path} has several runs: name one, such as {path}#{names[0]}")
    if name is not None and name not in names:
        raise SettingsError(f"{path} has no run of {name}: it has {', '.join(names) or 'one without a name'}")
    run = {item_of(row): measures_of(row) for row in records if name in (None, row.get("who"))}
    if not run:
        raise SettingsError(f"{path} has no records: give the --records file of a run")
    return run


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


def command(
    first: Annotated[str, typer.Argument(metavar="FILE[#NAME]", help="Records of the first run.")],
    second: Annotated[str, typer.Argument(metavar="FILE[#NAME]", help="Records of the second run.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Compare two runs."""
    result = compare(read_run(first), read_run(second))
    if as_json:
        print(json.dumps({"runs": [first, second], **result}, ensure_ascii=False))
    else:
        show((first.rpartition("/")[2], second.rpartition("/")[2]), result)


if __name__ == "__main__":
    from evals.common.command import run

    run(command)
