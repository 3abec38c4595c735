"""Many requests at once beside the same ones after another, on one loaded model.

    python -m evals.speed.many --json

``batch`` starts each request in a thread of its own, as a server does; their forward passes are joined. The prompts
differ from their first word on, nothing is kept from one side to the other, and each reply is compared with what it is
alone. The shape is Qwen2.5-0.5B's, with random weights.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from egosrag.models import load_chat_model
from evals.speed.work import Json, Keep, save_checkpoint, tell, words


def measure(folder: str, *, requests: int, tokens: int, prompt_words: int = 20) -> dict[str, Any]:
    """Answer all requests, one after another and together.

    Returns:
        ``ours``, all together, and the peer, one after another: tokens_per_second, their ``ratio``, and the share of
        replies that are the same.
    """
    rng = random.Random(2)
    prompts: list[list[BaseMessage]] = [
        [SystemMessage(words(rng, prompt_words)), HumanMessage(words(rng, 6)), AIMessage('Tim: "')]
        for _ in range(requests)
    ]
    # Without what an earlier call kept, and without guesses: the passes alone are compared.
    model = load_chat_model(folder, kv_cache_mb=0, max_new_tokens=tokens)
    model.invoke(prompts[0], max_new_tokens=1)  # the first pass of a process pays for threads and buffers
    started = time.perf_counter()
    alone = [model.invoke(prompt).text for prompt in prompts]
    between = time.perf_counter()
    together = [reply.text for reply in model.batch(prompts, config={"max_concurrency": requests})]
    ended = time.perf_counter()
    rates = [requests * tokens / seconds for seconds in (between - started, ended - between)]
    same = sum(a == b for a, b in zip(alone, together, strict=True)) / requests
    return {
        "ours": {"tokens_per_second": rates[1], "requests": requests, "same replies": same},
        "peers": {"one after another": {"tokens_per_second": rates[0]}},
        "ratio": rates[1] / rates[0],
    }


def _command(
    requests: Annotated[int, typer.Option(min=2, help="Requests at once.")] = 8,
    tokens: Annotated[int, typer.Option(min=1, help="New tokens of each reply.")] = 48,
    as_json: Json = False,
    keep: Keep = False,
) -> None:
    """Compare requests at once with the same requests one after another."""
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder), [words(random.Random(0), 4000)])
        tell("many", measure(folder, requests=requests, tokens=tokens), as_json=as_json, keep=keep)


if __name__ == "__main__":
    from evals.common.command import run

    run(_command)
