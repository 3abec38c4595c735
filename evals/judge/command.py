"""LLM-as-a-judge as in report 6.3.1: evidence before the score, k samples, both positions, people for the doubtful.

    python -m evals.judge score --data answers.jsonl --model openai:gpt-4o --json     0 to 100 against a reference
    python -m evals.judge pair  --data answers.jsonl --model out/judge                win, tie or lose of two
    python -m evals.judge rank  --data answers.jsonl --criteria "faithfulness, fluency, expression"     3/2/1/0 points
    python -m evals.judge label --data answers.jsonl --out examples.jsonl             a person scores; then --examples
    python -m evals.judge agree --questions question.jsonl --answers A=a.jsonl --answers B=b.jsonl --human review.txt

A row of ``--data``: {"question", "reference", "answers": {NAME: text, ...}}; {"answer": text} for one answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import typer

from egosrag.errors import SettingsError
from evals.common import experiment
from evals.common.command import AsJson, Upload, finish
from evals.common.records import Records, read_jsonl
from evals.judge.ask import Judge, run
from evals.judge.cases import Case, load_cases
from evals.judge.label import label as ask_person
from evals.judge.label import labelled
from evals.judge.report import Result, agreement, faireval, report

Data = Annotated[Path, typer.Option(help="JSONL of questions with the answers to judge.")]
Model = Annotated[str, typer.Option(help="The judge: pocket, a hub id, a folder, openai:NAME or scripted:FILE.")]
K = Annotated[int, typer.Option(min=1, help="Explanations for each order.")]
Temperature = Annotated[float, typer.Option(min=0, help="Spread of the judge's samples.")]
Tokens = Annotated[int, typer.Option(min=16, help="Tokens of one explanation with its verdict.")]
Criteria = Annotated[str, typer.Option(help="What to judge by, in words.")]
Examples = Annotated[Path | None, typer.Option(help="Rows that a person labelled, shown to the judge.")]
Kept = Annotated[Path | None, typer.Option(help="JSONL to keep every judgement in, and to resume from.")]
Beta = Annotated[float, typer.Option(min=0, max=1, help="Share of the rows that people should decide.")]


def judge_cases(
    mode: str,
    cases: list[Case],
    model: str,
    *,
    k: int = 3,
    temperature: float = 1.0,
    max_new_tokens: int = 512,
    criteria: str = "",
    examples: Path | None = None,
    records: Path | None = None,
    upload: bool = False,
    loaded: Any = None,
) -> list[Result]:
    """Judges the cases with the model of that name; what ``records`` holds already is not asked again.

    ``upload`` sends the judgements to LangSmith; ``loaded`` is the model where several calls share it, as they must
    share a script.

    Raises:
        EgosRagError: the model, the data or an example is not what it should be.
    """
    from egosrag import load_chat_model

    shown = labelled(examples)
    made_from = {
        "mode": mode,
        "model": model,
        "k": k,
        "temperature": temperature,
        "max_new_tokens": max_new_tokens,
        "criteria": criteria,
        "examples": sha256(repr(shown).encode()).hexdigest()[:16] if shown else "",
    }
    kept = Records(records, made_from)
    asked = loaded or load_chat_model(model, temperature=temperature, max_new_tokens=max_new_tokens)
    results = run(Judge(asked, mode, k, criteria, shown), cases, kept)
    if upload:
        publish(mode, model, results)
    return results


def publish(mode: str, model: str, results: Sequence[Result]) -> None:
    """Sends judgements to LangSmith: the cases as a dataset, the judge's scores as an experiment.

    Raises:
        SettingsError: there is no key, or LangSmith does not take it.
    """
    rows, measures = [], []
    for name, case, judged in results:
        row = {"id": f"{case.id}/{name}" if name else case.id, "question": case.question, "answers": dict(case.answers)}
        rows.append(row | {"reference": case.reference, "human": case.human})
        scores = zip(case.answers, judged.scores or (), strict=False)
        measures.append({mode if name else f"{mode} {who}": score for who, score in scores} | {"doubt": judged.doubt})
    experiment.publish(f"egosrag-judge-{mode}", model, rows, [asdict(judged) for *_, judged in results], measures)


def show(found: dict[str, Any]) -> None:
    """Prints the results as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False)
    for key, value in found.items():
        parts = value.items() if isinstance(value, dict) and value else [("", value)]
        for name, part in parts:
            table.add_row(key, str(name), _readable(part))
    Console().print(table)


def _readable(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_readable(part)}" for key, part in value.items())
    if isinstance(value, list):
        return (
            " to ".join(map(_readable, value)) if len(value) == 2 and isinstance(value[0], float) else str(len(value))
        )
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _command(mode: str, doc: str) -> Callable[..., None]:
    def judge(
        data: Data,
        model: Model = "pocket",
        k: K = 3,
        temperature: Temperature = 1.0,
        max_new_tokens: Tokens = 512,
        criteria: Criteria = "",
        examples: Examples = None,
        records: Kept = None,
        beta: Beta = 0.2,
        upload: Upload = False,
        as_json: AsJson = False,
    ) -> None:
        options = {"k": k, "temperature": temperature, "max_new_tokens": max_new_tokens, "criteria": criteria}
        kept = {"examples": examples, "records": records, "upload": upload}
        results = judge_cases(mode, load_cases(data), model, **options, **kept)
        finish(report(mode, results, beta), show, as_json, (records, None))

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
    records: Kept = None,
    beta: Beta = 0.2,
    upload: Upload = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Judge the first rows alone.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the judge's verdicts with people's: accuracy and Cohen's kappa."""
    if data and not (questions or answers or human):
        cases = load_cases(data)
    elif questions and answers and human and not data:
        named = dict(argument.partition("=")[::2] for argument in answers)
        cases = faireval(questions, {name: Path(path) for name, path in named.items()}, human)
    else:
        raise SettingsError("give --data alone, or --questions with two --answers and --human")
    options = {"k": k, "temperature": temperature, "max_new_tokens": max_new_tokens, "criteria": criteria}
    kept = {"examples": examples, "records": records, "upload": upload}
    results = judge_cases("pair", cases[:limit], model, **options, **kept)
    judged = report("pair", results, beta)
    found = agreement(results, beta) | {key: judged.get(key) for key in ("conflict_rate", "lead")}
    finish(found, show, as_json, (records, None))


def label(
    data: Data,
    out: Annotated[Path, typer.Option(help="JSONL to add the labels to.")],
    mode: Annotated[str, typer.Option(help="score, pair or rank.")] = "score",
    doubtful: Annotated[Path | None, typer.Option(help="A judge's --records: what it doubts comes first.")] = None,
) -> None:
    """Label answers by hand: examples for the judge, or verdicts to compare it with."""
    rows = list(read_jsonl(doubtful))[1:] if doubtful else []
    doubts = {tuple(row["key"]): row["doubt"] for row in rows if "key" in row}
    written = ask_person(mode, load_cases(data), out, doubts)
    typer.echo(f"\nwrote {written} labels to {out}", err=True)
