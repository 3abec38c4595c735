"""Stages of the reproduction: their commands, their costs, and whether they are finished."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from egosrag.errors import EgosRagError, SettingsError

_UNITS = {
    "gpu_hours": "GPU hours (H100)",
    "cpu_hours": "hours on two CPU cores",
    "memory_gb": "GB of GPU memory",
    "disk_gb": "GB of disk",
    "api_usd": "US$ of API",
}
_PATHS = ("model", "data")  # abbreviations that are a path each


class StageError(EgosRagError):
    """A command of a stage failed."""


@dataclass(frozen=True)
class Stage:
    """One part of the report.

    Attributes:
        name: Its folder in the run's folder.
        title: What it does.
        run: Commands, each a module and its arguments; ``{out}`` is the run's folder, ``{here}`` the stage's, and
            ``{pocket}`` the embedded checkpoint. The output of ``NAME: command`` goes to ``NAME.json``.
        needs: Estimates of gpu_hours, cpu_hours, memory_gb, disk_gb and api_usd; empty for minutes on a CPU.
        after: Stages whose results it reads.
    """

    name: str
    title: str
    run: list[str | dict[str, str]]
    needs: dict[str, float] = field(default_factory=dict)
    after: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """All stages, and the folder of their results; ``words`` are abbreviations in the commands."""

    name: str
    about: str
    folder: Path
    stages: list[Stage]
    words: dict[str, str] = field(default_factory=dict)

    def select(self, names: Sequence[str]) -> list[Stage]:
        """The stages with these names, in the order of the plan; all stages without names.

        Raises:
            SettingsError: There is no such stage, or one that it reads from is not finished.
        """
        known = {stage.name: stage for stage in self.stages}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise SettingsError(f"there is no stage {unknown[0]}: {self.name} has {', '.join(known)}")
        selected = [stage for stage in self.stages if not names or stage.name in names]
        for stage in selected if names else []:
            for before in stage.after:
                if before not in names and not self.done(known[before]):
                    raise SettingsError(f"{stage.name} reads what {before} writes: run --stage {before} first")
        return selected

    def commands(self, stage: Stage) -> list[tuple[str | None, list[str]]]:
        """The stage's commands as (name of the output or None, arguments)."""
        values = {
            "out": str(self.folder),
            "here": str(self.folder / stage.name),
            "pocket": str(files("egosrag") / "data" / "pocket"),
        }
        commands: list[tuple[str | None, list[str]]] = []
        for line in stage.run:
            name, text = next(iter(line.items())) if isinstance(line, dict) else (None, line)
            for short, long in self.words.items():
                text = text.replace("{" + short + "}", long)
            # Split before the folders are inserted: a folder's name may have spaces.
            commands.append((name, [word.format(**values) for word in shlex.split(text)]))
        return commands

    def digest(self, stage: Stage) -> str:
        """A hash of the commands, and of the stages before it."""
        before = [self.digest(other) for other in self.stages if other.name in stage.after]
        return hashlib.sha256(json.dumps([self.commands(stage), before]).encode()).hexdigest()

    def done(self, stage: Stage) -> bool:
        """Whether it was finished with these commands."""
        mark = self.folder / stage.name / "done.json"
        try:
            return bool(json.loads(mark.read_text(encoding="utf-8"))["digest"] == self.digest(stage))
        except (OSError, ValueError, KeyError):
            return False


