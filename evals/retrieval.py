"""Measure retrieval: does the page that answers a question come first, among the first 3, 5, 10?

python -m evals.retrieval --pages pages.jsonl --questions questions.json --json

hit@k: any page of the reference is among the first k; all@k: every one is, for questions that need several. tokens@k:
what the first k passages would cost a model, by an estimate.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from egosrag.console import Progress
from egosrag.errors import EgosRagError, SourceError
from egosrag.models.tokens import approximate_tokens
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.condense import Condenser
from egosrag.rag.retrieval.reranking import Reranker
from egosrag.rag.retrieval.search import Retriever, ScoredPassage
from evals.common import experiment
from evals.common.detectors import estimate
from evals.common.records import Record, Records

DEPTHS = (1, 3, 5, 10)
DEEP = (5, 10)


def wanted_pages(row: dict[str, Any]) -> set[int]:
    """The pages that count as right for a question row; empty where it has no reference.

    Raises:
        SourceError: the reference is neither ``page_N`` nor a list of them.
    """
    reference = row.get("reference") or []
    names = [reference] if isinstance(reference, str) else reference
    try:
        return {int(name.removeprefix("page_")) for name in names}
    except (ValueError, AttributeError, TypeError) as error:
        raise SourceError(f"reference {reference!r} is not page_N or a list of them: mend the question file") from error


def ranked_pages(found: Sequence[ScoredPassage], depth: int = max(DEPTHS)) -> list[int]:
    """The pages of the passages found, best first, each once."""
    return list(dict.fromkeys(hit.passage.page for hit in found))[:depth]


def measures(wanted: set[int], pages: Sequence[int]) -> dict[str, float]:
    """What one question adds to the figures: hits, all pages found, and the reciprocal rank, to depth 10."""
    rank = next((i for i, page in enumerate(pages, 1) if page in wanted), None)
    hits = {f"hit@{k}": float(rank is not None and rank <= k) for k in DEPTHS}
    every = {f"all@{k}": float(wanted <= set(pages[:k])) for k in DEEP}
    return {**hits, **every, "mrr": 1 / rank if rank else 0.0}


def ask(
    index: ManualIndex, rows: Sequence[Record], reranker: Reranker | None = None, kept: Records | None = None
) -> list[Record]:
    """One record a row with a reference: the pages found, what they measure, their tokens and the milliseconds.

    Args:
        index: where the answers are.
        rows: questions.
        reranker: puts the first ten in order anew.
        kept: records to go on from, and to add to.

    Raises:
        SourceError: no row has a reference.
    """
    retriever, condenser = Retriever(index, reranker), Condenser(index)
    judged = [(row, pages) for row in rows if (pages := wanted_pages(row))]
    if not judged:
        raise SourceError("no question has a reference page: nothing to measure")
    kept = Records(None, {}) if kept is None else kept
    keys = [(n, experiment.digest(row)) for n, (row, _) in enumerate(judged, 1)]
    retriever.search(judged[0][0]["question"])  # the dictionary is loaded once, not with the first question
    with Progress() as report:
        for key, (row, wanted) in zip(keys, judged, strict=True):
            if key not in kept:
                start = time.perf_counter()
                question = condenser.with_answer(row["question"], [tuple(turn) for turn in row.get("history") or ()])
                found = retriever.search(question, top_k=3 * max(DEPTHS))
                pages = ranked_pages(found)
                taken = 1000 * (time.perf_counter() - start)
                costs = [approximate_tokens(hit.passage.text) for hit in found[: max(DEEP)]]
                tokens = {f"tokens@{k}": float(sum(costs[:k])) for k in DEEP}
                kept.add(key, {"pages": pages, "measures": {**measures(wanted, pages), **tokens, "query_ms": taken}})
            report("ask", key[0], len(keys))
    return [kept[key] for key in keys]


def summary(records: Sequence[Record]) -> dict[str, Any]:
    """The figures of some questions: hit rates, mean reciprocal rank, tokens and milliseconds, with 95 % intervals."""
    found = {name: estimate(experiment.measured(records, name)) or {} for name in records[0]["measures"]}
    values = {name: round(e["value"], 4 if e["value"] <= 1 else 2) for name, e in found.items()}
    intervals = {n: [round(end, 4) for end in e["ci95"]] for n, e in found.items() if e["ci95"] and n != "query_ms"}
    return {"n": len(records), **values, "ci95": intervals}


def publish(rows: Sequence[Record], records: Sequence[Record], who: str) -> None:
    """Sends the questions to LangSmith as a dataset, and what was found as an experiment on it.

    Raises:
        SettingsError: there is no key, or LangSmith does not take it.
    """
    judged = [row for row in rows if wanted_pages(row)]
    asked = [
        {"id": str(n), "question": row["question"], "history": row.get("history"), "reference": row["reference"]}
        for n, row in enumerate(judged, 1)
    ]
    outputs = [{"pages": record["pages"]} for record in records]
    experiment.publish("egosrag-retrieval", who, asked, outputs, [record["measures"] for record in records])


def _questions(path: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read as JSON: give a list of questions") from error
    if not isinstance(rows, list) or not all(isinstance(r, dict) and isinstance(r.get("question"), str) for r in rows):
        raise SourceError(f'{path} is not a list of {{"question": ..., "reference": "page_N"}}')
    return rows


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m evals.retrieval", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pages", required=True, nargs="+", help="documents, such as a JSONL of {page, text}")
    parser.add_argument("--questions", required=True, type=Path, help='JSON list of {"question", "reference"}')
    parser.add_argument("--embedder", help="hub id or folder of an embedder, or minilm; absent: words alone")
    parser.add_argument("--reranker", help="hub id or folder of a cross-encoder for the first ten; absent: none")
    parser.add_argument("--records", type=Path, help="JSONL to keep what was found in, and to resume from")
    parser.add_argument("--upload", action="store_true", help="send questions and what was found to LangSmith")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    options = parser.parse_args(arguments)
    try:
        result = _measured(options)
    except EgosRagError as error:
        print(f"evals.retrieval: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(result))
    else:
        _print_table(result)
    return 0


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    rows, files = _questions(options.questions), [Path(page) for page in options.pages]
    sizes = [(file.name, file.stat().st_size) for file in files if file.is_file()]
    parts = [part for part in (options.embedder, options.reranker) if part]
    made_from = {"evaluation": "retrieval", "pages": sizes, "embedder": options.embedder, "reranker": options.reranker}
    kept = Records(options.records, made_from)
    start = time.perf_counter()
    index = ManualIndex.build(options.pages, embedder=options.embedder)
    index_s = round(time.perf_counter() - start, 3)
    records = ask(index, rows, Reranker(options.reranker) if options.reranker else None, kept)
    if options.upload:
        publish(rows, records, "+".join(["words", *parts]))
    if options.records:
        print(f"wrote {options.records}", file=sys.stderr)
    return {**summary(records), "index_s": index_s, "skipped": len(rows) - len(records)}


def _print_table(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("measure", "value", "95 %", title="Retrieval")
    for name, value in result.items():
        if name != "ci95":
            table.add_row(name, str(value), " to ".join(map(str, result["ci95"].get(name, ()))))
    Console().print(table)


if __name__ == "__main__":
    raise SystemExit(main())
