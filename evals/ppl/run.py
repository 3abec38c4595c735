"""PPL mode as a run: a model and its items in, one record an item out, and what is reported of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from egosrag.errors import ModelError, SettingsError
from egosrag.models.runtime.cpu import use_onednn
from evals.common import stats
from evals.common.records import Record
from evals.ppl.score import Encoded, Scores, encode, score_plain, verdict
from evals.ppl.shared_prefix import SharedScorer
from evals.ppl.tasks import Item

SHARD_ITEMS = 64  # that a worker scores before it gives their records


def load_model(name: str, *, adapter: str | None = None, dtype: str = "float32", device: str | None = None) -> Any:
    """A causal language model and its tokenizer, for scoring raw text.

    Args:
        name: ``pocket``, a hub id or a folder.
        adapter: folder of a PEFT adapter, merged into the weights.
        dtype: number format, such as float32 or bfloat16.
        device: where it runs; absent: the GPU where there is one.

    Returns:
        (model, tokenizer).

    Raises:
        ModelError: it cannot be loaded.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = _path(name)
    number = getattr(torch, dtype, None)
    if not isinstance(number, torch.dtype):
        raise SettingsError(f"there is no number format {dtype}: give float32, bfloat16 or float16")
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = AutoModelForCausalLM.from_pretrained(path, dtype=number)
        if adapter:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{name} cannot be loaded as a causal language model: give a folder or hub id ({error})"
        ) from error
    model = model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
    use_onednn(model)
    return model, tokenizer


def _path(name: str) -> str:
    return str(files("egosrag") / "data" / "pocket") if name == "pocket" else name


class Weights(NamedTuple):
    """Which model scores, as :func:`load_model` takes it."""

    name: str
    adapter: str | None
    dtype: str
    device: str | None


class Shard(NamedTuple):
    """Items of one task, for a worker on any machine."""

    task: str
    items: tuple[Item, ...]
    weights: Weights
    reference: bool


@lru_cache(maxsize=1)
def _loaded(weights: Weights) -> Any:
    return load_model(weights.name, adapter=weights.adapter, dtype=weights.dtype, device=weights.device)


def score_shard(shard: Shard) -> list[Record]:
    """The records of a shard; the worker keeps the model for the next one.

    Raises:
        ModelError: it cannot be loaded there.
    """
    return list(run_task(*_loaded(shard.weights), shard.items, reference=shard.reference))


def window_of(model: Any) -> int:
    """The longest string, in tokens, that the model was made for."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2048)


def run_task(
    model: Any,
    tokenizer: Any,
    items: Sequence[Item],
    *,
    reference: bool = False,
    note: Callable[[str], None] = lambda text: None,
) -> Iterator[Record]:
    """One record an item, as soon as it is scored, in an order of its own.

    Args:
        model: a causal language model in evaluation mode.
        tokenizer: its tokenizer.
        items: the items; those of one group one after the other.
        reference: recompute every string in full, one at a time.
        note: told once when the model cannot share what strings have in common.
    """
    encoded = encode(tokenizer, items, window_of(model))
    if reference:
        pairs: Iterator[tuple[Encoded, Scores]] = ((e, score_plain(model, e)) for e in encoded)
    else:
        scorer = SharedScorer(model, 256 if model.device.type == "cpu" else 4096)
        if scorer.why_plain:
            note(f"every string is scored on its own: {scorer.why_plain}")
        pairs = scorer.score(encoded)
    yield from (_record(e, scores) for e, scores in pairs)


def _record(encoded: Encoded, scores: Scores) -> Record:
    item, chosen = encoded.item, verdict(encoded.item, scores)
    lists = {"tail": scores.tail, "continuation": scores.continuation, "whole": scores.whole}
    return {
        "row": item.row,
        "group": item.group,
        "gold": item.gold,
        "prediction": chosen.prediction,
        "acc": chosen.acc,
        "acc_norm": chosen.acc_norm,
        "tokens": list(scores.tokens),
        **{name: values and [round(v, 6) for v in values] for name, values in lists.items()},
        "shots": encoded.shots,
        "fewer_shots": encoded.shots < len(item.shots),
        "cut": encoded.cut,
    }


def summary(records: Sequence[Record], *, suffix: bool, prompts: str) -> dict[str, Any]:
    """What is reported of a task: accuracy by its own rule, lm-eval's acc and acc_norm, and how sure they are.

    Of a task with groups (MMLU) ``accuracy`` is weighted by the subjects' sizes, ``naive`` is their plain mean.
    """
    n = len(records)
    hits = [r["prediction"] == r["gold"] for r in records]
    rate, acc, acc_norm = (
        stats.share(sum(r[rule] == r["gold"] for r in records), n) for rule in ("prediction", "acc", "acc_norm")
    )
    groups: dict[str, list[bool]] = {}
    for record, hit in zip(records, hits, strict=True):
        groups.setdefault(record["group"], []).append(hit)
    report: dict[str, Any] = {
        "n": n,
        "accuracy": rate.value,
        "stderr": rate.stderr,
        "ci95": [rate.low, rate.high],
        "acc": acc.value,
        "acc_ci95": [acc.low, acc.high],
        "acc_norm": acc_norm.value,
        "acc_norm_ci95": [acc_norm.low, acc_norm.high],
        "rule": "highest suffix log-likelihood" if suffix else "lowest mean NLL of the whole string",
        "prompts": prompts,
        "fewer_shots": sum(r["fewer_shots"] for r in records),
        "cut": sum(r["cut"] for r in records),
    }
    if set(groups) != {""}:
        shares = {name: stats.share(sum(g), len(g)) for name, g in sorted(groups.items())}
        report |= _naive([*shares.values()])
        report["subjects"] = {
            name: {"n": e.n, "accuracy": e.value, "ci95": [e.low, e.high]} for name, e in shares.items()
        }
    return report


def _naive(subjects: Sequence[stats.Estimate]) -> dict[str, Any]:
    """The plain mean of the subjects' accuracies; its error follows from theirs, if each has at least two rows."""
    mean, errors = sum(e.value for e in subjects) / len(subjects), [e.stderr for e in subjects if e.stderr is not None]
    if len(errors) < len(subjects):
        return {"naive": mean, "naive_ci95": None}
    half = stats.Z95 * math.hypot(*errors) / len(subjects)
    return {"naive": mean, "naive_ci95": [max(0.0, mean - half), min(1.0, mean + half)]}


def fingerprint(model: str, adapter: str | None, sources: Mapping[str, str], **choices: Any) -> Record:
    """What a predictions file was made from; two runs with the same one may share it."""
    return {
        "model": model,
        "adapter": adapter,
        "weights": [_state(Path(_path(p))) for p in (model, adapter) if p],
        "data": {task: _digest(Path(source)) for task, source in sources.items()},
        **choices,
    }


def _state(folder: Path) -> list[list[Any]]:
    weights = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    return [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in weights]


def _digest(source: Path) -> str:
    parts = sorted(source.glob("*/*.csv")) if source.is_dir() else [source] if source.is_file() else []
    digest = sha256()
    for part in parts:
        digest.update(part.name.encode() + b"\0" + part.read_bytes())
    return digest.hexdigest()[:16] if parts else str(source)
