"""The role-play evaluation of report 7.3: four systems, four cases, three dimensions, in Chinese and English.

    python -m evals.roleplay --model Qwen/Qwen2.5-3B-Instruct --adapter out/lora --records run.jsonl
    python -m evals.roleplay --systems EGOS-Small,EGOS-Large --judge openai:gpt-4o --json
    python -m evals.roleplay --card role.json --systems EGOS-Small --turns 10      a card of your own
    python -m evals.roleplay --user openai:gpt-4o-mini                             a model speaks for the user

Cases: introduction, scene, personality, recall (facts asked for 10, 50 and 200 turns after they were told).
Dimensions: consistency, memory, quality (evals/roleplay/score.py). Measures are patterns; how often they are right on
labelled replies is part of the result (``detectors``). A conversation is the unit of every interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from egosrag.console import Progress
from egosrag.errors import SettingsError, SourceError
from evals.common import experiment
from evals.common.command import (
    Adapter,
    AsJson,
    Figure,
    JudgeK,
    JudgeModel,
    JudgeRecords,
    MaxNewTokens,
    Seed,
    Temperature,
    Upload,
    finish,
)
from evals.common.detectors import estimate
from evals.common.records import Record, Records
from evals.roleplay.data import CASES, DATA, REFERENCES, TURNS, load_rows, subject
from evals.roleplay.report import draw, show
from evals.roleplay.score import DIMENSIONS, detectors, score
from evals.roleplay.systems import LARGE, SYSTEMS, System, systems_of
from evals.roleplay.user import scripted, simulated

PARTS = tuple(part for parts in DIMENSIONS.values() for part in parts)


class Played:
    """The target: a system, which plays each row in a conversation of its own."""

    def __init__(self, system: System, user: Callable[[], Any] | None, raw: Path | None) -> None:
        self.system = system
        self.user = user
        self.raw = raw

    def __call__(self, inputs: Record) -> Record:
        """What was said to the role, and its replies."""
        who = subject(inputs["role"], self.raw)
        with self.system.open(who) as talk:
            said, replies, by_model = self._talk(talk, inputs, who.card.name)
            return {"said": said, "replies": replies, "scenes": len(talk.scenes()), "simulated": by_model}

    def _talk(self, talk: Any, inputs: Record, name: str) -> tuple[list[str], list[Record], bool]:
        replies: list[Record] = []

        def say(line: str) -> str:
            reply = talk.say(line)
            told = {"text": reply.text, "stop_reason": reply.stop_reason, "seconds": round(reply.timing.total_s, 3)}
            usage = reply.usage
            replies.append(told | {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens})
            return reply.text

        by_model = self.user is not None and "brief" in inputs
        if by_model and self.user:
            exchanges, language = len(inputs["lines"]), inputs["language"]
            said = simulated(say, self.user(), inputs["brief"], name, language, exchanges)
        else:
            said = scripted(say, inputs["lines"])
        return said, replies, by_model


def evaluate(
    systems: Sequence[System],
    rows: Sequence[Record],
    *,
    records: Path | None = None,
    user: str | None = None,
    raw: Path | None = None,
    upload: bool = False,
) -> dict[str, list[Record]]:
    """Every system's records, in the order of the rows.

    Args:
        systems: who plays.
        rows: the conversations.
        records: JSONL to keep every conversation in, and to resume from.
        user: a model that speaks for the user where a row has a brief.
        raw: the raw text behind the cards, for EGOS-wo-Extract.
        upload: whether LangSmith gets dataset, experiments and traces.

    Raises:
        EgosRagError: a model, a card or a file is not what it should be; what was played by then is kept.
    """
    from egosrag import load_chat_model

    loaded: list[Any] = []

    def speaker() -> Any:
        if user and not loaded:
            loaded.append(load_chat_model(user, temperature=0.7))
        return loaded[0]

    kept = Records(records, {"evaluation": "roleplay", "user": user or "script"})
    dataset = experiment.Dataset(experiment.name_of("egosrag-roleplay", rows, load_rows()), rows, REFERENCES)
    found = {}
    with Progress() as progress:
        for system in systems:
            chosen = system.settings
            made_of = experiment.digest(
                chosen.model_dump_json(exclude={"data_dir", "cache_dir"}),
                *map(experiment.weights, (chosen.model, chosen.adapter or "")),
                [_digest(row["role"], raw) for row in rows],
            )
            target = Played(system, speaker if user else None, raw)
            found[system.name] = experiment.run(
                dataset,
                system.name,
                target,
                lambda row, outputs: score(row, outputs, subject(row["role"], raw).card.name),
                kept,
                progress,
                made_of=made_of,
                upload=upload,
            )
    return found


def _digest(role: str, raw: Path | None) -> str:
    who = subject(role, raw)
    try:
        return experiment.digest(who.file.read_bytes(), who.raw.read_bytes() if who.raw else b"")
    except OSError as error:
        raise SourceError(f"{who.raw} cannot be read ({error.strerror}): give --raw a text file") from error


def summary(rows: Sequence[Record], found: dict[str, list[Record]], labels: Path) -> dict[str, Any]:
    """The results as one JSON object: each system's dimensions by case, its measures and its recall by distance."""
    case_of = {row["id"]: row["case"] for row in rows}
    systems = {}
    for name, records in found.items():
        parts = {case: [r for r in records if case_of[r["item"]] == case] for case in CASES}
        parts = {case: part for case, part in (*parts.items(), ("all", records)) if part}
        distances = sorted({key for r in records for key in r["measures"] if key.startswith("recall@")}, key=_distance)
        systems[name] = {
            "n": len(records),
            "cases": {case: _estimates(part, tuple(DIMENSIONS)) for case, part in parts.items()},
            "measures": _estimates(records, (*PARTS, "declined")),
            "recall": {key.removeprefix("recall@"): estimate(experiment.measured(records, key)) for key in distances},
        }
    return {"n": len(rows), "systems": systems, "detectors": detectors(labels)}


