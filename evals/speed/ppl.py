"""Speed of PPL mode beside lm-evaluation-harness and a plain loop over the options, as OpenCompass runs it.

    python -m evals.speed.ppl --json
    python -m evals.speed.ppl --data mmlu=mmlu/ --data hellaswag=hellaswag.jsonl --rows 64

All sides score the same strings with one random checkpoint in Qwen2.5-0.5B's shape and a tokenizer trained on the rows.
Without ``--data`` the rows are made of random words in the lengths of the real ones. Times are from strings to choices,
tokenising included. The peers: ``lm_eval`` (once a batch size) and ``plain`` (every option's string in full, one at a
time; it shares nothing between rows, so a quarter of them is enough to measure its speed).
"""

from __future__ import annotations

import json
import logging
import random
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

import typer

from egosrag.errors import SettingsError
from egosrag.models.runtime.cpu import restore_linear, use_onednn
from evals.ppl.harness import harness_sums
from evals.ppl.run import run_task, window_of
from evals.ppl.scoring import choose, encode, score_plain
from evals.ppl.tasks import LETTERS, Item, load_task, parse_sources
from evals.speed.checkpoints import random_checkpoint

TASKS = ("mmlu", "hellaswag")
# Mean words of the real rows, by 1.3 tokens a word: question and options of MMLU, context and one ending of HellaSwag.
_WORDS = {"shot": (51, 8), "question": (61, 9), "context": (53, 0), "ending": (32, 0)}


