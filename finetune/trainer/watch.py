"""What trainings left on disk, finished or still running, and the command that starts each configuration.

Only reads, and needs no training library: a run is known by its ``run.json``, its last whole checkpoint, or pocket's
``state.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from egosrag.errors import TrainingError
from finetune.trainer.folder import CHECKPOINTS, SAMPLES, whole_checkpoint

CONFIGS = Path(__file__).parents[1] / "configs"
MOST = 200  # runs that are listed, the newest first
_DEEPEST = 3  # folders below the one that is looked through
_NUMBERS = ("epochs", "tokens", "seconds", "tokens_per_second", "peak_memory_gib", "device", "commit")
_COMMAND = re.compile(r"#\s*(python -m \S+ --config \S+.*)")


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        name: its folder, from the one that was looked through.
        path: its folder.
        state: ``finished`` or ``unfinished``: running, or stopped before its end.
        steps: done so far.
        of: steps in all, where they are known.
        loss: (step, loss) pairs in order; of an unfinished run up to its last checkpoint.
        settings: what it was started with.
        numbers: what else was measured.
        at: when it last wrote, in seconds since 1970.
    """

    name: str
    path: Path
    state: str
    steps: int
    of: int | None = None
    loss: Sequence[tuple[int, float]] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict)
    at: float = 0.0


@dataclass(frozen=True)
class Config:
    """A configuration: how it is started, what its author says of it, and its settings as they are written."""

    name: str
    command: str
    notes: str
    text: str


def find(folder: Path) -> list[Run]:
    """The trainings in a folder and those below it, the newest first; what is no training is passed over."""
    places = [folder, *(p for n in range(1, _DEEPEST + 1) for p in folder.glob("/".join("*" * n)) if p.is_dir())]
    inside = (place for place in places if CHECKPOINTS not in place.relative_to(folder).parts)
    found = [run for place in inside if (run := _run(place, folder))]
    return sorted(found, key=lambda run: (-run.at, run.name))[:MOST]


def _run(place: Path, folder: Path) -> Run | None:
    name = str(place.relative_to(folder)) if place != folder else folder.name
    try:
        # A run that was started again over a finished one is the newer of the two.
        for read in sorted((_finished, _running, _pocket), key=lambda read: -_written(read, place)):
            if run := read(place, name):
                return run
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # half-written or of another program: it is shown when it is whole
    return None


def _written(read: Any, place: Path) -> float:
    checkpoint = whole_checkpoint(place / CHECKPOINTS)
    file = {
        _finished: place / "run.json",
        _running: checkpoint / "trainer_state.json" if checkpoint else None,
        _pocket: place / "state.json",
    }[read]
    return file.stat().st_mtime if file and file.is_file() else 0.0


def _finished(place: Path, name: str) -> Run | None:
    if not (place / "run.json").is_file():
        return None
    record = _read(place / "run.json")
    numbers = {key: record[key] for key in _NUMBERS if record.get(key) is not None}
    numbers |= {key: value for key, value in record.items() if key in ("recall", "before", "after")}
    steps = int(record.get("steps", 0))
    return Run(
        name=name,
        path=place,
        state="finished",
        steps=steps,
        of=steps or None,
        loss=_points((step, loss) for step, loss in record.get("loss", ())),
        settings=record.get("settings", {}),
        numbers=numbers,
        at=_written(_finished, place),
    )


def _running(place: Path, name: str) -> Run | None:
    checkpoint = whole_checkpoint(place / CHECKPOINTS)
    if checkpoint is None:
        return None
    state = _read(checkpoint / "trainer_state.json")
    log = [entry for entry in state["log_history"] if "loss" in entry]
    numbers = {"epochs": state.get("epoch"), "tokens": state.get("num_input_tokens_seen")}
    return Run(
        name=name,
        path=place,
        state="unfinished",
        steps=int(state["global_step"]),
        of=int(state["max_steps"]) if state.get("max_steps", 0) > 0 else None,
        loss=_points((entry["step"], entry["loss"]) for entry in log),
        numbers={key: value for key, value in numbers.items() if value is not None},
        at=_written(_running, place),
    )


def _pocket(place: Path, name: str) -> Run | None:
    if not (place / "state.json").is_file():
        return None
    state = _read(place / "state.json")
    settings, seconds = state["config"], float(state["seconds"])
    ended = seconds >= 60 * float(settings["minutes"]) or 0 < settings.get("steps", 0) <= state["step"]
    numbers = {"tokens": state["tokens"], "seconds": round(seconds), "level": state.get("level")}
    return Run(
        name=name,
        path=place,
        state="finished" if ended else "unfinished",
        steps=int(state["step"]),
        loss=_points(state.get("loss", ())),
        settings=settings,
        numbers=numbers,
        at=_written(_pocket, place),
    )


def _read(file: Path) -> dict[str, Any]:
    found = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{file} is no JSON object")
    return found


def _points(pairs: Iterable[tuple[Any, Any]]) -> tuple[tuple[int, float], ...]:
    return tuple((int(step), float(loss)) for step, loss in pairs)


def samples(run: Run) -> dict[int, list[dict[str, str]]]:
    """What the model said while it was trained, by step: ``{"prompt", "text"}`` each; empty where none was asked."""
    found: dict[int, list[dict[str, str]]] = {}
    for row in _rows(run.path / SAMPLES):
        found.setdefault(int(row["step"]), []).append({"prompt": str(row["prompt"]), "text": str(row["text"])})
    return dict(sorted(found.items()))


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    if not file.is_file():
        return
    content = file.read_text(encoding="utf-8")
    for line in content[: content.rfind("\n") + 1].splitlines():  # the run may be writing its next line
        try:
            row = json.loads(line)
        except ValueError as error:
            raise TrainingError(f"{file.name} of {file.parent.name} is damaged: delete it ({error})") from error
        if isinstance(row, dict) and {"step", "prompt", "text"} <= row.keys():
            yield row


def curves(runs: Sequence[Run], step: str = "step", loss: str = "loss") -> dict[str, Any]:
    """The loss of some runs over their steps, as a Vega-Lite specification; ``step`` and ``loss`` name its axes."""
    values = [{"run": run.name, "step": at, "loss": value} for run in runs for at, value in run.loss]
    who = {"field": "run", "type": "nominal", "title": None, "sort": None}
    return {
        "data": {"values": values},
        "mark": {"type": "line", "point": len(values) < 60},
        "encoding": {
            "x": {"field": "step", "type": "quantitative", "title": step},
            "y": {"field": "loss", "type": "quantitative", "title": loss, "scale": {"zero": False}},
            "color": who | {"legend": {"orient": "bottom", "columns": 2, "labelLimit": 240}},
            "tooltip": [{"field": name} for name in ("run", "step", "loss")],
        },
    }


def configs(folder: Path = CONFIGS) -> list[Config]:
    """The configurations of a folder, by name: what opens one is its command and its author's notes."""
    found = []
    for file in sorted(folder.glob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        opening = re.match(r"(?:#.*\n)*", text)
        lines = opening.group().splitlines() if opening else []
        command = _COMMAND.fullmatch(lines[0].strip()) if lines else None
        notes = "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[1:]).strip()
        body = text[opening.end() :] if opening else text
        if command:
            found.append(Config(file.stem, command.group(1), notes, body.strip() + "\n"))
    return found
