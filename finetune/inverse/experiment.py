"""Train one model per seed in the order of the arm, and measure its inverse recall before and after."""

from __future__ import annotations

import dataclasses
import gc
import json
import statistics
from pathlib import Path
from typing import Any

from egosrag.errors import TrainingError
from finetune.data.tokenization import StopTokens
from finetune.inverse.args import InverseArgs
from finetune.inverse.rows import Task, order_examples, select_tasks, whole_in_both_directions
from finetune.trainer.args import SftArgs

_IRRELEVANT = ("seeds", "resume", "overwrite")  # settings that do not influence the result of a seed


def experiment(args: InverseArgs) -> dict[str, Any]:
    """Train and measure every seed.

    Returns:
        The contents of ``out/inverse.json``: ``seeds`` with their measurements, ``mean`` and ``sd`` over them; empty in
        a process that writes nothing.

    Raises:
        TrainingError: see ``finetune.sft``.
    """
    from finetune.trainer.model import load_tokenizer_and_stops

    tokenizer, stops = load_tokenizer_and_stops(args)
    tasks = select_tasks(args, whole_in_both_directions(args, tokenizer, stops))
    results = [_finished_result(args, seed) or _run_seed(args, tasks, tokenizer, stops, seed) for seed in args.seeds]
    if not all(results):
        return {}
    keys = [key for key in results[0] if key not in ("seed", "before")]
    columns = {key: [result[key] for result in results] for key in keys}
    summary = {
        "arm": args.arm,
        "phases": args.phases,
        "steps": results[0]["steps"],
        "mean": {key: statistics.fmean(values) for key, values in columns.items()},
        "sd": {key: statistics.stdev(values) if len(values) > 1 else None for key, values in columns.items()},
        "seeds": results,
    }
    (Path(args.out) / "inverse.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


def _finished_result(args: InverseArgs, seed: int) -> dict[str, Any]:
    """The measurements of an earlier run of ``seed`` if ``resume`` is set; empty if there are none."""
    args = _seed_args(args, seed)
    path = Path(args.out) / "run.json"
    if not args.resume or not path.exists():
        return {}
    run = json.loads(path.read_text(encoding="utf-8"))
    settings = json.loads(json.dumps(dataclasses.asdict(args)))
    changed = sorted(k for k, v in settings.items() if v != run["settings"].get(k) and k not in _IRRELEVANT)
    if changed:
        raise TrainingError(
            f"{args.out} was trained with another {changed[0]}: give another --out, or --overwrite true"
        )
    return dict(run["recall"])


def _seed_args(args: InverseArgs, seed: int) -> InverseArgs:
    return dataclasses.replace(args, seed=seed, out=str(Path(args.out) / f"seed-{seed}"))


def _run_seed(
    args: InverseArgs, tasks: tuple[list[Task], list[Task]], tokenizer: Any, stops: StopTokens, seed: int
) -> dict[str, Any]:
    from transformers import set_seed

    from finetune.data.dataset import Counts, tokenize_examples
    from finetune.inverse.recall import measure_recall
    from finetune.trainer import record, run_folder
    from finetune.trainer.model import load_model, weight_dtypes
    from finetune.trainer.train import save_model, train

    args = _seed_args(args, seed)
    out = Path(args.out)
    gc.collect()  # of the seed before; a trainer, its model and its optimizer refer to each other
    run_folder.prepare(out, resume=False, overwrite=args.overwrite)
    set_seed(seed)
    trained, held_out = tasks
    model = load_model(args, tokenizer, stops)
    sets = {"trained": trained[: args.probe], "others": held_out}
    before = measure_recall(model, tokenizer, stops, sets, args)
    steps, schedules, run = 0, [], None
    for examples in order_examples(args, trained, seed):
        data = tokenize_examples(examples, args, tokenizer, stops, Counts(rows=len(examples)))
        run = None
        gc.collect()  # the optimizer of the half before
        # All passes are in ``examples`` already, in their order.
        run = train(model, tokenizer, data.rows, _one_epoch(args), sequential=True, checkpoints=False)
        steps += run.state.global_step
        schedules.append(data.record(args) | {"loss": record.loss_curve(run.state)})
    assert run is not None
    after = measure_recall(model, tokenizer, stops, sets, args)
    partial = save_model(run, out, single_turn=True)
    if partial is None:
        return {}
    result = {"seed": seed, "steps": steps, **after, "before": before}
    more = {
        "dtypes": weight_dtypes(model),
        "template": record.template_record(tokenizer, args.template),
        "schedules": schedules,
        "recall": result,
    }
    record.write_record(partial, args, run.state, run.progress, more)
    run_folder.publish(partial, out)
    return result


def _one_epoch(args: InverseArgs) -> SftArgs:
    """The settings of ``finetune.sft`` in ``args``, for one pass over the rows."""
    shared = {each.name: getattr(args, each.name) for each in dataclasses.fields(SftArgs)}
    return SftArgs(**{**shared, "epochs": 1.0})
