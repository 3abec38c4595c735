"""PPL mode of report 2.2: the option whose string the model finds least surprising, counted as accuracy.

    python -m evals.ppl --model Qwen/Qwen2.5-0.5B --data hellaswag=hub --data mmlu=hub --figure figure1.png
    python -m evals.ppl --model out/sft --data arc_easy=arc_easy.jsonl --predictions sft.jsonl --limit 200 --json

Raw text for every model, chat models too, as OpenCompass scores them. ``accuracy`` is OpenCompass's (Winogrande:
the suffix's log-likelihood); ``acc`` and ``acc_norm`` are lm-evaluation-harness's rules on the same strings.
``--prompts lm-eval`` takes the harness's wording instead, and then ``acc`` is what the harness reports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from egosrag.console import Progress
from egosrag.errors import SettingsError
from egosrag.parallel import Backend, run_on_ray
from evals.common import experiment
from evals.common.command import Adapter, AsJson, Figure, Upload, Where, finish
from evals.common.records import Record, Records
from evals.compare import values_of
from evals.figures import bars
from evals.ppl.run import SHARD_ITEMS, Shard, Weights, fingerprint, load_model, run_task, score_shard, summary
from evals.ppl.tasks import Item, load_task, task_of

CAPTION = "Raw text scored, without a chat template, for chat models too."


def evaluate(
    model: str,
    data: dict[str, str],
    *,
    adapter: str | None = None,
    prompts: str = "opencompass",
    limit: int | None = None,
    predictions: Path | None = None,
    reference: bool = False,
    dtype: str = "float32",
    device: str | None = None,
    engine: Backend = "here",
    upload: bool = False,
) -> dict[str, dict[str, Any]]:
    """The results of a model, task by task: ``{task: {"n", "accuracy", "stderr", ...}}`` (see ``ppl_run.summary``).

    Args:
        model: ``pocket``, a hub id or a folder of a causal language model.
        data: task name to a file, a folder (MMLU) or ``hub``.
        adapter: folder of a PEFT adapter.
        prompts: ``opencompass`` or ``lm-eval``.
        limit: rows a task at most.
        predictions: JSONL of records; a run that finds its own file there goes on with it.
        reference: recompute every string in full.
        dtype: number format of the weights.
        device: where the model runs.
        engine: score in this process, or on the workers of a Ray cluster.
        upload: whether LangSmith gets each task's rows as a dataset and the model's verdicts as an experiment.

    Raises:
        EgosRagError: the model, a file or an option is not what it should be.
    """
    tasks = {name: load_task(name, source, prompts=prompts, limit=limit) for name, source in data.items()}
    made_from = fingerprint(model, adapter, data, prompts=prompts, reference=reference, dtype=dtype)
    kept = Records(predictions, made_from)
    missing = {name: [i for i in items if (name, i.row) not in kept] for name, items in tasks.items()}
    if any(missing.values()):
        weights = Weights(model, adapter, dtype, device)
        with Progress() as progress:
            scored = _by_ray if engine == "ray" else _here
            for name, n, record in scored(missing, weights, reference, progress.note):
                kept.add((name, record["row"]), record)
                progress(name, n, len(missing[name]))
    found = {name: [kept[name, i.row] for i in items] for name, items in tasks.items()}
    if upload:
        for name, records in found.items():
            publish(name, f"{model}+{adapter}" if adapter else model, tasks[name], records)
    return {name: summary(records, suffix=tasks[name][0].suffix, prompts=prompts) for name, records in found.items()}


def _here(
    tasks: Mapping[str, Sequence[Item]], weights: Weights, reference: bool, note: Callable[[str], None]
) -> Iterator[tuple[str, int, Record]]:
    """Each task's name, how many of its records there are, and the newest."""
    net, tokenizer = load_model(weights.name, adapter=weights.adapter, dtype=weights.dtype, device=weights.device)
    for name, items in tasks.items():
        for n, record in enumerate(run_task(net, tokenizer, items, reference=reference, note=note), 1):
            yield name, n, record


