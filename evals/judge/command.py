"""LLM-as-a-judge as in report 6.3.1: evidence before the score, k samples, both orders, people for the doubtful.

    python -m evals.judge score --data answers.jsonl --model openai:gpt-4o --json     0 to 100 against a reference
    python -m evals.judge pair  --data answers.jsonl --model out/judge                win, tie or lose of two
    python -m evals.judge rank  --data answers.jsonl --criteria "faithfulness, fluency, expression"     3/2/1/0 points
    python -m evals.judge label --data answers.jsonl --out examples.jsonl             a person scores; then --examples
    python -m evals.judge agree --questions question.jsonl --answers A=a.jsonl --answers B=b.jsonl --human review.txt

A row of ``--data``: {"question", "reference", "answers": {NAME: text, ...}}; {"answer": text} for one answer.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from egosrag.errors import SettingsError
from evals.common.command import AsJson, Upload, finish
from evals.common.records import read_jsonl
from evals.judge import labelling
from evals.judge.agreement import agreement
from evals.judge.asking import JudgeOptions, judge_cases, publish
from evals.judge.cases import check_people, load_cases, load_faireval
from evals.judge.report import PEOPLE_SHARE, report, show

Data = Annotated[Path, typer.Option(help="JSONL of questions with the answers to judge.")]
Model = Annotated[str, typer.Option(help="The judge: pocket, a hub id, a folder, openai:NAME or scripted:FILE.")]
K = Annotated[int, typer.Option(min=1, help="Explanations for each order of the answers.")]
Temperature = Annotated[float, typer.Option(min=0, help="Sampling temperature of the judge.")]
Tokens = Annotated[int, typer.Option(min=16, help="Maximum tokens of one explanation with its verdict.")]
Criteria = Annotated[str, typer.Option(help="What to judge by, in words.")]
Examples = Annotated[Path | None, typer.Option(help="JSONL of rows that a person labelled, shown to the judge.")]
RecordsFile = Annotated[Path | None, typer.Option(help="JSONL of the judgements, to resume from.")]
Beta = Annotated[float, typer.Option(min=0, max=1, help="Share of the rows that people should decide.")]


def _command(mode: str, doc: str) -> Callable[..., None]:
    def judge(
        data: Data,
        model: Model = "pocket",
        k: K = 3,
        temperature: Temperature = 1.0,
        max_new_tokens: Tokens = 512,
        criteria: Criteria = "",
        examples: Examples = None,
        records: RecordsFile = None,
        beta: Beta = PEOPLE_SHARE,
        upload: Upload = False,
        as_json: AsJson = False,
    ) -> None:
        options = JudgeOptions(model, k, temperature, max_new_tokens, criteria, examples)
        results = judge_cases(mode, load_cases(data), options, records=records)
        finish(report(mode, results, beta), show, as_json, (records, None))
        if upload:
            publish(mode, model, results)

    judge.__name__, judge.__doc__ = mode, doc
    return judge


score = _command("score", "Score each answer from 0 to 100 for correctness.")
pair = _command("pair", "Compare two answers a question: who wins, ties, loses.")
rank = _command("rank", "Rank the answers to each question: n-1 points for the best, 0 for the last.")


def agree(
    data: Annotated[Path | None, typer.Option(help="JSONL of rows with human: a NAME of answers, or tie.")] = None,
    questions: Annotated[Path | None, typer.Option(help="FairEval's question.jsonl.")] = None,
    answers: Annotated[list[str] | None, typer.Option(metavar="NAME=FILE", help="Two files of answers.")] = None,
    human: Annotated[Path | None, typer.Option(help="A person's verdicts: a NAME or TIE a line.")] = None,
    model: Model = "pocket",
    k: K = 3,
    temperature: Temperature = 1.0,
    max_new_tokens: Tokens = 512,
    criteria: Criteria = "",
    examples: Examples = None,
    records: RecordsFile = None,
    beta: Beta = PEOPLE_SHARE,
    upload: Upload = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Judge only the first rows.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the judge's verdicts with people's: accuracy and Cohen's kappa."""
    if data and not (questions or answers or human):
        cases = load_cases(data)
    elif questions and answers and human and not data:
        files = dict(argument.partition("=")[::2] for argument in answers)
        cases = load_faireval(questions, {name: Path(path) for name, path in files.items()}, human)
    else:
        raise SettingsError("give --data alone, or --questions with two --answers and --human")
    check_people(cases[:limit], data or human)
    options = JudgeOptions(model, k, temperature, max_new_tokens, criteria, examples)
    results = judge_cases("pair", cases[:limit], options, records=records)
    judged = report("pair", results, beta)
    result = agreement(results, beta) | {key: judged.get(key) for key in ("conflict_rate", "lead")}
    finish(result, show, as_json, (records, None))
    if upload:
        publish("pair", model, results)


def label(
    data: Data,
    out: Annotated[Path, typer.Option(help="JSONL to append the labels to.")],
    mode: Annotated[str, typer.Option(help="score, pair or rank.")] = "score",
    doubtful: Annotated[Path | None, typer.Option(help="A judge's --records: what it doubts comes first.")] = None,
) -> None:
    """Label answers by hand: examples for the judge, or verdicts to compare it with."""
    records = [row for row in read_jsonl(doubtful) if "key" in row] if doubtful else []
    written = labelling.label(mode, load_cases(data), out, labelling.doubts_of(records))
    typer.echo(f"\nwrote {written} labels to {out}", err=True)
