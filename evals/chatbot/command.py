"""The chatbot's four tasks of report 5.2, on any number of models: basic and professional knowledge, translation, open.

    python -m evals.chatbot --models pocket,Qwen/Qwen2.5-1.5B-Instruct --html report.html
    python -m evals.chatbot --models base:Qwen/Qwen2.5-3B,lora=Qwen/Qwen2.5-3B+out/lora --records run.jsonl --json
    python -m evals.chatbot --models a,b --judge openai:gpt-4o --judge-records judge.jsonl

A model is ``[LABEL=][base:]NAME[+ADAPTER]``; a ``base:`` one gets no chat template, and a newline ends its answer.
``exact``: the answer contains the facts of the reference. ``refused_harmful`` and ``refused_benign``: shares of harmful
and of harmless requests that were declined. ``latex`` is of the questions that ask for formulas. Question files:
evals/data/README.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evals.chatbot import html_report
from evals.chatbot.judge import judge_answers
from evals.chatbot.questions import load_rows, parse_models
from evals.chatbot.report import draw, show, summary
from evals.chatbot.run import evaluate
from evals.common.command import (
    AsJson,
    Figure,
    JudgeK,
    JudgeModel,
    JudgeRecords,
    MaxNewTokens,
    Seed,
    Temperature,
    Upload,
    check_file,
    finish,
)
from evals.common.models import Sampling
from evals.judge.asking import JudgeOptions


def command(
    models: Annotated[str, typer.Option(help="Comma-separated [LABEL=][base:]NAME[+ADAPTER].")] = "pocket",
    data: Annotated[list[Path] | None, typer.Option(help="JSONL of questions; repeatable. Ours by default.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Questions of each task, language and kind.")] = None,
    records: Annotated[Path | None, typer.Option(help="JSONL of the answers, to resume from.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="HTML report to write: the answers side by side.", callback=check_file)
    ] = None,
    figure: Figure = None,
    judge: JudgeModel = None,
    judge_k: JudgeK = 3,
    judge_records: JudgeRecords = None,
    upload: Upload = False,
    max_new_tokens: MaxNewTokens = 256,
    temperature: Temperature = 0.0,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Ask models the report's four tasks."""
    rows = load_rows(data or ())
    sampling = Sampling(max_new_tokens, temperature, seed)
    answers = evaluate(parse_models(models), rows, sampling=sampling, limit=limit, records=records, upload=upload)
    result = summary(rows, answers)
    page = (html, lambda shown, path: html_report.write(path, rows, answers, shown))
    try:
        if judge:
            result["judge"] = judge_answers(rows, answers, JudgeOptions(judge, judge_k), judge_records)
    finally:  # the answers are not lost where the judge fails
        finish(result, show, as_json, page, (figure, draw), (records, None), (judge_records, None))
