"""The role-play evaluation of report 7.3: four systems, four cases, three dimensions, in Chinese and English.

    python -m evals.roleplay --model Qwen/Qwen2.5-3B-Instruct --adapter out/lora --records run.jsonl
    python -m evals.roleplay --systems EGOS-Small,EGOS-Large --judge openai:gpt-4o --json
    python -m evals.roleplay --card role.json --systems EGOS-Small --turns 10      a card of your own
    python -m evals.roleplay --user openai:gpt-4o-mini                             a model speaks for the user

Cases: introduction, scene, personality, recall (facts asked for 10, 50 and 200 turns after the user stated them).
Dimensions: consistency, memory, quality (evals/roleplay/scorer.py). Measures are patterns; their precision and recall
on labelled replies are part of the result (``detectors``). Intervals are over conversations.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from egosrag.errors import SettingsError
from evals.common.command import (
    Adapter,
    AsJson,
    Figure,
    JudgeK,
    JudgeModel,
    JudgeRecords,
    MaxNewTokens,
    Seed,
    Upload,
    finish,
)
from evals.common.models import Sampling
from evals.judge.asking import JudgeOptions
from evals.roleplay.cases import DATA, TURNS, load_rows
from evals.roleplay.judge import judge_conversations
from evals.roleplay.report import draw, show, summary
from evals.roleplay.run import evaluate
from evals.roleplay.systems import LARGE, SYSTEMS, System, SystemOptions, parse_systems


def _parse_turns(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise SettingsError(f"--turns {text}: give even numbers separated by commas, such as 10,50,200") from error


def command(
    systems: Annotated[str, typer.Option(help=f"Comma-separated: {', '.join(SYSTEMS)}.")] = ",".join(
        name for name in SYSTEMS if name != LARGE
    ),
    model: Annotated[str, typer.Option(help="The model of all but EGOS-Large; preset: each system's own.")] = "pocket",
    adapter: Adapter = None,
    card: Annotated[list[str] | None, typer.Option(help="A role card to play; repeatable. Ours by default.")] = None,
    raw: Annotated[Path | None, typer.Option(help="The raw text behind --card, for EGOS-wo-Extract.")] = None,
    language: Annotated[str, typer.Option(help="Of our own roles: en, zh or both.")] = "both",
    turns: Annotated[
        str, typer.Option(help="Recall distances: turns between a fact and its question; empty: no recall.")
    ] = ",".join(map(str, TURNS)),
    memory: Annotated[str | None, typer.Option(help="static, dynamic, both (the presets') or none.")] = None,
    history: Annotated[str | None, typer.Option(help="Turns as a single message (the presets') or multiple.")] = None,
    user: Annotated[str | None, typer.Option(help="A model that speaks for the user; without it a script.")] = None,
    records: Annotated[Path | None, typer.Option(help="JSONL of the conversations, to resume from.")] = None,
    figure: Figure = None,
    labels: Annotated[Path, typer.Option(help="Labelled replies, to measure detectors.")] = DATA / "replies.real.jsonl",
    judge: JudgeModel = None,
    judge_k: JudgeK = 3,
    judge_records: JudgeRecords = None,
    upload: Upload = False,
    max_new_tokens: MaxNewTokens = 256,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="Sampling temperature; 0 is greedy. Default: the model's own sampling.")
    ] = None,
    seed: Seed = 1,
    as_json: AsJson = False,
) -> None:
    """Let systems play roles, and measure how well."""
    languages = ("en", "zh") if language == "both" else (language,)
    if set(languages) - {"en", "zh"}:
        raise SettingsError(f"--language {language}: give en, zh or both")
    rows = load_rows(card or (), _parse_turns(turns), languages)
    options = SystemOptions(model, adapter, memory, history, Sampling(max_new_tokens, temperature, seed))
    chosen = [System(name, options) for name in parse_systems(systems)]
    played = evaluate(chosen, rows, records=records, user=user, raw=raw, upload=upload)
    result = summary(rows, played, labels)
    try:
        if judge:
            result["judge"] = judge_conversations(rows, played, JudgeOptions(judge, judge_k), judge_records)
    finally:  # the conversations are not lost where the judge fails
        finish(result, show, as_json, (figure, draw), (records, None), (judge_records, None))
