"""How likely a model finds a script's true next line under each way of writing the prompt; no judge, no generation.

    python -m evals.nextline --data nextline.zh.jsonl --profiles profiles.zh.json --model qwen2.5-1.5b --json
    python -m evals.nextline --data novel.txt --model FOLDER --limit 200 --records runs/novel.jsonl

Rows: {"role", "turns": [{"speaker", "text"}], "spoken"}; of a novel as plain text the lines in curly quotation marks
that it attributes to a speaker. Nats a character of the line and its end (closing quotation mark, or end-of-turn
token), paired by line with ``quote``, which is the report's EGOS-Small: card, one message, quotation marks.
``--systems all`` adds the cards that the model extracts from the profiles, and scenes that it writes in place of the
older turns. Lines of roles without a profile do not count for the systems without a card.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from evals.common.command import Adapter, AsJson, finish
from evals.common.models import weight_files
from evals.common.records import Records
from evals.nextline.novel import read_novel
from evals.nextline.report import show, summary
from evals.nextline.rows import read_lines, read_profiles, sample
from evals.nextline.run import evaluate
from evals.nextline.systems import CARDLESS, parse_systems
from evals.ppl.run import Weights


def command(
    data: Annotated[
        Path, typer.Option("--data", "--lines", metavar="FILE", help="JSONL of lines, or a novel as .txt.")
    ],
    profiles: Annotated[
        Path | None, typer.Option(help="JSON of role to profile (text or fields), a role card, or a folder of cards.")
    ] = None,
    model: Annotated[str, typer.Option(help="pocket, a name, a hub id, a folder or a GGUF file.")] = "pocket",
    adapter: Adapter = None,
    systems: Annotated[str, typer.Option(help="Names separated by semicolons, or all.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="A sample of so many lines, spread over the roles.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    turns: Annotated[int, typer.Option(min=1, help="Maximum turns before a line.")] = 8,
    records: Annotated[Path | None, typer.Option(help="JSONL of the records, to resume from.")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda:0.")] = None,
    as_json: AsJson = False,
) -> None:
    """Score the true next line under each way of writing the prompt."""
    chosen = parse_systems(systems)
    note = partial(print, file=sys.stderr)
    known = read_profiles(profiles)
    lines = read_novel(data) if data.suffix.lower() == ".txt" else read_lines(data, note)
    weights = Weights(model, adapter, dtype, device)
    files = [weight_files(name) for name in (model, adapter or "")]
    store = Records(
        records, {"evaluation": "nextline", "model": model, "adapter": adapter, "dtype": dtype, "files": files}
    )
    lines = sample(lines, limit, seed)
    no_profile = {line.id: line.role for line in lines if line.role not in known}
    if no_profile:
        note(_no_profile(set(no_profile.values()), len({line.role for line in lines}), len(no_profile), len(lines)))
    results = evaluate(lines, known, chosen, weights, store, turns=turns)
    finish(summary(results, no_profile), partial(show, model), as_json, (records, None))


def _no_profile(roles: Collection[str], of_roles: int, lines: int, of_lines: int) -> str:
    names = ", ".join(sorted(roles)[:5]) + (", ..." if len(roles) > 5 else "")
    return (
        f"{len(roles)} of {of_roles} roles have no profile ({names}): their lines ({lines} of {of_lines}) have no card "
        f"under any system, and do not count for {' and '.join(sorted(CARDLESS))}"
    )
