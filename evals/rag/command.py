"""Manual QA of report 6.3: the answers with the document beside those without it, its table 1.

    python -m evals.rag --figure rag.png                                      pocket on the sample manuals, offline
    python -m evals.rag --pages manual.pdf --questions questions.json --model Qwen/Qwen2.5-1.5B-Instruct
    python -m evals.rag --judge openai:gpt-4o --records run.jsonl --judge-records judge.jsonl --json

ROUGE-1 and ROUGE-2 recall over jieba words, BLEU, ``told`` (a short reference stands in the answer), page hit,
precision of the citations, refusals; correctness from 0 to 100 with a judge. Rows of questions: ``evals/rag/data.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from egosrag.console import Progress
from egosrag.errors import SettingsError
from evals.common import experiment
from evals.common.command import Adapter, AsJson, Figure, JudgeK, JudgeModel, JudgeRecords, MaxNewTokens, Upload, finish
from evals.common.detectors import percent
from evals.common.records import Record, Records
from evals.rag.data import REFERENCES, Manual, limited, manual, samples
from evals.rag.measures import OVERLAP, PAGES, calibrated, measures, summary
from evals.rag.systems import WITH, WITHOUT, Models, WithDocument, WithoutDocument

POCKET = (
    "The model is pocket, which knows nothing of the world and mostly lets the manual speak: "
    "the figures are those of retrieval, citations and refusals, not of a language model."
)


def evaluate(
    manuals: Sequence[Manual],
    model: str = "pocket",
    *,
    embedder: str | None = None,
    limit: int | None = None,
    records: Path | None = None,
    upload: bool = False,
    sampling: dict[str, Any] | None = None,
    **options: Any,
) -> dict[str, list[Record]]:
    """The records of both systems, in the order of the rows that were asked.

    Args:
        manuals: documents with their questions.
        model: what ``load_chat_model`` takes.
        embedder: beside BM25; none by default.
        limit: questions of each manual and kind at most.
        records: JSONL to keep every answer in, and to resume from.
        upload: whether LangSmith gets dataset, experiments and traces.
        sampling: settings of ``load_chat_model``.
        **options: settings of ``ManualEngine``: top_k, condense, decompose, rewrites, unsupported.

    Raises:
        EgosRagError: the model or a document is not what it should be; what was answered by then is kept.
    """
    sampling = sampling or {}
    kept = Records(records, {"evaluation": "rag", "model": model, "embedder": embedder, **sampling, **options})
    rows = [row for one in manuals for row in one.rows]
    dataset = experiment.Dataset("egosrag-manual", rows, REFERENCES)
    models = Models(model, sampling)
    files = [(one.name, *((d.name, d.stat().st_size) for d in one.documents if d.is_file())) for one in manuals]
    made_of = experiment.digest(model, files, experiment.weights(model))
    targets = {WITH: WithDocument(manuals, models, embedder, options), WITHOUT: WithoutDocument(models)}
    only = limited(manuals, limit)
    with Progress() as progress:
        return {
            name: experiment.run(
                dataset, name, target, measures, kept, progress, made_of=made_of, only=only, upload=upload
            )
            for name, target in targets.items()
        }


def result_of(manuals: Sequence[Manual], found: dict[str, list[Record]], model: str) -> dict[str, Any]:
    """The results as one JSON object: both systems' measures with 95 % intervals, and the calibration."""
    by_id = {row["id"]: row for one in manuals for row in one.rows}
    asked = [by_id[record["item"]] for record in found[WITH]]
    points = [(r["evidence"], row["answerable"], row["kind"]) for r, row in zip(found[WITH], asked, strict=True)]
    return {
        "n": len(asked),
        "answerable": sum(row["answerable"] for row in asked),
        "model": model,
        **({"note": POCKET} if model == "pocket" else {}),
        "systems": {name: summary(asked, records) for name, records in found.items()},
        "calibration": calibrated(points),
    }


def judged(
    manuals: Sequence[Manual], found: dict[str, list[Record]], judge: str, *, k: int, records: Path | None
) -> dict[str, Any]:
    """Correctness from 0 to 100 (report 6.3.1): ``evals.judge.report.report`` over both systems' answers."""
    from evals.judge.cases import Case
    from evals.judge.command import judge_cases
    from evals.judge.report import report

    by_id = {row["id"]: row for one in manuals for row in one.rows}
    cases = [
        Case(
            id=first["item"],
            question=by_id[first["item"]]["question"],
            answers={WITH: first["answer"], WITHOUT: second["answer"]},
            reference=by_id[first["item"]]["reference"],
        )
        for first, second in zip(found[WITH], found[WITHOUT], strict=True)
    ]
    return report("score", judge_cases("score", cases, judge, k=k, records=records), 0.2)


