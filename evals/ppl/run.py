"""PPL mode as a run: load a model, score the items of each task, keep a record of each item.

:func:`evaluate` is the whole run. :func:`run_task` scores the items of one task with a loaded model; with ``engine``
``ray``, workers score the tasks in shards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from egosrag.console import Progress
from egosrag.errors import ModelError, SettingsError
from egosrag.models.runtime.cpu import use_onednn
from egosrag.parallel import Backend, run_on_ray
from evals.common import experiment
from evals.common.models import weight_files
from evals.common.records import Record, Records, measures_of
from evals.ppl.gguf import is_gguf, load_gguf
from evals.ppl.prefix_sharing import SharedPrefixScorer
from evals.ppl.report import summary
from evals.ppl.scoring import Encoded, Scores, choose, encode, score_plain
from evals.ppl.tasks import Item, load_task

SHARD_ITEMS = 64  # items that a Ray worker scores before it returns their records
PASS_TOKENS_CPU, PASS_TOKENS_GPU = 256, 4096  # maximum tokens of a forward pass with shared prefixes


class Weights(NamedTuple):
    """The model that scores, as :func:`load_model` takes it."""

    name: str
    adapter: str | None = None
    dtype: str = "float32"
    device: str | None = None


class Shard(NamedTuple):
    """Items of one task, for a Ray worker."""

    task: str
    items: tuple[Item, ...]
    weights: Weights
    reference: bool


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
    """Score a model on tasks.

    Args:
        model: ``pocket``, a hub id, a folder of a causal language model, or a GGUF file.
        data: Task name to a file, a folder (MMLU) or ``hub``.
        adapter: Folder of a PEFT adapter.
        prompts: ``opencompass`` or ``lm-eval``.
        limit: Maximum rows a task.
        predictions: JSONL of records; a run that finds its own file there resumes it.
        reference: Compute every string in full, without sharing prefixes.
        dtype: Number format of the weights.
        device: Where the model runs.
        engine: Score in this process, or on the workers of a Ray cluster.
        upload: Send each task's rows to LangSmith as a dataset, and the model's choices as an experiment.

    Returns:
        task: ``{"n", "accuracy", "stderr", ...}``, see :func:`evals.ppl.report.summary`.

    Raises:
        EgosRagError: The model, a file or an option is not usable.
    """
    tasks = {name: load_task(name, source, prompts=prompts, limit=limit) for name, source in data.items()}
    weights = Weights(model, adapter, dtype, device)
    records = Records(predictions, fingerprint(weights, data, prompts=prompts, reference=reference))
    missing = {name: [i for i in items if (name, i.row) not in records] for name, items in tasks.items()}
    if any(missing.values()):
        with Progress() as progress:
            score = _score_on_ray if engine == "ray" else _score_here
            for name, n, record in score(missing, weights, reference, progress.note):
                records.add((name, record["row"]), record)
                progress(name, n, len(missing[name]))
    results = {name: [records[name, i.row] for i in items] for name, items in tasks.items()}
    if upload:
        for name, rows in results.items():
            publish(name, f"{model}+{adapter}" if adapter else model, tasks[name], rows)
    return {name: summary(rows, suffix=tasks[name][0].suffix, prompts=prompts) for name, rows in results.items()}


def _score_here(
    tasks: Mapping[str, Sequence[Item]], weights: Weights, reference: bool, note: Callable[[str], None]
) -> Iterator[tuple[str, int, Record]]:
    """Yield (task, number of its records so far, the newest record)."""
    net, tokenizer = load_model(weights)
    for name, items in tasks.items():
        for n, record in enumerate(run_task(net, tokenizer, items, reference=reference, note=note), 1):
            yield name, n, record


def _score_on_ray(
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


def score_shard(shard: Shard) -> list[Record]:
    """The records of a shard; the worker keeps the model loaded for the next one.

    Raises:
        ModelError: The model cannot be loaded there.
    """
    return list(run_task(*_loaded(shard.weights), shard.items, reference=shard.reference))


@lru_cache(maxsize=1)
def _loaded(weights: Weights) -> Any:
    return load_model(weights)


def load_model(weights: Weights) -> Any:
    """Load a causal language model and its tokenizer, for scoring raw text.

    Args:
        weights: ``pocket``, a name of ``egosrag models``, a hub id, a folder or a GGUF file; an adapter is merged into
            it. Without a device it runs on the GPU if there is one.

    Returns:
        (model, tokenizer).

    Raises:
        ModelError: It cannot be loaded.
        SettingsError: The dtype or the device is unknown.
    """
    import torch
    from transformers import AutoTokenizer

    from egosrag.models.catalogue import resolve
    from egosrag.models.runtime.checkpoint import checkpoint_folder
    from egosrag.models.weights import load_adapter, load_causal_lm

    dtype = getattr(torch, weights.dtype, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise SettingsError(f"there is no number format {weights.dtype}: give float32, bfloat16 or float16")
    device = _device(weights.device)
    model: Any
    name = resolve(weights.name)
    if is_gguf(name):
        model, tokenizer = load_gguf(name, dtype)
    else:
        folder = checkpoint_folder(name)
        model = load_causal_lm(folder, weights.name, dtype=dtype)
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"the tokenizer of {weights.name} cannot be loaded: {error}") from error
    if weights.adapter:
        model = load_adapter(model, weights.adapter, weights.name).merge_and_unload()
    model = model.to(device).eval()
    use_onednn(model)
    return model, tokenizer


def _device(name: str | None) -> str:
    """The device to run on, after a number was stored there and read back."""
    import torch

    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, ImportError) as error:  # which one depends on the device
        raise SettingsError(f"there is no device {name} here: give cpu, or cuda:0 where there is a GPU") from error
    return name


def _path(name: str) -> str:
    return str(files("egosrag") / "data" / "pocket") if name == "pocket" else name


def window_of(model: Any) -> int:
    """The context window of a model, in tokens."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2048)