def _distance(key: str) -> int:
    return int(key.removeprefix("recall@"))


def _estimates(records: Sequence[Record], names: Sequence[str]) -> dict[str, Any]:
    values = {name: estimate(experiment.measured(records, name)) for name in names}
    return {"n": len(records)} | {name: value for name, value in values.items() if value}


def _system(name: str, model: str, settings: dict[str, Any]) -> System:
    try:
        return System(name, model, **settings)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "setting"
        raise SettingsError(f"wrong {where} for {name}: {first['msg']}") from None


def _turns(given: str) -> list[int]:
    try:
        return [int(part) for part in given.split(",") if part.strip()]
    except ValueError as error:
        raise SettingsError(f"--turns {given}: give even numbers with commas between, such as 10,50,200") from error


def command(
    systems: Annotated[str, typer.Option(help=f"Comma-separated: {', '.join(SYSTEMS)}.")] = ",".join(
        name for name in SYSTEMS if name != LARGE
    ),
    model: Annotated[str, typer.Option(help="The model of all but EGOS-Large; preset: each system's own.")] = "pocket",
    adapter: Adapter = None,
    card: Annotated[list[str] | None, typer.Option(help="A role card to play; repeatable. Ours by default.")] = None,
    raw: Annotated[Path | None, typer.Option(help="The raw text behind --card, for EGOS-wo-Extract.")] = None,
    language: Annotated[str, typer.Option(help="Of our own roles: en, zh or both.")] = "both",
    turns: Annotated[str, typer.Option(help="Recall after so many turns; empty: no recall.")] = ",".join(
        map(str, TURNS)
    ),
    memory: Annotated[str | None, typer.Option(help="static, dynamic, both (the presets') or none.")] = None,
    history: Annotated[str | None, typer.Option(help="Turns as a single message (the presets') or multiple.")] = None,
    user: Annotated[str | None, typer.Option(help="A model that speaks for the user; a script without it.")] = None,
    records: Annotated[Path | None, typer.Option(help="JSONL to keep conversations in, and to resume from.")] = None,
    figure: Figure = None,
    labels: Annotated[Path, typer.Option(help="Labelled replies that measure the detectors.")] = DATA / "replies.jsonl",
    judge: JudgeModel = None,
    judge_k: JudgeK = 3,
    judge_records: JudgeRecords = None,
    upload: Upload = False,
    max_new_tokens: MaxNewTokens = 256,
    temperature: Temperature = 0.0,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Let systems play roles, and measure how well."""
    spoken = ("en", "zh") if language == "both" else (language,)
    if set(spoken) - {"en", "zh"}:
        raise SettingsError(f"--language {language}: give en, zh or both")
    rows = load_rows(card or (), _turns(turns), spoken)
    settings = {"adapter": adapter, "memory": memory, "history": history, "seed": seed}
    settings |= {"max_new_tokens": max_new_tokens, "temperature": temperature}
    chosen = [_system(name, model, settings) for name in systems_of(systems)]
    found = evaluate(chosen, rows, records=records, user=user, raw=raw, upload=upload)
    result = summary(rows, found, labels)
    if judge:
        from evals.roleplay.judge import judged

        result["judge"] = judged(rows, found, judge, k=judge_k, records=judge_records)
    finish(result, show, as_json, (figure, draw), (records, None), (judge_records, None))
