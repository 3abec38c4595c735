"""PPL mode and lm-evaluation-harness on the same rows and the same weights, in one run.

    python -m evals.ppl.harness --model FOLDER --data arc_easy=arc_easy.jsonl --data mmlu=mmlu/ --limit 1000 --json

Both sides get the strings of ``--prompts lm-eval``. The harness scores them with its own HF backend, one request an
option, and its rules are applied to its sums: ``acc`` the likeliest option, ``acc_norm`` the likeliest a character.
``same``: rows with the same choice; ``largest``: the largest difference of an option's log-likelihood, in nats.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from egosrag.console import Progress
from egosrag.errors import SettingsError
from egosrag.models.runtime.cpu import restore_linear
from evals.common import stats
from evals.common.command import Adapter, AsJson, finish, run
from evals.common.records import Record, Records
from evals.ppl.run import Weights, fingerprint, load_model, run_task
from evals.ppl.tasks import Item, load_task, parse_sources

CHUNK = 32  # rows that the harness gets at a time, so that an interrupted run resumes
RULES = ("acc", "acc_norm")


def harness_sums(backend: Any, items: Sequence[Item]) -> list[list[float]]:
    """The log-likelihood of every option by the harness's backend."""
    from lm_eval.api.instance import Instance

    requests = [
        Instance("loglikelihood", {}, (item.head + "".join(item.shots) + context, ending), n)
        for item in items
        for n, (context, ending) in enumerate(zip(item.contexts, item.endings, strict=True))
    ]
    sums = iter([float(value) for value, _ in backend.loglikelihood(requests, disable_tqdm=True)])
    return [[next(sums) for _ in item.endings] for item in items]


def harness_choices(item: Item, sums: Sequence[float]) -> dict[str, int]:
    """The choices of the harness's rules (``ConfigurableTask.process_results``); the first on a tie."""
    per_char = [value / max(1, len(choice)) for value, choice in zip(sums, item.choices, strict=True)]
    best = sums.index(max(sums))
    return {"acc": best, "acc_norm": best if item.suffix else per_char.index(max(per_char))}


def _backend(model: Any, tokenizer: Any, batch: int) -> Any:
    try:
        from lm_eval.models.huggingface import HFLM
    except ImportError as error:
        raise SettingsError("lm-eval is not installed: pip install 'egosrag[evals]'") from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    restore_linear(model)  # the harness runs the model as transformers loads it
    return HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=batch)


def compare(
    weights: Weights, sources: dict[str, str], *, limit: int | None, batch: int, predictions: Path | None
) -> dict[str, Any]:
    """Score the rows on both sides.

    Args:
        weights: The model.
        sources: Files by task.
        limit: Maximum rows a task.
        batch: The harness's batch size.
        predictions: JSONL of both sides' sums, to resume from.

    Returns:
        TASK: ``n``, and for ``ours`` and ``harness`` ``acc`` and ``acc_norm`` (of Winogrande ``acc`` alone); ``same``
        by rule; ``largest``.

    Raises:
        EgosRagError: The model or a file is not usable, or lm-eval is not installed.
    """
    tasks = {name: load_task(name, source, prompts="lm-eval", limit=limit) for name, source in sources.items()}
    made_from = fingerprint(weights, sources, prompts="lm-eval", reference=False) | {"batch": batch}
    records = Records(predictions, {"evaluation": "ppl harness", **made_from})
    todo = [(s, n) for s in ("ours", "harness") for n, items in tasks.items() if _missing(records, s, n, items)]
    if todo:
        model, tokenizer = load_model(weights)
        with Progress() as progress:
            for side, name in todo:  # ours first: the harness changes how the model runs
                items = tasks[name]
                missing = _missing(records, side, name, items)
                scored = (
                    _ours(model, tokenizer, missing)
                    if side == "ours"
                    else _theirs(_backend(model, tokenizer, batch), missing)
                )
                for row, record in scored:
                    records.add((side, name, row), record)
                    progress(f"{side}: {name}", len(items) - len(_missing(records, side, name, items)), len(items))
    return {name: _result(name, items, records) for name, items in tasks.items()}


def _missing(records: Records, side: str, name: str, items: Sequence[Item]) -> list[Item]:
    return [item for item in items if (side, name, item.row) not in records]


def _ours(model: Any, tokenizer: Any, items: Sequence[Item]) -> Iterator[tuple[int, Record]]:
    for record in run_task(model, tokenizer, items):
        yield record["row"], {"acc": record["acc"], "acc_norm": record["acc_norm"], "sums": record["continuation"]}


def _theirs(backend: Any, items: Sequence[Item]) -> Iterator[tuple[int, Record]]:
    for start in range(0, len(items), CHUNK):
        part = items[start : start + CHUNK]
        for item, sums in zip(part, harness_sums(backend, part), strict=True):
            yield item.row, {**harness_choices(item, sums), "sums": [round(-value, 6) for value in sums]}


def _result(name: str, items: Sequence[Item], records: Records) -> dict[str, Any]:
    rules = RULES[:1] if items[0].suffix else RULES
    sides = {side: [records[side, name, item.row] for item in items] for side in ("ours", "harness")}
    result: dict[str, Any] = {"n": len(items)}
    for side, found in sides.items():
        result[side] = {}
        for rule in rules:
            share = stats.proportion(sum(r[rule] == i.gold for r, i in zip(found, items, strict=True)), len(items))
            result[side][rule] = {"accuracy": share.value, "stderr": share.stderr, "ci95": [share.low, share.high]}
    pairs = list(zip(*sides.values(), strict=True))
    result["same"] = {rule: sum(a[rule] == b[rule] for a, b in pairs) for rule in rules}
    result["largest"] = max(abs(x - y) for a, b in pairs for x, y in zip(a["sums"], b["sums"], strict=True))
    return result


def show(model: str, result: dict[str, Any]) -> None:
    """Print the table."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{model}, the same rows on both sides", box=SIMPLE_HEAD)
    for head in ("task", "n", "rule", "ours", "lm-eval", "same choice", "largest difference"):
        table.add_column(head, justify="left" if head in ("task", "rule") else "right")
    for name, r in result.items():
        for rule in r["same"]:
            sides = (f"{r[side][rule]['accuracy']:.4f}" for side in ("ours", "harness"))
            same = f"{r['same'][rule]} of {r['n']}"
            table.add_row(name, str(r["n"]), rule, *sides, same, f"{r['largest']:.1e} nats")
    Console().print(table)


def command(
    data: Annotated[list[str], typer.Option(metavar="TASK=FILE", help="JSONL file, MMLU folder, or hub; repeatable.")],
    model: Annotated[str, typer.Option(help="pocket, a hub id, a folder or a GGUF file.")] = "pocket",
    adapter: Adapter = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Rows a task; MMLU's are spread over the subjects.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Batch size of the harness.")] = 4,
    predictions: Annotated[Path | None, typer.Option(help="JSONL of the records, to resume from.")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda:0.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare PPL mode's choices with those of lm-evaluation-harness."""
    weights = Weights(model, adapter, dtype, device)
    result = compare(weights, parse_sources(data), limit=limit, batch=batch, predictions=predictions)
    finish(json.loads(json.dumps(result)), partial(show, model), as_json, (predictions, None))


if __name__ == "__main__":
    run(command)
