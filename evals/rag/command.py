"""Manual QA of report 6.3: the answers with the document beside those without it, its table 1.

    python -m evals.rag --figure rag.png                                      pocket on the sample manuals, offline
    python -m evals.rag --pages manual.pdf --questions questions.json --model Qwen/Qwen2.5-1.5B-Instruct
    python -m evals.rag --judge openai:gpt-4o --records run.jsonl --judge-records judge.jsonl --json

``right`` (the answer contains the numbers and key words of the reference), with the paired difference of the two
systems; ROUGE-1 and ROUGE-2 recall over jieba words, BLEU, ``reference_contained`` (the answer contains a short
reference), page hit, citation precision, ``quote_verified`` (the quote is on its page), refusals; with a judge
correctness from 0 to 100.
Rows of questions: ``evals/rag/questions.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from egosrag.errors import SettingsError
from evals.common.command import Adapter, AsJson, Figure, JudgeK, JudgeModel, JudgeRecords, MaxNewTokens, Upload, finish
from evals.common.models import ModelSpec, Sampling
from evals.judge.asking import JudgeOptions
from evals.rag.judge import judge_answers
from evals.rag.questions import load_manual, samples
from evals.rag.report import draw, result_of, show
from evals.rag.run import evaluate
from evals.rag.systems import EngineOptions


def command(
    pages: Annotated[list[Path] | None, typer.Option(help="Documents; repeatable. The sample manuals if none.")] = None,
    questions: Annotated[Path | None, typer.Option(help="JSON list or JSONL of questions about them.")] = None,
    model: Annotated[str, typer.Option(help="pocket, a hub id, a folder, openai:NAME or scripted:FILE.")] = "pocket",
    adapter: Adapter = None,
    embedder: Annotated[str | None, typer.Option(help="Hub id or folder of an embedder, beside BM25.")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Passages that the model reads.")] = 5,
    condense: Annotated[bool, typer.Option(help="Rewrite follow-ups as standalone questions.")] = True,
    decompose: Annotated[bool, typer.Option(help="Split questions that need several facts.")] = False,
    rewrites: Annotated[int, typer.Option(min=0, max=3, help="Rounds of rewriting the query.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Questions of each manual and kind.")] = None,
    seed: Annotated[int | None, typer.Option(help="With --limit: a random sample, not the first.")] = None,
    records: Annotated[Path | None, typer.Option(help="JSONL of the answers, to resume from.")] = None,
    figure: Figure = None,
    judge: JudgeModel = None,
    judge_k: JudgeK = 3,
    judge_records: JudgeRecords = None,
    upload: Upload = False,
    max_new_tokens: MaxNewTokens = 256,
    as_json: AsJson = False,
) -> None:
    """Measure manual QA with and without the document."""
    if bool(pages) != bool(questions):
        raise SettingsError("give --pages and --questions both, or neither for the sample manuals")
    manuals = [load_manual(questions.stem, pages, questions)] if pages and questions else samples()
    spec = ModelSpec(model, adapter, sampling=Sampling(max_new_tokens))
    options = EngineOptions(top_k, condense, decompose, rewrites)
    answers = evaluate(
        manuals, spec, options=options, embedder=embedder, limit=limit, seed=seed, records=records, upload=upload
    )
    rows = [row for manual in manuals for row in manual.rows]
    result = result_of(rows, answers, model)
    try:
        if judge:
            result["judge"] = judge_answers(rows, answers, JudgeOptions(judge, judge_k), judge_records)
    finally:  # the answers are not lost where the judge fails
        finish(result, show, as_json, (figure, draw), (records, None), (judge_records, None))
