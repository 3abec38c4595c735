"""What the comparisons share: a checkpoint folder in Qwen2.5-0.5B's shape, random words, and the page of results."""

from __future__ import annotations

import json
import os
import platform
import random
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from evals.speed.ppl import checkpoint

RESULTS = Path(__file__).with_name("RESULTS.md")
Json = Annotated[bool, typer.Option("--json", help="Print the results as JSON.")]
Keep = Annotated[bool, typer.Option("--keep", help="Add the results to evals/speed/RESULTS.md.")]


def words(rng: random.Random, number: int) -> str:
    """Random words."""
    return " ".join("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 8))) for _ in range(number))


def save_checkpoint(folder: Path, texts: list[str], **shape: Any) -> str:
    """Save random weights in Qwen2.5-0.5B's shape, with a chat template, as a folder that any side can load.

    It says whole words alone, whose text gives the same ids again, as a trained model's mostly does.

    Args:
        folder: where.
        texts: what the tokenizer is trained on.
        shape: fields of Qwen2Config that differ.
    """
    import torch

    from egosrag.models import load_chat_model

    model, tokenizer = checkpoint(texts, **shape)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = load_chat_model("pocket").tokenizer.chat_template  # type: ignore[attr-defined]
    said = [i for token, i in tokenizer.get_vocab().items() if re.fullmatch("\u0120[a-z]{2,}", token)]
    mute = torch.ones(model.config.vocab_size, dtype=torch.bool)
    mute[said] = False
    with torch.no_grad():
        model.get_input_embeddings().weight[mute] = 0.0  # tied to the output: these are never the likeliest
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def machine() -> str:
    """The machine and the versions, in a line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    parts = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "langchain-huggingface"))
    return f"{os.cpu_count()} x {_processor()}, {memory:.0f} GiB, Python {platform.python_version()}, {parts}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def tell(name: str, found: dict[str, Any], *, as_json: bool, keep: bool) -> None:
    """Print what was found, and keep it if asked to.

    Args:
        name: of the comparison.
        found: figures by name; nested ones are shown with all their names.
        as_json: one line of JSON instead of a line each.
        keep: add them to RESULTS.md, with the command, the day and the machine.
    """
    found = {**found, "machine": machine()}
    flat = dict(_flat(found))
    print(json.dumps(found) if as_json else "\n".join(f"{key}: {_short(value)}" for key, value in flat.items()))
    if keep:
        command = f"python -m evals.speed.{name} {' '.join(a for a in sys.argv[1:] if a not in ('--keep', '--json'))}"
        rows = "\n".join(f"| {key} | {_short(value)} |" for key, value in flat.items() if key != "machine")
        text = f"\n## {name}, {datetime.now(UTC):%Y-%m-%d}\n\n`{command.strip()}` on {found['machine']}\n\n"
        with RESULTS.open("a", encoding="utf-8") as page:
            page.write(f"{text}| figure | value |\n|---|---|\n{rows}\n")
        print(f"kept in {RESULTS}", file=sys.stderr)


def _flat(found: dict[str, Any], name: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in found.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{name}{key} ")
        else:
            yield f"{name}{key}", value


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
