"""Measure retrieval: is the page that answers a question among the first 1, 3, 5, 10 that are retrieved?

python -m evals.retrieval --pages pages.jsonl --questions questions.json --json

hit@k: at least one page of the reference is among the first k; all@k: every page of it is, for questions that need
several. mrr: mean reciprocal rank, to depth 10. tokens@k: estimated tokens of the top k passages in a prompt.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from egosrag import load_chat_model
from egosrag.console import Progress
from egosrag.errors import EgosRagError, SettingsError, SourceError
from egosrag.models.tokens import approximate_tokens
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.query_rewriting import FollowUpRewriter
from egosrag.rag.retrieval.reranking import LikelihoodReranker, Reranker, Reranks
from egosrag.rag.retrieval.search import Retriever, ScoredPassage
from evals.common import experiment
from evals.common.estimates import estimate
from evals.common.questions import read_questions, reference_pages
from evals.common.records import Record, Records, measure_values

HIT_DEPTHS = (1, 3, 5, 10)
ALL_DEPTHS = (5, 10)  # also of tokens@k


def ranked_pages(hits: Sequence[ScoredPassage], depth: int = max(HIT_DEPTHS)) -> list[int]:
    """The pages of the retrieved passages, best first, each once."""
    return list(dict.fromkeys(hit.passage.page for hit in hits))[:depth]


def score(expected: set[int], pages: Sequence[int]) -> dict[str, float]:
    """The measures of one question: hit@k, all@k and the reciprocal rank.

    Args:
        expected: The pages that count as right.
        pages: The retrieved pages, best first, to depth 10.
    """
    rank = next((i for i, page in enumerate(pages, 1) if page in expected), None)
    hits = {f"hit@{k}": float(rank is not None and rank <= k) for k in HIT_DEPTHS}
    every = {f"all@{k}": float(expected <= set(pages[:k])) for k in ALL_DEPTHS}
    return {**hits, **every, "mrr": 1 / rank if rank else 0.0}


def evaluate(
    index: ManualIndex, rows: Sequence[Record], reranker: Reranks | None = None, records: Records | None = None
) -> list[Record]:
    """Retrieve for every row with a reference; a record a row: the retrieved pages and the measures.

    Args:
        index: The index to search.
        rows: Questions.
        reranker: Reranks the first passages.
        records: Records of an earlier run to resume from; receives the new ones.

    Raises:
        SourceError: No row has a reference.
    """
    retriever, rewriter = Retriever(index, reranker), FollowUpRewriter(index)
    answerable = [(row, expected) for row in rows if (expected := reference_pages(row))]
    if not answerable:
        raise SourceError("no question has a reference page: nothing to measure")
    records = Records(None, {}) if records is None else records
    keys = [(n, experiment.digest(row)) for n, (row, _) in enumerate(answerable, 1)]
    retriever.search(answerable[0][0]["question"])  # warm up: dictionaries are loaded with the first question
    with Progress() as progress:
        for key, (row, expected) in zip(keys, answerable, strict=True):
            if key not in records:
                start = time.perf_counter()
                query = rewriter.with_last_answer(row["question"], [tuple(turn) for turn in row.get("history") or ()])
                hits = retriever.search(query, top_k=3 * max(HIT_DEPTHS))
                pages = ranked_pages(hits)
                query_ms = 1000 * (time.perf_counter() - start)
                costs = [approximate_tokens(hit.passage.text) for hit in hits[: max(ALL_DEPTHS)]]
                tokens = {f"tokens@{k}": float(sum(costs[:k])) for k in ALL_DEPTHS}
                measures = {**score(expected, pages), **tokens, "query_ms": query_ms}
                records.add(key, {"pages": pages, "measures": measures})
            progress("ask", key[0], len(keys))
    return [records[key] for key in keys]


def summary(records: Sequence[Record]) -> dict[str, Any]:
    """The means of all measures as one JSON object, with 95 % intervals."""
    means = {name: estimate(measure_values(records, name)) or {} for name in records[0]["measures"]}
    values = {name: round(e["value"], 4 if e["value"] <= 1 else 2) for name, e in means.items()}
    intervals = {n: [round(end, 4) for end in e["ci95"]] for n, e in means.items() if e["ci95"] and n != "query_ms"}
    return {"n": len(records), **values, "ci95": intervals}


def publish(rows: Sequence[Record], records: Sequence[Record], system: str) -> None:
    """Send the questions to LangSmith as a dataset, and the retrieved pages as an experiment.

    Raises:
        SettingsError: LANGSMITH_API_KEY is not set, or LangSmith does not accept the run.
    """
    answerable = [row for row in rows if reference_pages(row)]
    inputs = [
        {"id": str(n), "question": row["question"], "history": row.get("history"), "reference": row["reference"]}
        for n, row in enumerate(answerable, 1)
    ]
    outputs = [{"pages": record["pages"]} for record in records]
    experiment.publish("egosrag-retrieval", system, inputs, outputs, [record["measures"] for record in records])


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m evals.retrieval", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pages", required=True, nargs="+", help="documents, such as a JSONL of {page, text}")
    parser.add_argument("--questions", required=True, type=Path, help='JSON list of {"question", "reference"}')
    parser.add_argument("--embedder", help="hub id or folder of an embedder, or minilm; absent: lexical search only")
    parser.add_argument(
        "--reranker", help="a cross-encoder (hub id or folder) for the first ten, or model for --model; absent: none"
    )
    parser.add_argument("--model", help="chat model of --reranker model, as --model of egosrag")
    parser.add_argument("--records", type=Path, help="JSONL for the retrieved pages, to resume from")
    parser.add_argument("--upload", action="store_true", help="send questions and retrieved pages to LangSmith")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    options = parser.parse_args(arguments)
    try:
        result = _measure(options)
    except EgosRagError as error:
        print(f"evals.retrieval: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(result))
    else:
        _print_table(result)
    return 0


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    rows, files = read_questions(options.questions), [Path(page) for page in options.pages]
    sizes = [(file.name, file.stat().st_size) for file in files if file.is_file()]
    reranker = options.model if options.reranker == "model" else options.reranker
    models = [model for model in (options.embedder, reranker) if model]
    made_from = {"evaluation": "retrieval", "pages": sizes, "embedder": options.embedder, "reranker": reranker}
    records = Records(options.records, made_from)
    start = time.perf_counter()
    index = ManualIndex.build(options.pages, embedder=options.embedder)
    index_s = round(time.perf_counter() - start, 3)
    results = evaluate(index, rows, _reranker(options), records)
    if options.upload:
        publish(rows, results, "+".join(["words", *models]))
    if options.records:
        print(f"wrote {options.records}", file=sys.stderr)
    return {**summary(results), "index_s": index_s, "skipped": len(rows) - len(results)}


def _reranker(options: argparse.Namespace) -> Reranks | None:
    if options.reranker != "model":
        return Reranker(options.reranker) if options.reranker else None
    if not options.model:
        raise SettingsError("--reranker model needs --model, the chat model that reranks")
    return LikelihoodReranker(load_chat_model(options.model))


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