def random_items(task: str, rows: int, seed: int = 0) -> list[Item]:
    """Items of random words in the lengths of the real task, in lm-eval's wording."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(3000)]

    def text(mean: int) -> str:
        return " ".join(rng.choices(words, k=rng.randint(max(1, mean // 2), mean + mean // 2)))

    def question(kind: str) -> str:
        body, option = _WORDS[kind]
        return "\n".join([text(body), *(f"{letter}. {text(option)}" for letter in LETTERS), "Answer:"])

    if task == "hellaswag":
        items = []
        for n in range(rows):
            endings = tuple(text(_WORDS["ending"][0]) for _ in LETTERS)
            context = text(_WORDS["context"][0])
            items.append(Item(n, (context,) * 4, tuple(f" {e}" for e in endings), endings, rng.randrange(4)))
        return items
    shots = tuple(f"{question('shot')} {rng.choice(LETTERS)}\n\n" for _ in range(5))
    head = "The following are multiple choice questions (with answers) about words.\n\n"
    ends = tuple(f" {letter}" for letter in LETTERS)
    return [
        Item(n, (question("question"),) * 4, ends, tuple(LETTERS), rng.randrange(4), "words", head, shots)
        for n in range(rows)
    ]


def ours(model: Any, tokenizer: Any, items: Sequence[Item]) -> list[int]:
    """The options that lm-eval's acc rule chooses, by evals.ppl (which computes OpenCompass's choice with it)."""
    use_onednn(model)  # as ``evals.ppl`` loads it
    try:
        choices = {record["row"]: record["acc"] for record in run_task(model, tokenizer, items)}
    finally:
        restore_linear(model)
    return [choices[item.row] for item in items]


def plain(model: Any, tokenizer: Any, items: Sequence[Item]) -> list[int]:
    """The same by a plain loop over the options."""
    return [choose(e.item, score_plain(model, e)).acc for e in encode(tokenizer, items, window_of(model))]


def lm_eval(model: Any, tokenizer: Any, items: Sequence[Item], *, batch: int) -> list[int]:
    """The same by lm-evaluation-harness: requests to its HF backend as its multiple-choice tasks make them.

    Raises:
        SettingsError: lm-eval is not installed.
    """
    try:
        from lm_eval.models.huggingface import HFLM
    except ImportError as error:
        raise SettingsError("lm-eval is not installed: pip install lm-eval==0.4.13") from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    backend = HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=batch)
    return [row.index(max(row)) for row in harness_sums(backend, items)]


def _timed(
    name: str, task: str, items: Sequence[Item], side: Callable[[], list[int]]
) -> tuple[list[int], dict[str, Any]]:
    start = time.perf_counter()
    chosen = side()
    seconds = time.perf_counter() - start
    print(f"{task}: {name} took {seconds:.1f} s for {len(items)} rows", file=sys.stderr, flush=True)
    acc = sum(c == item.gold for c, item in zip(chosen, items, strict=True)) / len(items)
    return chosen, {"seconds": round(seconds, 3), "rows_per_second": len(items) / seconds, "acc": acc}


def measure(tasks: dict[str, list[Item]], batches: Sequence[int], **shape: Any) -> dict[str, Any]:
    """Time every side on every task.

    Args:
        tasks: The items by task.
        batches: Batch sizes of lm-eval; the fastest counts.
        shape: Fields of Qwen2Config that differ from Qwen2.5-0.5B's.

    Returns:
        ``{"ours", "peers", "ratio", "ratio_plain", "same"}``: seconds, rows a second and ``acc`` of each side; the
        ratio of speeds to lm-eval at its best batch size, and to the plain loop; the smallest share of rows in which a
        peer chooses the same option.
    """
    texts = [text for items in tasks.values() for item in items for text in item.texts()]
    model, tokenizer = random_checkpoint(texts, **shape)
    result: dict[str, Any] = {"ours": {}, "peers": {}, "ratio": {}, "ratio_plain": {}, "same": {}}
    for task, items in tasks.items():
        ours(model, tokenizer, items[:1])  # warm up: the first pass of a process sets up threads and buffers
        chosen, mine = _timed("ours", task, items, partial(ours, model, tokenizer, items))
        result["ours"][task] = mine
        result["same"][task] = 1.0
        sides: dict[str, tuple[Callable[..., list[int]], list[Item]]] = {
            f"lm_eval batch {b}": (partial(lm_eval, batch=b), items) for b in batches
        }
        sides["plain"] = (plain, items[: max(2, len(items) // 4)])
        for name, (side, part) in sides.items():
            theirs, peer = _timed(name, task, part, partial(side, model, tokenizer, part))
            result["peers"].setdefault(name, {})[task] = peer
            same = sum(a == b for a, b in zip(theirs, chosen, strict=False)) / len(part)
            result["same"][task] = min(result["same"][task], same)
        speeds = {name: result["peers"][name][task]["rows_per_second"] for name in sides}
        naive = speeds.pop("plain")
        result["ratio"][task] = round(mine["rows_per_second"] / max(speeds.values()), 2)
        result["ratio_plain"][task] = round(mine["rows_per_second"] / naive, 2)
    return result


def command(
    data: Annotated[list[str] | None, typer.Option(metavar="TASK=FILE", help="Real rows of mmlu or hellaswag.")] = None,
    rows: Annotated[int, typer.Option(min=2, help="Rows of HellaSwag; half as many of MMLU, of one subject.")] = 24,
    batch: Annotated[list[int] | None, typer.Option(help="Batch sizes of lm-eval.", show_default="1, 4")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of PyTorch.", show_default="all")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Compare the speed of PPL mode with lm-evaluation-harness and with a plain loop."""
    if threads:
        import torch

        torch.set_num_threads(threads)
    sources = parse_sources(data or [])
    tasks = {}
    for task in TASKS:
        n = rows if task == "hellaswag" else rows // 2
        real = load_task(task, sources[task], prompts="lm-eval") if task in sources else random_items(task, n)
        tasks[task] = [item for item in real if item.group == real[0].group][:n]
    result = measure(tasks, batch or (1, 4))
    if as_json:
        print(json.dumps(result))
        return
    for task in tasks:
        ratio, naive = result["ratio"][task], result["ratio_plain"][task]
        print(f"{task}: {ratio} times as fast as lm-eval, {naive} times as fast as a plain loop")


if __name__ == "__main__":
    from evals.common.command import run

    run(command)
