"""Prompt-lookup decoding beside transformers' plain ``generate``: answers that copy, and talk that does not.

    python -m evals.speed.rag --json
    python -m evals.speed.rag --model pocket --json

The model is pocket in Qwen2.5-0.5B's shape (see ``grown``): it was trained to copy from passages, and a step takes as
long as one of a model that answers in earnest. Both sides decode greedily from the same ids, from an empty cache.
The whole call is timed, and apart from it what came after the first token: guesses do nothing for the prompt.
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

from egosrag.models import load_chat_model
from egosrag.models.runtime.sampling import Sampling
from egosrag.prompts.encode import encode
from evals.speed.grown import grow
from evals.speed.work import Json, Keep, tell


def prompts(number: int) -> dict[str, list[list[BaseMessage]]]:
    """Prompts of both kinds in both languages, of names and wordings that pocket was not trained on."""
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
    """Decode every prompt by each way.

    Returns:
        ``ours`` and the peer ``generate`` of transformers as it comes: tokens_per_second for each kind of prompt, of
        the whole call and after the first token; for ours also without guesses, and the share of prompts to which all
        three answer the same. ``ratio`` of both rates for each kind.
    """
    from transformers import AutoModelForCausalLM

    model: Any = load_chat_model(model_name)
    folder = files("egosrag") / "data" / "pocket" if model_name == "pocket" else model_name
    plain = AutoModelForCausalLM.from_pretrained(str(folder), dtype="float32").eval()
    found = {kind: _compared(model, plain, asked, tokens) for kind, asked in prompts(number).items()}
    return {
        "ours": {
            kind: {name: one[name] for name in ("guessing", "not guessing", "tokens a pass", "same")}
            for kind, one in found.items()
        },
        "peers": {"generate": {kind: one["generate"] for kind, one in found.items()}},
        "ratio": {
            kind: {rate: one["guessing"][rate] / one["generate"][rate] for rate in one["generate"]}
            for kind, one in found.items()
        },
    }


def _compared(model: Any, plain: Any, asked: list[list[BaseMessage]], tokens: int) -> dict[str, Any]:
    ways = {
        "guessing": partial(_own, model, tokens, guessing=True),
        "not guessing": partial(_own, model, tokens, guessing=False),
        "generate": partial(_generated, plain, tokens, sorted(model.eos_ids)),
    }
    first, whole, written, same = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0.0), 0, 0
    passes = _Passes(model.engine)
    for n, messages in enumerate(asked):
        ids = encode(model.tokenizer, messages)
        found = {}
        # Whoever comes first to a prompt pays for the kernels of its length: each way does in turn.
        for name in sorted(ways, key=lambda name: (list(ways).index(name) + n) % len(ways)):
            passes.counted = name == "guessing"
            started = time.perf_counter()
            found[name], first_at = ways[name](ids)
            whole[name] += time.perf_counter() - started
            first[name] += first_at - started
        written += len(found["guessing"])
        same += found["guessing"] == found["not guessing"] == found["generate"]
    passes.end()
    more = written - len(asked)
    rates: dict[str, Any] = {
        name: {"tokens_per_second": written / whole[name], "after the first token": more / (whole[name] - first[name])}
        for name in ways
    }
    return rates | {"tokens a pass": more / max(1, passes.number - len(asked)), "same": same / len(asked)}


class _Passes:
    """Counts the forward passes of an engine."""

    def __init__(self, engine: Any) -> None:
        self.number, self.counted = 0, False
        self._engine, self._forward = engine, engine._forward
        engine._forward = self

    def __call__(self, steps: Any) -> Any:
        self.number += self.counted
        return self._forward(steps)

    def end(self) -> None:
        self._engine._forward = self._forward


def _own(model: Any, tokens: int, ids: list[int], *, guessing: bool) -> tuple[list[int], float]:
    """The reply, and when its first token came."""
    engine, said, first_at = model.engine, [], 0.0
    run = engine.start(ids, Sampling(max_new_tokens=tokens), adapter=None, window=engine.window, cache_bytes=0)
    run.prompt_lookup = guessing
    with closing(engine.generate(run)) as stream:
        for token in stream:
            first_at = first_at or time.perf_counter()
            said.append(token)
            if token in model.eos_ids:
                break
    return said, first_at


def _generated(model: Any, tokens: int, ends: list[int], ids: list[int]) -> tuple[list[int], float]:
    import torch

    clock = _Clock()
    given = torch.tensor([ids])
    with torch.inference_mode():
        out = model.generate(
            given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=tokens,
            do_sample=False,
            eos_token_id=ends,
            pad_token_id=ends[0],
            streamer=clock,
        )
    said: list[int] = out[0, len(ids) :].tolist()
    return said, clock.times[1]


class _Clock:
    """A streamer that notes when it is given the prompt and every token."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: Any) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        pass


def _command(
    model: Annotated[str, typer.Option(help="grown, pocket or a folder.")] = "grown",
    number: Annotated[int, typer.Option(min=1, help="Prompts of each kind and language.")] = 6,
    tokens: Annotated[int, typer.Option(min=1, help="New tokens at most.")] = 96,
    as_json: Json = False,
    keep: Keep = False,
) -> None:
    """Compare prompt-lookup decoding with plain generate."""
    with tempfile.TemporaryDirectory() as folder:
        name = grow(Path(folder)) if model == "grown" else model
        tell("rag", measure(name, number, tokens), as_json=as_json, keep=keep)


if __name__ == "__main__":
    from evals.common.command import run

    run(_command)
