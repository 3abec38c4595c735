"""List trainings on disk, finished or unfinished, and the shipped configurations; for the page Training of the app.

Reads only, and needs no training library. A run is recognized by its ``run.json``, its last complete checkpoint, or
pocket's ``state.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from egosrag.errors import TrainingError
from finetune.trainer.run_folder import CHECKPOINTS, SAMPLES, last_complete_checkpoint

CONFIGS = Path(__file__).parent / "configs"
MAX_RUNS = 200  # runs in a list, the newest first
_MAX_DEPTH = 3  # levels of folders below the one that is searched
_NUMBERS = ("epochs", "tokens", "seconds", "tokens_per_second", "peak_memory_gib", "device", "commit")
_COMMAND = re.compile(r"#\s*(python -m \S+ --config \S+.*)")


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        name: its folder, relative to the one that was searched.
        path: its folder.
        state: ``finished`` or ``unfinished``: running or interrupted.
        steps: steps done so far.
        of: steps in all, if known.
        loss: (step, loss) pairs in order; of an unfinished run up to its last checkpoint.
        settings: the settings it was started with.
        numbers: other measurements.
        at: time of its last write, in seconds since 1970.
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
    """A configuration file: its name, the command that runs it, the notes at its head, and its settings as text."""

    name: str
    command: str
    notes: str
    text: str


def find_runs(folder: Path) -> list[Run]:
    """The trainings in a folder and its subfolders, the newest first; other folders are ignored."""
    folders = [folder, *(p for n in range(1, _MAX_DEPTH + 1) for p in folder.glob("/".join("*" * n)) if p.is_dir())]
    folders = [path for path in folders if CHECKPOINTS not in path.relative_to(folder).parts]
    names = {path: str(path.relative_to(folder)) if path != folder else folder.name for path in folders}
    runs = [run for path in folders if (run := _read_run(path, names[path]))]
    return sorted(runs, key=lambda run: (-run.at, run.name))[:MAX_RUNS]


def _read_run(folder: Path, name: str) -> Run | None:
    """The run in ``folder``; None if there is none, or its files are incomplete or another program's."""
    try:
        checkpoint = last_complete_checkpoint(folder / CHECKPOINTS)
        readers: dict[Path, _Reader] = {folder / "run.json": _finished_run}
        if checkpoint:
            readers[checkpoint / "trainer_state.json"] = _unfinished_run
        readers[folder / "state.json"] = _pocket_run
        files = [file for file in readers if file.is_file()]
        if not files:
            return None
        # If a finished run was started again, the newer of its two files counts.
        newest = max(files, key=lambda file: file.stat().st_mtime)
        return readers[newest](_read_object(newest), name, folder, newest.stat().st_mtime)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


_Reader = Callable[[dict[str, Any], str, Path, float], Run]


def _finished_run(record: dict[str, Any], name: str, path: Path, at: float) -> Run:
    """A run from its ``run.json``."""
    numbers = {key: record[key] for key in _NUMBERS if record.get(key) is not None}
    numbers |= {key: value for key, value in record.items() if key in ("recall", "before", "after")}
    steps = int(record.get("steps", 0))
    return Run(
        name=name,
        path=path,
        state="finished",
        steps=steps,
        of=steps or None,
        loss=_loss_points((step, loss) for step, loss in record.get("loss", ())),
        settings=record.get("settings", {}),
        numbers=numbers,
        at=at,
    )


def _unfinished_run(state: dict[str, Any], name: str, path: Path, at: float) -> Run:
    """A run from the trainer's state in its last checkpoint."""
    log = [entry for entry in state["log_history"] if "loss" in entry]
    numbers = {"epochs": state.get("epoch"), "tokens": state.get("num_input_tokens_seen")}
    return Run(
        name=name,
        path=path,
        state="unfinished",
        steps=int(state["global_step"]),
        of=int(state["max_steps"]) if state.get("max_steps", 0) > 0 else None,
        loss=_loss_points((entry["step"], entry["loss"]) for entry in log),
        numbers={key: value for key, value in numbers.items() if value is not None},
        at=at,
    )


def _pocket_run(state: dict[str, Any], name: str, path: Path, at: float) -> Run:
    """A training of pocket from its ``state.json``."""
    settings, seconds = state["config"], float(state["seconds"])
    ended = seconds >= 60 * float(settings["minutes"]) or 0 < settings.get("steps", 0) <= state["step"]
    return Run(
        name=name,
        path=path,
        state="finished" if ended else "unfinished",
        steps=int(state["step"]),
        loss=_loss_points(state.get("loss", ())),
        settings=settings,
        numbers={"tokens": state["tokens"], "seconds": round(seconds), "level": state.get("level")},
        at=at,
    )


def _read_object(file: Path) -> dict[str, Any]:
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{file} is not a JSON object")
    return content


def _loss_points(pairs: Iterable[tuple[Any, Any]]) -> tuple[tuple[int, float], ...]:
    return tuple((int(step), float(loss)) for step, loss in pairs)


def read_samples(run: Run) -> dict[int, list[dict[str, str]]]:
    """The replies to the sample prompts by step, ``{"prompt", "text"}`` each; empty if there were no sample prompts.

    Raises:
        TrainingError: a line of the file is damaged.
    """
    samples: dict[int, list[dict[str, str]]] = {}
    for row in _sample_rows(run.path / SAMPLES):
        samples.setdefault(int(row["step"]), []).append({"prompt": str(row["prompt"]), "text": str(row["text"])})
    return dict(sorted(samples.items()))


def _sample_rows(file: Path) -> Iterator[dict[str, Any]]:
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


def loss_chart(runs: Sequence[Run], step: str = "step", loss: str = "loss") -> dict[str, Any]:
    """The loss curves of some runs as a Vega-Lite specification.

    Args:
        runs: the runs to draw.
        step: title of the x axis.
        loss: title of the y axis.
    """
    values = [{"run": run.name, "step": at, "loss": value} for run in runs for at, value in run.loss]
    color = {"field": "run", "type": "nominal", "title": None, "sort": None}
    return {
        "data": {"values": values},
        "mark": {"type": "line", "point": len(values) < 60},
        "encoding": {
            "x": {"field": "step", "type": "quantitative", "title": step},
            "y": {"field": "loss", "type": "quantitative", "title": loss, "scale": {"zero": False}},
            "color": color | {"legend": {"orient": "bottom", "columns": 2, "labelLimit": 240}},
            "tooltip": [{"field": name} for name in ("run", "step", "loss")],
        },
    }


def read_configs(folder: Path = CONFIGS) -> list[Config]:
    """The configurations in a folder, by name; each opens with the command that runs it and its author's notes."""
    configs = []
    for file in sorted(folder.glob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        comments = re.match(r"(?:#.*\n)*", text)
        lines = comments.group().splitlines() if comments else []
        command = _COMMAND.fullmatch(lines[0].strip()) if lines else None
        notes = "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[1:]).strip()
        body = text[comments.end() :] if comments else text
        if command:
            configs.append(Config(file.stem, command.group(1), notes, body.strip() + "\n"))
    return configs
