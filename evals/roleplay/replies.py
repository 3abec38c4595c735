"""The detectors' own precision on real replies: collect replies of finished runs, label them by hand, measure.

    python -m evals.roleplay.replies collect --records talks.jsonl --out replies.jsonl --number 300
    python -m evals.roleplay.replies label --labels replies.jsonl                a person answers five questions a reply
    python -m evals.roleplay.replies measure --labels replies.jsonl --json       precision and recall of each detector

``collect`` reads the records of ``evals.roleplay`` and ``evals.talk``; a reply is taken once, as many as possible of
each model and language. It writes the rows without labels; ``label`` goes on where it was interrupted, and ``measure``
leaves out what is not labelled. Label before you look at what the detectors say, or their precision is an upper bound.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import typer

from egosrag.errors import EgosRagError, SettingsError, SourceError
from egosrag.prompts.render import USER
from egosrag.text.language import language_of
from evals.common.command import AsJson, finish, run
from evals.common.estimates import percent
from evals.common.records import Record, numbered_rows, read_jsonl
from evals.roleplay.cases import load_rows, subject
from evals.roleplay.detectors import STANCES, detector_quality

LabelsFile = Annotated[Path, typer.Option("--labels", help="JSONL of replies, labelled or to be labelled.")]
QUESTIONS = {
    "speaks_for_others": "does it speak or act for the user or somebody else",
    "outside_quotes": "has it text that is no speech (label, stage direction, narration, code, note)",
    "loops": "does it repeat itself over and over",
    "slop": "is a phrase in it a stock phrase of language models",
}


def replies_of(path: Path) -> Iterator[Record]:
    """The replies in the records of a run, as rows without labels.

    Raises:
        SourceError: The file has no such records.
    """
    found = 0
    model = ""
    for _, record in numbered_rows(path):
        if "run" in record:
            settings = record["run"].get("settings")
            model = str(json.loads(settings).get("model") if settings else record["run"].get("model") or path.stem)
            continue
        for said, reply, role, language in _exchanges(record):
            if reply.strip():
                found += 1
                row = {"model": model, "role": role, "user": USER[language], "language": language}
                yield row | {"line": said, "reply": reply, "stance": None, **dict.fromkeys(QUESTIONS)}
    if not found:
        raise SourceError(f"{path} has no replies: give the --records of evals.roleplay or evals.talk")


def _exchanges(record: Record) -> Iterator[tuple[str, str, str, str]]:
    """(line, reply, role, language) of a record of ``evals.roleplay`` or ``evals.talk``."""
    if "replies" in record:
        role, language = _role_and_language(str(record.get("item", "")))
        for said, reply in zip(record["said"], record["replies"], strict=False) if language in USER else ():
            yield said, str(reply["text"]), role, language
    elif "closed" in record and len(record.get("key", ())) == 4:
        _, language, role, _ = record["key"]
        for said, reply in record["said"]:
            yield said, reply, role, language if language in USER else language_of(reply)


def _role_and_language(row_id: str) -> tuple[str, str]:
    """The role's name and the language of a conversation: a script's own, else those in NAME-LANGUAGE-CASE."""
    script = _scripts().get(row_id)
    if script:
        return subject(script["role"]).card.name, script["language"]
    stem, _, rest = row_id.partition("-")
    language = rest.partition("-")[0]
    try:
        return subject(f"{stem}.{language}.json").card.name, language
    except EgosRagError:  # a card of the user's own
        return stem, language


@cache
def _scripts() -> dict[str, Record]:
    return {row["id"]: row for row in load_rows(turns=())}


def spread(rows: Sequence[Record], number: int, seed: int) -> list[Record]:
    """``number`` different replies, as many as possible of each model and language."""
    different = list({(row["language"], row["role"], row["reply"]): row for row in rows}.values())
    shuffled = random.Random(seed).sample(different, len(different))
    rank: dict[tuple[str, str], int] = {}
    order = []
    for at, row in enumerate(shuffled):
        part = (row["model"], row["language"])
        rank[part] = rank.get(part, -1) + 1
        order.append((rank[part], at))
    return [{"id": f"{n:03d}", **shuffled[at]} for n, (_, at) in enumerate(sorted(order)[:number], 1)]


def collect(
    records: Annotated[list[Path], typer.Option(help="Records of a run; repeatable.")],
    out: Annotated[Path, typer.Option(help="JSONL to write.")],
    number: Annotated[int, typer.Option(min=1, help="Replies to take.")] = 300,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
) -> None:
    """Collect replies of finished runs, to be labelled."""
    if out.exists():
        raise SettingsError(f"{out} exists, perhaps with labels: give another --out")
    rows = spread([row for path in records for row in replies_of(path)], number, seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"wrote {len(rows)} replies to {out}", file=sys.stderr)


def label(labels: LabelsFile) -> None:
    """Label the replies that have no labels yet; an empty answer stops."""
    rows = list(read_jsonl(labels))
    todo = [row for row in rows if row.get("stance") is None or any(row.get(name) is None for name in QUESTIONS)]
    try:
        for number, row in enumerate(todo, 1):
            typer.echo(f"\n[{number}/{len(todo)}] {row['role']} is asked: {row.get('line', '')}\n{row['reply']}\n")
            keys = {stance[0]: stance for stance in STANCES}
            given: Record = {"stance": _asked(f"stance ({', '.join(STANCES)})", keys)}
            given |= {name: _asked(text, {"y": True, "n": False}) for name, text in QUESTIONS.items()}
            row.update(given)
            _rewrite(labels, rows)  # a stop never costs more than the reply at hand
    except (EOFError, typer.Abort):
        typer.echo("stopped; the labels so far are kept", err=True)


def _asked(question: str, answers: dict[str, Any]) -> Any:
    while True:
        given = str(typer.prompt(f"{question} [{'/'.join(answers)}]", default="", show_default=False)).strip().lower()
        if not given:
            raise EOFError
        if given[0] in answers:
            return answers[given[0]]


def _rewrite(path: Path, rows: Sequence[Record]) -> None:
    whole = path.with_suffix(".partial")
    whole.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    whole.replace(path)


def measure(labels: LabelsFile, as_json: AsJson = False) -> None:
    """Measure the detectors on labelled replies."""
    finish(detector_quality(labels), partial(_show, labels), as_json)


def _show(labels: Path, result: dict[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Detectors on {labels.name}, % (95 %)", box=SIMPLE_HEAD)
    for head in ("detector", "replies", "labelled so", "found", "precision", "recall"):
        table.add_column(head, justify="left" if head == "detector" else "right")
    for name, q in result.items():
        counts = (str(q[key]) for key in ("n", "positive", "found"))
        table.add_row(name.replace("_", " "), *counts, percent(q["precision"]), percent(q["recall"]))
    Console().print(table)


COMMANDS: tuple[Callable[..., None], ...] = (collect, label, measure)

if __name__ == "__main__":
    run(*COMMANDS)