def load_plan(config: str, out: Path | None, words: Sequence[str] = ()) -> Plan:
    """Read a plan.

    Args:
        config: ``mini``, ``small``, ``full`` or a YAML file.
        out: Folder of the results; None: ``runs/reproduce-CONFIG``.
        words: ``NAME=TEXT``, in place of the plan's own abbreviation of that name.

    Raises:
        SettingsError: There is no such plan, it is malformed, or it has no such abbreviation.
    """
    inside = files(__package__).joinpath(f"{config}.yaml")
    try:
        text = inside.read_text(encoding="utf-8") if inside.is_file() else Path(config).read_text(encoding="utf-8")
        loaded: dict[str, Any] = yaml.safe_load(text)
        stages = [Stage(**stage) for stage in loaded["stages"]]
        name = Path(config).stem
        folder = (out or Path("runs") / f"reproduce-{name}").resolve()
        own: dict[str, str] = loaded.get("words") or {}
        plan = Plan(name, loaded["about"], folder, stages, own | _given(words, own))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"there is no plan {config}: give mini, small, full or a YAML file of stages") from error
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(f"{config} is not a plan of stages ({error}): see evals/reproduce/mini.yaml") from error
    return plan


def _given(words: Sequence[str], own: dict[str, str]) -> dict[str, str]:
    given = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or name not in own:
            raise SettingsError(f"--set {word}: give NAME=TEXT with one of {', '.join(own) or 'no names'}")
        # A path may have spaces, braces or quotes; it stays one argument where the plan has one.
        given[name] = shlex.quote(text).replace("{", "{{").replace("}", "}}") if name in _PATHS else text
    return given


def costs(stages: Sequence[Stage]) -> str:
    """The costs of the stages that take more than minutes on a CPU, a line each, and their sum."""
    units = _UNITS if any("gpu_hours" in stage.needs for stage in stages) else _UNITS | {"memory_gb": "GB of memory"}
    lines = []
    for stage in stages:
        if stage.needs:
            lines.append(f"  {stage.name}: " + ", ".join(f"{v:g} {units[k]}" for k, v in stage.needs.items()))
    if not lines:
        return f"{len(stages)} stages, minutes on a CPU, no costs"
    sums = {k: sum(s.needs.get(k, 0) for s in stages) for k in _UNITS if k != "memory_gb"}
    most = max(s.needs.get("memory_gb", 0) for s in stages)
    whole = ", ".join(f"{v:g} {_UNITS[k]}" for k, v in sums.items() if v)
    return "\n".join(["estimated costs:", *lines, f"  total: {whole}; at most {most:g} {units['memory_gb']}"])


def run_stage(plan: Plan, stage: Stage) -> None:
    """Run the commands of a stage; named ones have their standard output written to a file.

    Commands that an interrupted run of the same stage finished are not run again, and a training goes on from its last
    checkpoint.

    Raises:
        StageError: A command failed; the files that it and earlier commands wrote stay.
    """
    here = plan.folder / stage.name
    here.mkdir(parents=True, exist_ok=True)
    finished, digest = here / "finished.jsonl", plan.digest(stage)
    before = finished.read_text(encoding="utf-8").splitlines() if finished.exists() else []
    for name, words in plan.commands(stage):
        mark = json.dumps([digest, name, words])
        if mark in before:
            continue
        print(f"  {' '.join(words[:1])} {name or ''}".rstrip(), file=sys.stderr, flush=True)
        words = _resumed(words)
        done = subprocess.run([sys.executable, "-m", *words], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise StageError(
                f"{stage.name} failed: python -m {' '.join(words)} ended with {done.returncode}; see above"
            )
        if name:
            (here / f"{name}.json").write_text(done.stdout, encoding="utf-8")
        with finished.open("a", encoding="utf-8") as marks:
            marks.write(mark + "\n")
    finished.unlink(missing_ok=True)
    (here / "done.json").write_text(json.dumps({"digest": plan.digest(stage)}), encoding="utf-8")


def _resumed(words: Sequence[str]) -> list[str]:
    """The command of a training, which resumes where there is a checkpoint; any other command as it is."""
    words = list(words)
    if words[0] == "finetune.sft" and "--out" in words and "--overwrite" in words:
        checkpoints = Path(words[words.index("--out") + 1]) / "checkpoints"
        if any(checkpoints.glob("checkpoint-*/trainer_state.json")):
            words[words.index("--overwrite")] = "--resume"
    return words
