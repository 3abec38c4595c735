"""Compares two runs on the same items, measure by measure: paired differences with their intervals.

    python -m evals.compare before.jsonl after.jsonl                     two --records files of one model each
    python -m evals.compare run.jsonl#pocket run.jsonl#lora --json       two models of one file

Reads the records of ``evals.chatbot``, ``roleplay``, ``ppl`` and ``judge``. Only items that both runs have count; an
interval is a bootstrap over the items' differences, so it is narrower than the two runs' own intervals suggest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from egosrag.errors import SettingsError
from evals.common import stats
from evals.common.records import Record, read_jsonl

Run = dict[str, dict[str, float]]  # item: measure: value


def read_run(given: str) -> Run:
    """The measures of one run by item: of ``FILE``, or of the one in it that ``FILE#WHO`` names.

    Raises:
        SourceError: the file cannot be read.
        SettingsError: it holds no records, or those of several models or systems and none is named.
    """
    path, who = (given, None) if Path(given).exists() else _named(given)
    records = [row for row in read_jsonl(Path(path)) if "key" in row]
    names = list(dict.fromkeys(row["who"] for row in records if "who" in row))
    if who is None and len(names) > 1:
        raise SettingsError(f"{path} has several runs: name one, such as {path}#{names[0]}")
    if who is not None and who not in names:
        raise SettingsError(f"{path} has no run of {who}: it has {', '.join(names) or 'one without a name'}")
    found = {item_of(row): values_of(row) for row in records if who in (None, row.get("who"))}
    if not found:
        raise SettingsError(f"{path} holds no records: give the --records file of a run")
    return found


def _named(given: str) -> tuple[str, str | None]:
    path, mark, who = given.rpartition("#")
    return (path, who) if mark else (given, None)


def item_of(record: Record) -> str:
    """What the record is about: the id of its row, or its key, the same in both runs."""
    if "who" in record:
        return str(record["item"])
    return "/".join(map(str, record["key"]))


def values_of(record: Record) -> dict[str, float]:
    """The numbers of a record: its measures, a hit of PPL mode, or the judge's scores."""
    if "measures" in record:
        return {name: float(value) for name, value in record["measures"].items() if value is not None}
    if "prediction" in record:
        return {name: float(record[key] == record["gold"]) for name, key in _PPL.items()}
    scores = record.get("scores") or ()
    return {"score" if len(scores) == 1 else f"score {n}": float(score) for n, score in enumerate(scores, 1)}


_PPL = {"accuracy": "prediction", "acc": "acc", "acc_norm": "acc_norm"}


def compare(first: Mapping[str, Mapping[str, float]], second: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """The difference of two runs, second minus first, for each measure that both have on some item.

    Returns:
        ``{"n": common items, "only": [of the first, of the second], "measures": {NAME: {"n", "first", "second",
        "difference", "ci95", "higher", "lower"}}}``; ``higher`` and ``lower`` name the items that changed. The
        interval is None of a single item.

    Raises:
        SettingsError: the runs have no item in common.
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
    """Prints the comparison as a table; a star marks an interval that does not hold 0."""
    from rich.console import Console
    from rich.table import Table

    table = Table("measure", "n", *names, "difference", "95 %", "higher", "lower", title=f"{result['n']} common items")
    for name, m in result["measures"].items():
        interval = f"{m['ci95'][0]:+.3g} to {m['ci95'][1]:+.3g}" if m["ci95"] else "-"
        sure = " *" if m["ci95"] and m["ci95"][0] * m["ci95"][1] > 0 else ""
        numbers = (f"{m['first']:.3g}", f"{m['second']:.3g}", f"{m['difference']:+.3g}{sure}", interval)
        table.add_row(name, str(m["n"]), *numbers, str(len(m["higher"])), str(len(m["lower"])))
    Console().print(table)


def _command(
    first: Annotated[str, typer.Argument(metavar="FILE[#WHO]", help="Records of the first run.")],
    second: Annotated[str, typer.Argument(metavar="FILE[#WHO]", help="Records of the second run.")],
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

    run(_command)