def run_task(
    model: Any,
    tokenizer: Any,
    items: Sequence[Item],
    *,
    reference: bool = False,
    note: Callable[[str], None] = lambda text: None,
) -> Iterator[Record]:
    """Yield one record an item, as soon as it is scored, not necessarily in the given order.

    Args:
        model: A causal language model in evaluation mode.
        tokenizer: Its tokenizer.
        items: The items, sorted by group.
        reference: Compute every string in full, one at a time.
        note: Called once when the model does not support sharing prefixes.
    """
    encoded = encode(tokenizer, items, window_of(model))
    if reference:
        pairs: Iterator[tuple[Encoded, Scores]] = ((e, score_plain(model, e)) for e in encoded)
    else:
        scorer = SharedPrefixScorer(model, PASS_TOKENS_CPU if model.device.type == "cpu" else PASS_TOKENS_GPU)
        if scorer.why_plain:
            note(f"every string is scored on its own: {scorer.why_plain}")
        pairs = scorer.score(encoded)
    yield from (_record(e, scores) for e, scores in pairs)


def _record(encoded: Encoded, scores: Scores) -> Record:
    item, choice = encoded.item, choose(encoded.item, scores)
    lists = {"tail": scores.tail, "continuation": scores.continuation, "whole": scores.whole}
    return {
        "row": item.row,
        "group": item.group,
        "gold": item.gold,
        "prediction": choice.prediction,
        "acc": choice.acc,
        "acc_norm": choice.acc_norm,
        "tokens": list(scores.tokens),
        **{name: values and [round(v, 6) for v in values] for name, values in lists.items()},
        "shots": encoded.shots,
        "fewer_shots": encoded.shots < len(item.shots),
        "cut": encoded.cut,
    }


def publish(task: str, system: str, items: Sequence[Item], records: Sequence[Record]) -> None:
    """Send the choices on one task to LangSmith.

    Raises:
        SettingsError: LANGSMITH_API_KEY is not set, or LangSmith does not accept the run.
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
    experiment.publish(f"egosrag-ppl-{task}", system, rows, outputs, [measures_of(record) for record in records])


def fingerprint(weights: Weights, sources: Mapping[str, str], *, prompts: str, reference: bool) -> Record:
    """What a predictions file depends on; only runs with the same fingerprint may share the file."""
    return {
        "model": weights.name,
        "adapter": weights.adapter,
        "weights": [weight_files(_path(name)) for name in (weights.name, weights.adapter) if name],
        "data": {task: _file_digest(Path(source)) for task, source in sources.items()},
        "prompts": prompts,
        "reference": reference,
        "dtype": weights.dtype,
    }


def _file_digest(source: Path) -> str:
    parts = sorted(source.glob("*/*.csv")) if source.is_dir() else [source] if source.is_file() else []
    digest = sha256()
    for part in parts:
        digest.update(part.name.encode() + b"\0" + part.read_bytes())
    return digest.hexdigest()[:16] if parts else str(source)