def _by_ray(
    tasks: Mapping[str, Sequence[Item]], weights: Weights, reference: bool, note: Callable[[str], None]
) -> Iterator[tuple[str, int, Record]]:
    shards = [
        Shard(name, tuple(items[start : start + SHARD_ITEMS]), weights, reference)
        for name, items in tasks.items()
        for start in range(0, len(items), SHARD_ITEMS)
    ]
    done = dict.fromkeys(tasks, 0)
    for place, records in run_on_ray(score_shard, shards):
        name = shards[place].task
        for record in records:
            done[name] += 1
            yield name, done[name], record


def publish(task: str, who: str, items: Sequence[Item], records: Sequence[Record]) -> None:
    """Sends one task's verdicts to LangSmith.

    Raises:
        SettingsError: there is no key, or LangSmith does not take it.
    """
    rows = [
        {
            "id": f"{task}-{item.row}",
            "task": item.group or task,
            "options": [context + ending for context, ending in zip(item.contexts, item.endings, strict=True)],
            "reference": item.gold,
        }
        for item in items
    ]
    outputs = [{key: value for key, value in record.items() if key not in ("key", "gold")} for record in records]
    experiment.publish(f"egosrag-ppl-{task}", who, rows, outputs, [values_of(record) for record in records])


def read_data(given: Sequence[str]) -> dict[str, str]:
    """``TASK=FILE`` arguments as a mapping.

    Raises:
        SettingsError: an argument has no ``=``, its task is unknown or given twice.
    """
    data: dict[str, str] = {}
    for argument in given:
        name, equals, source = argument.partition("=")
        if not equals or not source:
            raise SettingsError(f"{argument} is not TASK=FILE: write, for example, hellaswag=hellaswag.jsonl")
        task_of(name)
        if name in data:
            raise SettingsError(f"{name} is given twice: give each task one file")
        data[name] = source
    return data


def show(model: str, results: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints the results as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{model}: accuracy in %", caption=CAPTION, title_justify="left", caption_justify="left")
    table.add_column("task")
    for column in ("n", "accuracy", "± se", "95 %", "acc (95 %)", "acc_norm (95 %)", "naive mean (95 %)"):
        table.add_column(column, justify="right")
    for task, r in results.items():
        stderr = "" if r["stderr"] is None else f"{100 * r['stderr']:.1f}"
        interval = "–".join(f"{100 * v:.1f}" for v in r["ci95"])
        name = f"{task} (suffix)" if r["rule"].startswith("highest suffix") else task
        others = (_rate(r, key) for key in ("acc", "acc_norm", "naive"))
        table.add_row(name, str(r["n"]), f"{100 * r['accuracy']:.1f}", stderr, interval, *others)
    Console().print(table)
    for task, r in results.items():
        if r["fewer_shots"] or r["cut"]:
            print(f"{task}: {r['fewer_shots']} items lost solved examples, {r['cut']} were cut: the window is short")


def _rate(result: Mapping[str, Any], key: str) -> str:
    if key not in result:
        return ""
    ends = result[f"{key}_ci95"]
    return f"{100 * result[key]:.1f}" + (f" ({100 * ends[0]:.0f}–{100 * ends[1]:.0f})" if ends else "")


def command(
    data: Annotated[list[str], typer.Option(metavar="TASK=FILE", help="JSONL file, MMLU folder, or hub; repeatable.")],
    model: Annotated[str, typer.Option(help="pocket, a hub id or a folder.")] = "pocket",
    adapter: Adapter = None,
    prompts: Annotated[str, typer.Option(help="Wording: opencompass or lm-eval.")] = "opencompass",
    limit: Annotated[int | None, typer.Option(min=1, help="Rows a task; of MMLU spread over the subjects.")] = None,
    predictions: Annotated[Path | None, typer.Option(help="JSONL to write, and to resume from.")] = None,
    figure: Figure = None,
    reference: Annotated[bool, typer.Option(help="Recompute every string in full: slow.")] = False,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda:0.", show_default="the best")] = None,
    engine: Where = "here",
    upload: Upload = False,
    as_json: AsJson = False,
) -> None:
    """Score multiple-choice tasks by likelihood."""
    results = evaluate(
        model,
        read_data(data),
        adapter=adapter,
        prompts=prompts,
        limit=limit,
        predictions=predictions,
        reference=reference,
        dtype=dtype,
        device=device,
        engine=engine,
        upload=upload,
    )
    drawn = (figure, lambda made, path: bars({model: made}, path))
    finish(results, partial(show, model), as_json, drawn, (predictions, None))
