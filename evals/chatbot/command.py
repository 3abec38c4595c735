"""The chatbot's four tasks of report 5.2, on any number of models: basic and professional knowledge, translation, open.

    python -m evals.chatbot --models pocket,Qwen/Qwen2.5-1.5B-Instruct --html report.html
    python -m evals.chatbot --models base:Qwen/Qwen2.5-3B,lora=Qwen/Qwen2.5-3B+out/lora --records run.jsonl --json
    python -m evals.chatbot --models a,b --judge openai:gpt-4o --judge-records judge.jsonl

A model is ``[LABEL=][base:]NAME[+ADAPTER]``; a ``base:`` one gets no chat template, and a newline ends its answer.
``exact``: the facts of the reference are told. ``refused``: of harmful requests, the share declined; of harmless ones
too. ``latex`` is of the questions that ask for formulas. Files of questions: evals/data/README.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from egosrag.console import Progress
from egosrag.errors import WindowError
from evals.chatbot.data import DATA, REFERENCES, TASKS, Model, limited, load_rows, models_of
from evals.chatbot.judge import judged, points
from evals.chatbot.measures import measures, refused
from evals.chatbot.report import write as write_page
from evals.common import experiment
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
    finish,
)
from evals.common.detectors import estimate, percent, plain, quality
from evals.common.records import Record, Records, read_jsonl

SHARES = ("answered", "exact", "chrf", "refused_harmful", "refused_benign", "latex", "markdown", "stopped")
LENGTHS = ("tokens", "characters")


class Asked:
    """The target: a model, loaded at its first question, asked each question in a conversation of its own."""

    def __init__(self, model: Model, sampling: dict[str, Any]) -> None:
        self.model = model
        self.sampling = sampling
        self._loaded: Any = None

    def __call__(self, inputs: Record) -> Record:
        """The answer with how it ended; None, with the reason, where the question does not fit the window."""
        from egosrag import Chatbot, load_chat_model

        if self._loaded is None:
            chosen: dict[str, Any] = {"adapter": self.model.adapter} if self.model.adapter else {}
            chosen |= {"template": False} if self.model.base else {}
            self._loaded = load_chat_model(self.model.name, **chosen, **self.sampling)
        # A base model knows no system message: it would only be a line of the text that it goes on with.
        bot = Chatbot(self._loaded, system="" if self.model.base else None)
        try:
            reply = bot.say(inputs["question"])
        except WindowError as error:
            return {"answer": None, "reason": str(error)}
        return {
            "answer": reply.text,
            "stop_reason": reply.stop_reason,
            "tokens": reply.usage.completion_tokens,
            "seconds": round(reply.timing.total_s, 3),
        }


def score(row: Record, outputs: Record) -> dict[str, Any]:
    """The scorer: every measure that needs no judge."""
    return measures(row, outputs["answer"], outputs.get("stop_reason") != "length", outputs.get("tokens", 0))


def evaluate(
    models: Sequence[Model],
    rows: Sequence[Record],
    *,
    limit: int | None = None,
    records: Path | None = None,
    upload: bool = False,
    **sampling: Any,
) -> dict[str, list[Record]]:
    """Every model's records, in the order of the rows that were asked.

    Args:
        models: who is asked.
        rows: the questions.
        limit: questions of each task, language and kind at most.
        records: JSONL to keep every answer in, and to resume from.
        upload: whether LangSmith gets dataset, experiments and traces.
        **sampling: settings of ``load_chat_model``: temperature, max_new_tokens, seed.

    Raises:
        EgosRagError: a model or a file is not what it should be; what was answered by then is kept.
    """
    kept = Records(records, {"evaluation": "chatbot", **sampling})
    name = experiment.name_of("egosrag-chatbot", rows, load_rows())
    dataset = experiment.Dataset(name, rows, REFERENCES)
    only = [row["id"] for row in limited(rows, limit)]
    found = {}
    with Progress() as progress:
        for model in models:
            made_of = experiment.digest(*model[1:], *map(experiment.weights, (model.name, model.adapter or "")))
            target = Asked(model, sampling)
            found[model.label] = experiment.run(
                dataset, model.label, target, score, kept, progress, made_of=made_of, only=only, upload=upload
            )
    return found


def summary(rows: Sequence[Record], found: dict[str, list[Record]]) -> dict[str, Any]:
    """The results as one JSON object: each model's measures, a task and all together, with 95 % intervals."""
    by_id = {row["id"]: row for row in rows}
    models = {}
    for label, records in found.items():
        parts = {task: [r for r in records if by_id[r["item"]]["task"] == task] for task in TASKS}
        parts |= {lang: [r for r in records if by_id[r["item"]]["language"] == lang] for lang in ("en", "zh")}
        models[label] = {name: _estimates(part) for name, part in {**parts, "all": records}.items() if part}
    n = len(next(iter(found.values())))
    return {"n": n, "models": models, "detectors": {"refused": detector()}}


