"""Batching: many requests at once beside the same requests one after another, on one loaded model.

    python -m evals.speed.many --json
    python -m evals.speed.many --model FILE.gguf --json

``batch`` starts each request in a thread of its own, as a server does; their forward passes are joined. The prompts
have no common prefix, the KV cache is off, and each reply is compared with the reply to the same request alone. The
checkpoint has Qwen2.5-0.5B's shape and random weights; a GGUF file runs four requests at once in llama.cpp's slots.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from egosrag.models import load_chat_model
from evals.speed.checkpoints import random_words, save_random_checkpoint
from evals.speed.results import Json, Keep, finish


def measure(folder: str, *, requests: int, tokens: int, prompt_words: int = 20) -> dict[str, Any]:
    """Answer all requests, one after another and together.

    Returns:
        ``ours`` (all at once) and the peer (one after another): new tokens_per_second, their ``ratio``, and the share
        of identical replies.
    """
    rng = random.Random(2)
    prompts: list[list[BaseMessage]] = [
        [SystemMessage(random_words(rng, prompt_words)), HumanMessage(random_words(rng, 6)), AIMessage('Tim: "')]
        for _ in range(requests)
    ]
    # No KV cache and no prompt lookup between calls: only the forward passes are compared.
    model = load_chat_model(folder, kv_cache_mb=0, max_new_tokens=tokens)
    model.invoke(prompts[0], max_new_tokens=1)  # warm up: threads and buffers
    started = time.perf_counter()
    alone = [model.invoke(prompt) for prompt in prompts]
    between = time.perf_counter()
    together = model.batch(prompts, config={"max_concurrency": requests})
    ended = time.perf_counter()
    rates = [_new_tokens(alone) / (between - started), _new_tokens(together) / (ended - between)]
    same = sum(a.text == b.text for a, b in zip(alone, together, strict=True)) / requests
    return {
        "ours": {"tokens_per_second": rates[1], "requests": requests, "same replies": same},
        "peers": {"one after another": {"tokens_per_second": rates[0]}},
        "ratio": rates[1] / rates[0],
    }


def _new_tokens(replies: Sequence[AIMessage]) -> int:
    return sum(reply.usage_metadata["output_tokens"] for reply in replies if reply.usage_metadata)


def command(
    requests: Annotated[int, typer.Option(min=2, help="Requests at once.")] = 8,
    tokens: Annotated[int, typer.Option(min=1, help="New tokens of each reply.")] = 48,
    model: Annotated[str | None, typer.Option(help="A GGUF file.")] = None,
    as_json: Json = False,
    keep: Keep = False,
) -> None:
    """Compare requests at once with the same requests one after another."""
    with tempfile.TemporaryDirectory() as folder:
        if not model:
            save_random_checkpoint(Path(folder), [random_words(random.Random(0), 4000)])
        finish("many", measure(model or folder, requests=requests, tokens=tokens), as_json=as_json, keep=keep)


if __name__ == "__main__":
    from evals.common.command import run

    run(command)