def show(result: dict[str, Any]) -> None:
    """Prints the report's table 1, then the parts of the system with the document."""
    from rich.console import Console
    from rich.table import Table

    console, systems = Console(), result["systems"]
    title = f"{result['model']}: {result['n']} questions, {result['answerable']} answerable; % (95 %)"
    table = Table("", *systems, title=title, title_justify="left", caption=result.get("note"), caption_justify="left")
    if "judge" in result:
        scores = result["judge"]["answers"]
        table.add_row("answer correctness, judged", *(_points(scores.get(name)) for name in systems))
    for name in (*OVERLAP, *PAGES):
        table.add_row(name.replace("_", " "), *(percent(parts["all"].get(name)) for parts in systems.values()))
    for name in ("precision", "recall"):
        table.add_row(f"refusal {name}", *(percent(p["all"].get("refusal", {}).get(name)) for p in systems.values()))
    console.print(table)
    parts = systems[WITH]
    table = Table("", *(f"{part}, n={p['n']}" for part, p in parts.items()), title=WITH, title_justify="left")
    for name in (*OVERLAP, *PAGES, "refused"):
        table.add_row(name.replace("_", " "), *(percent(p.get(name)) for p in parts.values()))
    console.print(table)
    if rule := result["calibration"]:
        held = rule["held_out"]
        cuts = " and ".join(f"{half['threshold']:.2f}" for half in rule["halves"])
        console.print(
            f"Refusing by evidence alone: under {rule['threshold']:.2f}; found on one half ({cuts}) and judged on the "
            f"other: precision {percent(held['precision'])} %, recall {percent(held['recall'])} %."
        )


def _points(found: dict[str, Any] | None) -> str:
    if not found:
        return "unscored"
    interval = f" ({found['ci95'][0]:.0f}-{found['ci95'][1]:.0f})" if found["ci95"] else ""
    return f"{found['mean']:.0f}{interval}"


def _figure(result: dict[str, Any], out: Path) -> None:
    from evals.figures import bars

    def drawn(parts: dict[str, Any]) -> dict[str, Any]:
        known = {name: parts[name] for name in (*OVERLAP, *PAGES) if parts.get(name, {}).get("ci95")}
        return {
            n.replace("_", "\n"): {"n": e["n"], "accuracy": e["value"], "ci95": e["ci95"]} for n, e in known.items()
        }

    caption = f"{result['model']}: answers with and without the document (report 6.3.2), in %; bars: 95 % intervals."
    bars({name: drawn(parts["all"]) for name, parts in result["systems"].items()}, out, caption=caption, axis="%")


def command(
    pages: Annotated[list[Path] | None, typer.Option(help="Documents; repeatable. The sample manuals if none.")] = None,
    questions: Annotated[Path | None, typer.Option(help="JSON list or JSONL of questions to them.")] = None,
    model: Annotated[str, typer.Option(help="pocket, a hub id, a folder, openai:NAME or scripted:FILE.")] = "pocket",
    adapter: Adapter = None,
    embedder: Annotated[str | None, typer.Option(help="Hub id or folder of an embedder, beside BM25.")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Passages that the model reads.")] = 5,
    condense: Annotated[bool, typer.Option(help="Make follow-ups stand alone.")] = True,
    decompose: Annotated[bool, typer.Option(help="Take apart questions that need several facts.")] = False,
    rewrites: Annotated[int, typer.Option(min=0, max=3, help="Rounds of asking again in other words.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Questions of each manual and kind.")] = None,
    records: Annotated[Path | None, typer.Option(help="JSONL to keep the answers in, and to resume from.")] = None,
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
    manuals = [manual(questions.stem, pages, questions)] if pages and questions else samples()
    sampling = {"max_new_tokens": max_new_tokens, **({"adapter": adapter} if adapter else {})}
    options = {"top_k": top_k, "condense": condense, "decompose": decompose, "rewrites": rewrites}
    found = evaluate(
        manuals, model, embedder=embedder, limit=limit, records=records, upload=upload, sampling=sampling, **options
    )
    result = result_of(manuals, found, model)
    if judge:
        result["judge"] = judged(manuals, found, judge, k=judge_k, records=judge_records)
    finish(result, show, as_json, (figure, _figure), (records, None), (judge_records, None))
