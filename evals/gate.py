"""A regression suite for a team's own roles, manuals and model, without a judge, to be run in CI.

    python -m evals.gate --model qwen2.5-coder-1.5b --baseline gate.json --write      store what is reached now
    python -m evals.gate --model qwen2.5-coder-1.5b --baseline gate.json              fail where it has become worse

Runs the evaluations of ``evals/gate.yaml``, or of a file of one's own, and compares every estimate with the baseline.
A measure fails where the interval of its difference is wholly on the worse side: with few cases only a large loss is
one. All intervals together have 95 % (Bonferroni): of a hundred measures five would fail by chance at 95 % each, and so
would most runs. The exit status is 1 then. Finished evaluations are kept in ``--out`` and not run again.
"""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Any, NamedTuple

import typer

from egosrag.console import Progress
from egosrag.errors import SettingsError
from evals.common.command import AsJson, run
from evals.common.estimates import percent, proportion
from evals.common.stats import Z95

ROOT = Path(__file__).resolve().parents[1]
MEASURES = Path(__file__).with_name("gate.yaml")


class Compared(NamedTuple):
    """One measure beside its baseline.

    Attributes:
        name: the path of the estimate in the evaluation's results.
        before: the estimate of the baseline.
        now: the estimate of this run.
        difference: now minus before.
        ci95: its interval; those of all measures together cover 95 %.
        worse: whether the interval is wholly on the worse side.
    """

    name: str
    before: dict[str, Any]
    now: dict[str, Any]
    difference: float
    ci95: tuple[float, float]
    worse: bool


def read_measures(path: Path) -> dict[str, Any]:
    """The commands and the directions of a file of measures.

    Raises:
        SettingsError: it cannot be read, or names no commands of evaluations.
    """
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(
            f"{path} cannot be read as measures: {type(error).__name__}: see evals/gate.yaml"
        ) from error
    commands = data.get("measures") if isinstance(data, dict) else None
    if not isinstance(commands, dict) or not all(
        isinstance(c, str) and c.startswith("evals.") for c in commands.values()
    ):
        raise SettingsError(f"{path} has no measures, NAME: evals.MODULE ARGUMENTS: see evals/gate.yaml")
    return {"measures": commands, "lower": data.get("lower") or [], "ignore": data.get("ignore") or []}


def estimates_in(result: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """The estimates in an evaluation's results, and its shares (0 to 1) beside a number of cases, by their paths."""
    if not isinstance(result, Mapping):
        return
    if isinstance(result.get("value"), int | float) and isinstance(result.get("n"), int):
        yield name, dict(result)
        return
    cases = result.get("n")
    for key, value in result.items():
        path = f"{name} {key}".strip()
        if isinstance(value, float) and 0 <= value <= 1 and isinstance(cases, int) and cases:
            share = proportion(round(value * cases), cases)
            assert share is not None
            yield path, share
        else:
            yield from estimates_in(value, path)


def compare(before: Mapping[str, Any], now: Mapping[str, Any], lower: list[str], ignore: list[str]) -> list[Compared]:
    """Each measure that both have, with the interval of its difference."""
    found = []
    names = [name for name in before if name in now and not set(name.split()) & set(ignore)]
    z = NormalDist().inv_cdf(1 - 0.05 / (2 * max(1, len(names))))
    for name in names:
        words = name.split()
        a, b = before[name], now[name]
        difference = b["value"] - a["value"]
        width = z * math.hypot(_stderr(a), _stderr(b))
        low, high = difference - width, difference + width
        worse = low > 0 if set(words) & set(lower) else high < 0
        found.append(Compared(name, a, b, difference, (low, high), worse))
    return found


def _stderr(estimate: Mapping[str, Any]) -> float:
    """The standard error; of a share that is 0 or 1 from its interval, and not 0."""
    interval = estimate.get("ci95")
    own = float(estimate.get("stderr") or 0.0)
    return max(own, (interval[1] - interval[0]) / (2 * Z95) if interval else own)


def _run(command: str, out: Path, name: str) -> Any:
    """The JSON of one evaluation; kept in ``out`` under its name and command."""
    file = out / f"{name}.{sha256(command.encode()).hexdigest()[:8]}.json"
    if file.is_file():
        return json.loads(file.read_text(encoding="utf-8"))
    module, *arguments = shlex.split(command)
    done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SettingsError(f"{name} failed: run python -m {command} by itself to see why")
    try:
        result = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise SettingsError(f"{name} printed no JSON: add --json to its command in the file of measures") from error
    file.write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")
    return result


def _show(found: list[Compared], missing: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("measure", "n", "before", "now", "difference, 95 % together", "")
    for row in sorted(found, key=lambda row: not row.worse):
        in_percent = 0 <= row.now["value"] <= 1 and 0 <= row.before["value"] <= 1
        before, now = (percent(e) if in_percent else f"{e['value']:.1f}" for e in (row.before, row.now))
        scale = 100 if in_percent else 1
        interval = f"{row.difference * scale:+.0f} ({row.ci95[0] * scale:+.0f} to {row.ci95[1] * scale:+.0f})"
        table.add_row(row.name, str(row.now["n"]), before, now, interval, "WORSE" if row.worse else "")
    console = Console()
    console.print(table)
    worse = sum(row.worse for row in found)
    gone = "".join(f"; {name} is missing" for name in missing)
    console.print(f"{len(found)} measures, {worse} worse than the baseline{gone}", soft_wrap=True)


def command(
    model: Annotated[str, typer.Option(help="As --model of egosrag.")],
    baseline: Annotated[Path, typer.Option(help="JSON file with what was reached before.")],
    write: Annotated[bool, typer.Option("--write", help="Store what is reached now as the baseline.")] = False,
    measures: Annotated[Path, typer.Option(help="YAML file of the evaluations to run.")] = MEASURES,
    out: Annotated[Path | None, typer.Option(help="Folder for finished evaluations.", show_default="runs/gate")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a team's evaluations and compare them with a baseline; exit with 1 where one has become worse."""
    chosen = read_measures(measures)
    if not write and not baseline.is_file():
        raise SettingsError(f"there is no baseline {baseline}: store one with --write")
    folder = out or Path("runs/gate")
    folder.mkdir(parents=True, exist_ok=True)
    now: dict[str, Any] = {}
    with Progress() as progress:
        for number, (name, line) in enumerate(chosen["measures"].items()):
            progress(name, number, len(chosen["measures"]))
            now |= estimates_in(_run(line.replace("{model}", shlex.quote(model)), folder, name), name)
    if write:
        rows = {"model": model, "measures": now}
        baseline.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {baseline}", file=sys.stderr)
        before = now
    else:
        before = json.loads(baseline.read_text(encoding="utf-8")).get("measures", {})
    found = compare(before, now, chosen["lower"], chosen["ignore"])
    missing = [name for name in before if name not in now]
    if as_json:
        print(json.dumps({"compared": [row._asdict() for row in found], "missing": missing}, ensure_ascii=False))
    else:
        _show(found, missing)
    if missing or any(row.worse for row in found):
        raise typer.Exit(1)


if __name__ == "__main__":
    run(command)
