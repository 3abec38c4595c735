"""Speed of PPL mode beside lm-evaluation-harness and a plain loop over the options, as OpenCompass runs it.

    python -m evals.speed.ppl --json
    python -m evals.speed.ppl --data mmlu=mmlu/ --data hellaswag=hellaswag.jsonl --rows 64

All sides score the same strings with one checkpoint in Qwen2.5-0.5B's shape: random weights, because the work does not
depend on them, and a tokenizer trained on the rows. Without ``--data`` the rows are made of random words in the
lengths of the real ones. Times are from strings to verdicts, tokenising included. The peers: ``lm_eval`` (one time a
batch size) and ``plain`` (every option's string in full, one at a time; it shares nothing between rows, so a quarter of
them tells its speed).
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
from evals.ppl.command import read_data
from evals.ppl.run import run_task, window_of
from evals.ppl.score import encode, score_plain, verdict
from evals.ppl.tasks import LETTERS, Item, load_task

TASKS = ("mmlu", "hellaswag")
# Mean words of the real rows, by 1.3 tokens a word: question and options of MMLU, context and one ending of HellaSwag.
_WORDS = {"shot": (51, 8), "question": (61, 9), "context": (53, 0), "ending": (32, 0)}
_QWEN = {
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32_768,
    "vocab_size": 151_936,
}


def made_up(task: str, rows: int, seed: int = 0) -> list[Item]:
    """Questions of random words in the lengths of the real task, in lm-eval's wording."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(3000)]

    def text(mean: int) -> str:
        return " ".join(rng.choices(words, k=rng.randint(max(1, mean // 2), mean + mean // 2)))

    def question(kind: str) -> str:
        body, option = _WORDS[kind]
        return "\n".join([text(body), *(f"{letter}. {text(option)}" for letter in LETTERS), "Answer:"])

    if task == "hellaswag":
        made = []
        for n in range(rows):
            endings = tuple(text(_WORDS["ending"][0]) for _ in LETTERS)
            context = text(_WORDS["context"][0])
            made.append(Item(n, (context,) * 4, tuple(f" {e}" for e in endings), endings, rng.randrange(4)))
        return made
    shots = tuple(f"{question('shot')} {rng.choice(LETTERS)}\n\n" for _ in range(5))
    head = "The following are multiple choice questions (with answers) about words.\n\n"
    ends = tuple(f" {letter}" for letter in LETTERS)
    return [
        Item(n, (question("question"),) * 4, ends, tuple(LETTERS), rng.randrange(4), "words", head, shots)
        for n in range(rows)
    ]


def checkpoint(texts: Sequence[str], **shape: Any) -> tuple[Any, Any]:
    """A model in Qwen2.5-0.5B's shape with random weights, and a byte-level BPE trained on the texts."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=8000, initial_alphabet=alphabet, show_progress=False))
    bpe.add_special_tokens(["<|endoftext|>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    torch.manual_seed(0)
    config = Qwen2Config(**(_QWEN | shape), tie_word_embeddings=True, eos_token_id=tokenizer.eos_token_id)
    return Qwen2ForCausalLM(config).eval(), tokenizer


def ours(model: Any, tokenizer: Any, items: Sequence[Item]) -> list[int]:
    """lm-eval's acc by our way; OpenCompass's verdict is computed with it."""
    use_onednn(model)  # as ``evals.ppl`` loads it
    try:
        found = {record["row"]: record["acc"] for record in run_task(model, tokenizer, items)}
    finally:
        restore_linear(model)
    return [found[item.row] for item in items]


def plain(model: Any, tokenizer: Any, items: Sequence[Item]) -> list[int]:
    """The same by a loop over the options."""
    return [verdict(e.item, score_plain(model, e)).acc for e in encode(tokenizer, items, window_of(model))]


def lm_eval(model: Any, tokenizer: Any, items: Sequence[Item], *, batch: int) -> list[int]:
    """The same by lm-evaluation-harness: requests to its HF backend as its multiple-choice tasks make them.

    Raises:
        SettingsError: lm-eval is not installed.
    """
    try:
        from lm_eval.api.instance import Instance
        from lm_eval.models.huggingface import HFLM
    except ImportError as error:
        raise SettingsError("lm-eval is not installed: pip install lm-eval==0.4.13") from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    backend = HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=batch)
    requests = [
        Instance("loglikelihood", {}, (item.head + "".join(item.shots) + context, ending), n)
        for item in items
        for n, (context, ending) in enumerate(zip(item.contexts, item.endings, strict=True))
    ]
    sums = iter([value for value, _ in backend.loglikelihood(requests, disable_tqdm=True)])
    scores = [[next(sums) for _ in item.endings] for item in items]
    return [row.index(max(row)) for row in scores]


def _timed(
    name: str, task: str, items: Sequence[Item], way: Callable[[], list[int]]
) -> tuple[list[int], dict[str, Any]]:
    start = time.perf_counter()
    chosen = way()
    seconds = time.perf_counter() - start
    print(f"{task}: {name} took {seconds:.1f} s for {len(items)} rows", file=sys.stderr, flush=True)
    acc = sum(c == item.gold for c, item in zip(chosen, items, strict=True)) / len(items)
    return chosen, {"seconds": round(seconds, 3), "rows_per_second": len(items) / seconds, "acc": acc}


def measure(tasks: dict[str, list[Item]], batches: Sequence[int], **shape: Any) -> dict[str, Any]:
    """Every side on every task: seconds, rows a second and ``acc``, and how many times faster ours is.

    Args:
        tasks: the items by task.
        batches: batch sizes that lm-eval is given; the fastest counts.
        shape: fields of Qwen2Config other than Qwen2.5-0.5B's.

    Returns:
        ``{"ours", "peers", "ratio", "ratio_plain", "same"}``; ``ratio`` is against lm-eval at its best batch size,
        ``same`` the smallest share of rows on which a peer chooses the option that ours does.
    """
    texts = [text for items in tasks.values() for item in items for text in item.texts()]
    model, tokenizer = checkpoint(texts, **shape)
    found: dict[str, Any] = {"ours": {}, "peers": {}, "ratio": {}, "ratio_plain": {}, "same": {}}
    for task, items in tasks.items():
        ours(model, tokenizer, items[:1])  # the first pass of a process pays for threads and buffers
        chosen, mine = _timed("ours", task, items, partial(ours, model, tokenizer, items))
        found["ours"][task] = mine
        found["same"][task] = 1.0
        ways: dict[str, tuple[Callable[..., list[int]], list[Item]]] = {
            f"lm_eval batch {b}": (partial(lm_eval, batch=b), items) for b in batches
        }
        ways["plain"] = (plain, items[: max(2, len(items) // 4)])
        for name, (way, part) in ways.items():
            theirs, peer = _timed(name, task, part, partial(way, model, tokenizer, part))
            found["peers"].setdefault(name, {})[task] = peer
            same = sum(a == b for a, b in zip(theirs, chosen, strict=False)) / len(part)
            found["same"][task] = min(found["same"][task], same)
        speeds = {name: found["peers"][name][task]["rows_per_second"] for name in ways}
        naive = speeds.pop("plain")
        found["ratio"][task] = round(mine["rows_per_second"] / max(speeds.values()), 2)
        found["ratio_plain"][task] = round(mine["rows_per_second"] / naive, 2)
    return found


def _command(
    data: Annotated[list[str] | None, typer.Option(metavar="TASK=FILE", help="Real rows of mmlu, hellaswag.")] = None,
    rows: Annotated[int, typer.Option(min=2, help="Rows of HellaSwag; half as many of MMLU, of one subject.")] = 24,
    batch: Annotated[list[int] | None, typer.Option(help="Batch sizes of lm-eval.", show_default="1, 4")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of PyTorch.", show_default="all")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Compare the speed of PPL mode with lm-evaluation-harness and with a plain loop."""
    if threads:
        import torch

        torch.set_num_threads(threads)
    given = read_data(data or [])
    tasks = {}
    for task in TASKS:
        n = rows if task == "hellaswag" else rows // 2
        real = load_task(task, given[task], prompts="lm-eval") if task in given else made_up(task, n)
        tasks[task] = [item for item in real if item.group == real[0].group][:n]
    found = measure(tasks, batch or (1, 4))
    if as_json:
        print(json.dumps(found))
        return
    for task in tasks:
        ratio, naive = found["ratio"][task], found["ratio_plain"][task]
        print(f"{task}: {ratio} times as fast as lm-eval, {naive} times as fast as a plain loop")


if __name__ == "__main__":
    from evals.common.command import run

    run(_command)
