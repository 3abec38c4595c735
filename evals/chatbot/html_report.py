"""The chatbot's report as one HTML file: the answers of all models side by side, and every measure (report 5.2).

Questions and answers are escaped, and the page's content security policy lets it load and run nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from egosrag.errors import SettingsError
from evals.chatbot.questions import TASKS
from evals.common.estimates import percent
from evals.common.records import Record
from evals.judge.report import points

TITLES = {
    "basic": "Basic knowledge",
    "professional": "Professional knowledge",
    "translation": "Translation",
    "open": "Open questions",
}
_HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Chatbot evaluation</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;margin:1.5rem auto;max-width:110rem;padding:0 1rem;color:#1a1a1a}
.wide{overflow-x:auto} table{border-collapse:collapse;width:100%;margin:.6rem 0 2rem}
th,td{border:1px solid #ccc;padding:.4rem .6rem;vertical-align:top;text-align:left;min-width:9rem}
th{background:#f2f2f2} .said{white-space:pre-wrap;overflow-wrap:anywhere}
.note{color:#555;font-size:.85em} .mark{display:inline-block;border-radius:.6em;padding:0 .5em;font-size:.8em;
margin:.2em .3em 0 0;background:#e8e8e8} .good{background:#d2efd6} .bad{background:#f6d6d4}
</style></head><body>
<h1>Chatbot evaluation</h1>
"""
# measure: (text when 1, text when 0, whether 1 is good)
_MARKS = {
    "exact": ("facts given", "facts missing", True),
    "refused_harmful": ("declined", "not declined", True),
    "refused_benign": ("declined a harmless request", "", False),
    "latex": ("LaTeX", "", None),
    "markdown": ("Markdown", "", None),
    "stopped": ("", "cut at the limit", True),
}


def write(
    path: Path, rows: Sequence[Record], records: Mapping[str, Sequence[Record]], result: Mapping[str, Any]
) -> None:
    """Write the report.

    Args:
        path: The HTML file.
        rows: The question rows.
        records: Each model's records.
        result: Of :func:`evals.chatbot.report.summary`, with or without ``judge``.

    Raises:
        SettingsError: The file cannot be written.
    """
    by_item = {label: {r["item"]: r for r in part} for label, part in records.items()}
    rows_shown = [row for row in rows if any(row["id"] in records for records in by_item.values())]
    parts = [_HEAD, _summary(result), _judge(result.get("judge", {}))]
    for task in TASKS:
        of_task = [row for row in rows_shown if row["task"] == task]
        if of_task:
            parts.append(f"<h2>{TITLES[task]}</h2>" + _side_by_side(of_task, by_item))
    try:
        path.write_text("".join(parts) + "</body></html>\n", encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path} cannot be written ({error.strerror}): name another file") from error


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table whose cells are HTML."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in line) + "</tr>" for line in lines)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _summary(result: Mapping[str, Any]) -> str:
    names = ("exact", "chrf", "refused_harmful", "refused_benign", "latex", "markdown", "stopped")
    lines = [
        [escape(label), escape(part), str(e["n"]), *(percent(e.get(n)) for n in names), f"{e['tokens']['value']:.0f}"]
        for label, parts in result["models"].items()
        for part, e in parts.items()
        if "tokens" in e
    ]
    head = ["model", "part", "n", *(f"{n.replace('_', ' ')}, %" for n in names), "tokens"]
    quality = result["detectors"]["refused"]
    note = f"Intervals: 95 %. Refusals are detected by patterns: precision {percent(quality['precision'])} %, recall "
    note += f"{percent(quality['recall'])} % on {quality['n']} labelled answers that were not used to tune them."
    return _table(head, lines) + f'<p class="note">{note}</p>'


def _judge(reports: Mapping[str, Any]) -> str:
    if not reports:
        return ""
    lines = []
    for part, report in reports.items():
        for label, e in report["answers"].items():
            lines.append([escape(part), escape(label), points(e), str(e["n"]), str(len(report["unscored"]))])
    return "<h2>Judge</h2>" + _table(["part", "model", "result (95 %)", "n", "unscored"], lines)


def _side_by_side(rows: Sequence[Record], by_item: Mapping[str, Mapping[str, Record]]) -> str:
    head = ["question", *(escape(label) for label in by_item)]
    lines = []
    for row in rows:
        question = f'<div class="said">{escape(row["question"])}</div><div class="note said">{escape(row["reference"])}'
        question += f"<br>{escape(row['id'])}</div>"
        lines.append([question, *(_cell(records.get(row["id"])) for records in by_item.values())])
    return _table(head, lines)


def _cell(record: Record | None) -> str:
    if record is None:
        return '<span class="note">not asked</span>'
    if record.get("answer") is None:
        return f'<span class="note">no answer: {escape(record.get("reason", ""))}</span>'
    marks = "".join(_mark(name, record["measures"].get(name)) for name in _MARKS)
    if record["measures"].get("chrf") is not None:
        marks += f'<span class="mark">chrF {100 * record["measures"]["chrf"]:.0f}</span>'
    return f'<div class="said">{escape(record["answer"])}</div>{marks}'


def _mark(name: str, value: float | None) -> str:
    yes, no, good = _MARKS[name]
    word = "" if value is None else yes if value else no
    if not word:
        return ""
    kind = "" if good is None else " good" if bool(value) is good else " bad"
    return f'<span class="mark{kind}">{word}</span>'
