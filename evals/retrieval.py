"""Measure retrieval: does the page that answers a question come first, among the first 3, 5, 10?

python -m evals.retrieval --pages pages.jsonl --questions questions.json --json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from egosrag.errors import EgosRagError, SourceError
from egosrag.rag.condense import Condenser
from egosrag.rag.index import ManualIndex
from egosrag.rag.rerank import Reranker
from egosrag.rag.retrieve import Retriever

DEPTHS = (1, 3, 5, 10)


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


def ranked_pages(retriever: Retriever, question: str, depth: int = max(DEPTHS)) -> list[int]:
    """The pages of the passages found, best first, each once."""
    found = retriever.search(question, top_k=depth * 3)
    return list(dict.fromkeys(hit.passage.page for hit in found))[:depth]


def measure(index: ManualIndex, rows: list[dict[str, Any]], reranker: Reranker | None = None) -> dict[str, Any]:
    """Hit rates, mean reciprocal rank (to depth 10) and the mean time of a query in milliseconds.

    Raises:
        SourceError: no row has a reference.
    """
    retriever, condenser = Retriever(index, reranker), Condenser(index)
    judged = [(row, pages) for row in rows if (pages := wanted_pages(row))]
    if not judged:
        raise SourceError("no question has a reference page: nothing to measure")
    retriever.search(judged[0][0]["question"])  # the dictionary is loaded once, not with the first question
    ranks, seconds = list[int | None](), 0.0
    for row, pages in judged:
        start = time.perf_counter()
        question = condenser.standalone(row["question"], [tuple(turn) for turn in row.get("history") or ()])
        ranking = ranked_pages(retriever, question)
        seconds += time.perf_counter() - start
        ranks.append(next((i for i, page in enumerate(ranking, 1) if page in pages), None))
    hits = {f"hit@{k}": sum(r is not None and r <= k for r in ranks) / len(ranks) for k in DEPTHS}
    mrr = sum(1 / r for r in ranks if r) / len(ranks)
    return {
        "n": len(ranks),
        **{name: round(value, 4) for name, value in hits.items()},
        "mrr": round(mrr, 4),
        "query_ms": round(1000 * seconds / len(ranks), 2),
        "skipped": len(rows) - len(ranks),
    }


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
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    options = parser.parse_args(arguments)
    try:
        rows = _questions(options.questions)
        start = time.perf_counter()
        index = ManualIndex.build(options.pages, embedder=options.embedder)
        index_s = round(time.perf_counter() - start, 3)
        reranker = Reranker(options.reranker) if options.reranker else None
        result = {**measure(index, rows, reranker), "index_s": index_s}
    except EgosRagError as error:
        print(f"evals.retrieval: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(result))
    else:
        _print_table(result)
    return 0


def _print_table(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("measure", "value", title="Retrieval")
    for name, value in result.items():
        table.add_row(name, str(value))
    Console().print(table)


if __name__ == "__main__":
    raise SystemExit(main())
