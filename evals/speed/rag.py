"""Prompt-lookup decoding beside transformers' plain ``generate``: answers that copy, and talk that does not.

    python -m evals.speed.rag --json

The model is pocket, which was trained to copy from passages; both sides decode greedily from the same ids, from an
empty cache. ``--model`` takes another checkpoint.
"""

from __future__ import annotations

import time
from contextlib import closing
from functools import partial
from typing import Annotated, Any

import typer
from langchain_core.messages import BaseMessage

from egosrag.models import load_chat_model
from egosrag.models.sampling import Sampling
from egosrag.prompts.encode import encode
from evals.speed.work import Json, Keep, tell


def prompts(number: int) -> dict[str, list[list[BaseMessage]]]:
    """Prompts of both kinds in both languages, of names and wordings that pocket was not trained on."""
    from langchain_core.messages import convert_to_messages

    from finetune.pocket_grammar import draw

    return {
        kind: [
            convert_to_messages(draw(family, language, f"speed/{n}", split="names").messages)
            for language in ("en", "zh")
            for n in range(number)
        ]
        for kind, family in (("copying", "manual"), ("talking", "role"))
    }


def measure(model_name: str, number: int, tokens: int) -> dict[str, Any]:
    """Decode every prompt by each way.

    Returns:
        ``ours`` and the peer ``generate``: tokens_per_second for each kind of prompt; for ours also without guesses,
        and the share of prompts to which all three answer the same. ``ratio`` for each kind.
    """
    model: Any = load_chat_model(model_name)
    found = {kind: _compared(model, asked, tokens) for kind, asked in prompts(number).items()}
    return {
        "ours": {
            kind: {
                "tokens_per_second": one["guessing"],
                "tokens_per_second without guesses": one["plain"],
                "same": one["same"],
            }
            for kind, one in found.items()
        },
        "peers": {"generate": {kind: {"tokens_per_second": one["generate"]} for kind, one in found.items()}},
        "ratio": {kind: one["guessing"] / one["generate"] for kind, one in found.items()},
    }


def _compared(model: Any, asked: list[list[BaseMessage]], tokens: int) -> dict[str, float]:
    ways = {
        "guessing": partial(_own, model, tokens, guessing=True),
        "plain": partial(_own, model, tokens, guessing=False),
        "generate": partial(_generated, model, tokens),
    }
    seconds, written, same = dict.fromkeys(ways, 0.0), 0, 0
    for n, messages in enumerate(asked):
        ids = encode(model.tokenizer, messages)
        found = {}
        # Whoever comes first to a prompt pays for the kernels of its length: each way does in turn.
        for name in sorted(ways, key=lambda name: (list(ways).index(name) + n) % len(ways)):
            started = time.perf_counter()
            found[name] = ways[name](ids)
            seconds[name] += time.perf_counter() - started
        written += len(found["guessing"])
        same += found["guessing"] == found["plain"] == found["generate"]
    return {name: written / took for name, took in seconds.items()} | {"same": same / len(asked)}


def _own(model: Any, tokens: int, ids: list[int], *, guessing: bool) -> list[int]:
    engine, said = model._engine, []
    run = engine.start(ids, Sampling(max_new_tokens=tokens), adapter=None, window=engine.window, keep=0)
    run.guessing = guessing
    with closing(engine.tokens(run)) as stream:
        for token in stream:
            said.append(token)
            if token in model._ends:
                break
    return said


def _generated(model: Any, tokens: int, ids: list[int]) -> list[int]:
    import torch

    ends = sorted(model._ends)
    given = torch.tensor([ids], device=model._engine.model.device)
    with torch.inference_mode():
        out = model._engine.model.generate(
            given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=tokens,
            do_sample=False,
            eos_token_id=ends,
            pad_token_id=ends[0],
        )
    said: list[int] = out[0, len(ids) :].tolist()
    return said


def _command(
    model: Annotated[str, typer.Option(help="pocket, a folder or a hub id.")] = "pocket",
    number: Annotated[int, typer.Option(min=1, help="Prompts of each kind and language.")] = 20,
    tokens: Annotated[int, typer.Option(min=1, help="New tokens at most.")] = 96,
    as_json: Json = False,
    keep: Keep = False,
) -> None:
    """Compare prompt-lookup decoding with plain generate."""
    tell("rag", measure(model, number, tokens), as_json=as_json, keep=keep)


if __name__ == "__main__":
    from evals.command import run

    run(_command)
