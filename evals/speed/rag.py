"""Prompt-lookup decoding beside transformers' plain ``generate``: answers that copy, and talk that does not.

    python -m evals.speed.rag --json
    python -m evals.speed.rag --model pocket --json

The model is pocket in Qwen2.5-0.5B's shape (see ``grown_pocket``): it was trained to copy from passages, and a decoding
step costs what it costs in a real model. Both sides decode greedily from the same tokens, with an empty KV cache. The
whole call is timed, and separately what comes after the first token: prompt lookup does nothing for the prefill.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import closing
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer
from langchain_core.messages import BaseMessage

from egosrag.models.local import LocalChatModel
from egosrag.models.runtime.sampling import Sampling
from egosrag.prompts.encode import encode
from evals.speed.grown_pocket import grow
from evals.speed.results import Json, Keep, finish


def prompts(number: int) -> dict[str, list[list[BaseMessage]]]:
    """Prompts of both kinds in both languages, with names and wordings that pocket was not trained on."""
    from langchain_core.messages import convert_to_messages

    from finetune.pocket.grammar import draw

    return {
        kind: [
            convert_to_messages(draw(family, language, f"speed/{n}", split="names").messages)
            for language in ("en", "zh")
            for n in range(number)
        ]
        for kind, family in (("copying", "manual"), ("talking", "role"))
    }


def measure(model_name: str, number: int, tokens: int) -> dict[str, Any]:
    """Decode every prompt in three ways: with prompt lookup, without it, and by transformers' ``generate``.

    Args:
        model_name: ``pocket`` or a checkpoint folder.
        number: Prompts of each kind and language.
        tokens: Maximum new tokens.

    Returns:
        ``ours`` and the peer ``generate``: tokens_per_second for each kind of prompt, of the whole call and after the
        first token; for ours also without prompt lookup, and the share of prompts with the same reply in all three
        ways. ``ratio`` of both rates for each kind.
    """
    from transformers import AutoModelForCausalLM

    model = LocalChatModel(model=model_name)
    folder = files("egosrag") / "data" / "pocket" if model_name == "pocket" else model_name
    plain = AutoModelForCausalLM.from_pretrained(str(folder), dtype="float32").eval()
    kinds = {kind: _compare(model, plain, chats, tokens) for kind, chats in prompts(number).items()}
    return {
        "ours": {
            kind: {name: one[name] for name in ("guessing", "not guessing", "tokens a pass", "same")}
            for kind, one in kinds.items()
        },
        "peers": {"generate": {kind: one["generate"] for kind, one in kinds.items()}},
        "ratio": {
            kind: {rate: one["guessing"][rate] / one["generate"][rate] for rate in one["generate"]}
            for kind, one in kinds.items()
        },
    }


def _compare(model: LocalChatModel, plain: Any, chats: list[list[BaseMessage]], tokens: int) -> dict[str, Any]:
    ways = {
        "guessing": partial(_decode, model, tokens, guessing=True),
        "not guessing": partial(_decode, model, tokens, guessing=False),
        "generate": partial(_generate, plain, tokens, sorted(model.eos_ids)),
    }
    first, whole, written, same = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0.0), 0, 0
    counter = _PassCounter()
    hook = model.engine.base.register_forward_pre_hook(counter)
    for n, messages in enumerate(chats):
        ids = encode(model.tokenizer, messages)
        replies = {}
        # The first way to decode a prompt pays for the kernels of its length: the ways take turns.
        for name in sorted(ways, key=lambda name: (list(ways).index(name) + n) % len(ways)):
            counter.active = name == "guessing"
            started = time.perf_counter()
            replies[name], first_at = ways[name](ids)
            whole[name] += time.perf_counter() - started
            first[name] += first_at - started
        written += len(replies["guessing"])
        same += replies["guessing"] == replies["not guessing"] == replies["generate"]
    hook.remove()
    more = written - len(chats)
    rates: dict[str, Any] = {
        name: {"tokens_per_second": written / whole[name], "after the first token": more / (whole[name] - first[name])}
        for name in ways
    }
    return rates | {"tokens a pass": more / max(1, counter.passes - len(chats)), "same": same / len(chats)}


class _PassCounter:
    """A hook that counts the forward passes of a model while it is active."""

    def __init__(self) -> None:
        self.passes, self.active = 0, False

    def __call__(self, module: Any, inputs: Any) -> None:
        self.passes += self.active


def _decode(model: LocalChatModel, tokens: int, ids: list[int], *, guessing: bool) -> tuple[list[int], float]:
    """The reply of our engine, and the time of its first token."""
    engine, reply, first_at = model.engine, list[int](), 0.0
    run = engine.start(ids, Sampling(max_new_tokens=tokens), adapter=None, window=engine.window, cache_bytes=0)
    run.prompt_lookup = guessing
    with closing(engine.generate(run)) as stream:
        for token in stream:
            first_at = first_at or time.perf_counter()
            reply.append(token)
            if token in model.eos_ids:
                break
    return reply, first_at


def _generate(model: Any, tokens: int, ends: list[int], ids: list[int]) -> tuple[list[int], float]:
    """The reply of transformers' ``generate``, and the time of its first token."""
    import torch

    clock = _Clock()
    prompt = torch.tensor([ids])
    with torch.inference_mode():
        out = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=tokens,
            do_sample=False,
            eos_token_id=ends,
            pad_token_id=ends[0],
            streamer=clock,
        )
    reply: list[int] = out[0, len(ids) :].tolist()
    return reply, clock.times[1]


class _Clock:
    """A streamer that records the times of the prompt and of every token."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: Any) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        pass


def command(
    model: Annotated[str, typer.Option(help="grown, pocket or a folder.")] = "grown",
    number: Annotated[int, typer.Option(min=1, help="Prompts of each kind and language.")] = 6,
    tokens: Annotated[int, typer.Option(min=1, help="Maximum new tokens.")] = 96,
    as_json: Json = False,
    keep: Keep = False,
) -> None:
    """Compare prompt-lookup decoding with plain generate."""
    with tempfile.TemporaryDirectory() as folder:
        name = grow(Path(folder)) if model == "grown" else model
        finish("rag", measure(name, number, tokens), as_json=as_json, keep=keep)


if __name__ == "__main__":
    from evals.common.command import run

    run(command)