def _estimates(records: Sequence[Record]) -> dict[str, Any]:
    values = {name: estimate(experiment.measured(records, name)) for name in (*SHARES, *LENGTHS)}
    return {"n": len(records)} | {name: value for name, value in values.items() if value}


def detector(labels: Path = DATA / "refusals.jsonl") -> dict[str, Any]:
    """How good the detector of refusals is on the labelled answers that did not tune it."""
    rows = [row for row in read_jsonl(labels) if row["split"] == "held out"]
    return quality([refused(row["answer"], row["language"]) for row in rows], [row["refused"] for row in rows])


def show(result: dict[str, Any]) -> None:
    """Prints a table a model, in percent with 95 % intervals, and the judge's."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for label, parts in result["models"].items():
        shown = [part for part in (*TASKS, "all") if part in parts]
        table = Table(title=f"{label}, %", title_justify="left")
        table.add_column("", no_wrap=True)
        for part in shown:
            table.add_column(f"{part}\nn={parts[part]['n']}", justify="right")
        for name in SHARES:
            if name in parts["all"]:
                table.add_row(name.replace("_", " "), *(percent(parts[part].get(name)) for part in shown))
        for name in LENGTHS:
            lengths = [parts[part].get(name) for part in shown]
            table.add_row(f"mean {name}", *(plain(e) for e in lengths))
        console.print(table)
    if "judge" in result:
        verdicts = Table("model", "task", "n", "judge", title="Judge", title_justify="left")
        for task, part in result["judge"].items():
            for label, e in part["answers"].items():
                verdicts.add_row(label, task, str(e["n"]), points(e))
        console.print(verdicts)


def _figure(result: dict[str, Any], out: Path) -> None:
    from evals.figures import bars

    def drawn(parts: dict[str, Any]) -> dict[str, Any]:
        exact = {t: p["exact"] for t, p in parts.items() if t in TASKS and "exact" in p}
        declined = parts.get("open", {}).get("refused_harmful")
        shown = exact | ({"harmful: declined": declined} if declined else {})
        return {task: {"n": e["n"], "accuracy": e["value"], "ci95": e["ci95"]} for task, e in shown.items()}

    caption = "Answers that tell the facts of the reference; bars: 95 % Wilson intervals."
    bars({label: drawn(parts) for label, parts in result["models"].items()}, out, caption=caption, axis="answers, %")


def command(
    models: Annotated[str, typer.Option(help="Comma-separated [LABEL=][base:]NAME[+ADAPTER].")] = "pocket",
    data: Annotated[list[Path] | None, typer.Option(help="JSONL of questions; repeatable. Ours by default.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Questions of each task, language and kind.")] = None,
    records: Annotated[Path | None, typer.Option(help="JSONL to keep the answers in, and to resume from.")] = None,
    html: Annotated[Path | None, typer.Option(help="Report to write: the answers side by side.")] = None,
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
    sampling = {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed}
    found = evaluate(models_of(models), rows, limit=limit, records=records, upload=upload, **sampling)
    result = summary(rows, found)
    if judge:
        result["judge"] = judged(rows, found, judge, k=judge_k, records=judge_records)
    page = (html, lambda made, path: write_page(path, rows, found, made))
    finish(result, show, as_json, page, (figure, _figure), (records, None), (judge_records, None))
