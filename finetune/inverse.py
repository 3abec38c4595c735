"""The report's section 3: does training on (input, output) to instruction help?

    python -m finetune.inverse --config finetune/configs/inverse_mixed.yaml

A forward and an inverse set are made of the same rows. Every arm takes equally many steps, ``epochs`` passes over
``rows`` rows: Normal has the forward set throughout; Inverse-First and -Last have the inverse set in the first or the
last half; Inverse-Mixed shuffles both sets together. Each seed's model goes to ``out/seed-N``; ``out/inverse.json``
has, for each seed, how well instructions are told from outputs, before and after, on trained rows and on others.
"""

from __future__ import annotations

import dataclasses
import json
import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from langchain_core.messages import HumanMessage, SystemMessage

from egosrag.errors import SettingsError, TrainingError
from egosrag.text.language import language_of
from finetune.data.dataset import Counts, note
from finetune.data.rows import read
from finetune.data.shapes import BadRow, Example, shape_of, words
from finetune.trainer.args import SftArgs, _f, command

PROMPTS = {
    "en": ("Write the instruction that this output answers.", "Input: ", "Output: "),
    "zh": ("写出这个输出所回答的指令。", "输入：", "输出："),
}
_NO_MATTER = ("seeds", "resume", "overwrite")  # settings that change nothing in what a seed gives
_SAMPLING_SEED = 0  # one choice of rows for all arms and seeds: they are compared


@dataclass(kw_only=True)
class InverseArgs(SftArgs):
    """Settings of the inverse-data experiment: those of ``finetune.sft`` and the following."""

    arm: Literal["normal", "first", "last", "mixed"] = _f("normal", "which half of the steps, if any, is inverse")
    rows: int = _f(1000, "rows of the forward set, and of the inverse set")
    phases: Literal["one", "two"] = _f(
        "one", "first and last: one schedule over both halves, or two, each with a warm-up and a fresh optimizer"
    )
    seeds: list[int] = _f([1, 2, 3], "one run each; differences of MMLU under a point need several")
    resume: bool = _f(False, "take the seeds that are finished in out as they are, and train the others")
    min_output: int = _f(20, "leave out rows whose output has fewer characters: they do not tell the instruction")
    probe: int = _f(100, "rows that inverse recall is measured on, trained ones and others")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rows < 1 or self.probe < 1 or not self.seeds:
            raise SettingsError("rows and probe must be at least 1 and seeds must name one: mend the configuration")
        if self.max_steps > 0:
            raise SettingsError("the arms are compared at equal steps, so set epochs and rows, not max_steps")
        if self.arm in ("first", "last") and self.epochs % 2:
            raise SettingsError(f"arm {self.arm} has two halves and epochs is {self.epochs:g}: give an even number")


@dataclass(frozen=True)
class Task:
    """One row, to be learned in either direction."""

    where: str
    instruction: str
    input: str
    output: str

    def forward(self, system: str | None) -> Example:
        """(instruction, input) to output."""
        asked = f"{self.instruction}\n{self.input}" if self.input.strip() else self.instruction
        return self._example(asked, self.output, system)

    def inverse(self, system: str | None) -> Example:
        """(input, output) to instruction."""
        ask, given, made = PROMPTS[language_of(self.output)]
        lines = [ask, *([given + self.input] if self.input.strip() else []), made + self.output]
        return self._example("\n".join(lines), self.instruction, system)

    def _example(self, asked: str, answer: str, system: str | None) -> Example:
        opening = (SystemMessage(system),) if system else ()
        return Example(self.where, (*opening, HumanMessage(asked)), answer)


def pick(args: InverseArgs) -> tuple[list[Task], list[Task]]:
    """The rows to train on and the rows to measure on, the same for every arm and seed.

    Raises:
        TrainingError: a column is missing, there are too few usable rows, or (``bad_rows: fatal``) any bad one.
    """
    found: list[Task] = []
    counts = Counts()
    for source in args.data:
        checked = False
        for raw in read(source, args.split):
            counts.rows += 1
            try:
                if raw.value is None:
                    raise BadRow(raw.problem)
                checked = checked or bool(shape_of(set(raw.value), "alpaca", source))
                more = words(raw.value, "input", needed=False)
                task = Task(raw.where, words(raw.value, "instruction"), more, words(raw.value, "output"))
            except BadRow as problem:
                note(f"{raw.where}: {problem}", args, counts)
                continue
            if len(task.output) >= args.min_output:
                found.append(task)
    counts.tell()
    if len(found) < args.rows + args.probe:
        raise TrainingError(
            f"{', '.join(args.data)} has {len(found)} rows with an output of {args.min_output} characters or more, "
            f"but rows + probe is {args.rows + args.probe}: lower one of them"
        )
    chosen = random.Random(_SAMPLING_SEED).sample(found, args.rows + args.probe)
    return chosen[: args.rows], chosen[args.rows :]


def plan(args: InverseArgs, tasks: Sequence[Task], seed: int) -> list[list[Example]]:
    """The rows of a run in their order: one list for each schedule.

    Args:
        args: ``arm``, ``epochs``, ``phases`` and ``system`` are read.
        tasks: the rows to train on.
        seed: of the order; every pass has an order of its own.

    Returns:
        One or two lists whose lengths add up to ``epochs * len(tasks)``.
    """
    order = random.Random(seed)
    forward = [task.forward(args.system) for task in tasks]
    inverse = [task.inverse(args.system) for task in tasks]
    half = int(args.epochs / 2)
    passes = {
        "normal": [forward] * int(args.epochs),
        "first": [inverse] * half + [forward] * half,
        "last": [forward] * half + [inverse] * half,
        "mixed": [forward + inverse] * half + ([forward] if args.epochs % 2 else []),
    }[args.arm]
    shuffled = [order.sample(rows, len(rows)) for rows in passes]
    cuts = [shuffled[:half], shuffled[half:]] if args.phases == "two" and args.arm in ("first", "last") else [shuffled]
    return [[example for rows in part for example in rows] for part in cuts]


def experiment(args: InverseArgs) -> dict[str, Any]:
    """Train and measure every seed.

    Returns:
        What ``out/inverse.json`` holds: ``seeds`` with their measures, ``mean`` and ``sd`` over them.

    Raises:
        TrainingError: see ``finetune.sft``.
    """
    trained, others = pick(args)
    results = [_finished(args, seed) or _one(args, trained, others, seed) for seed in args.seeds]
    if not all(results):
        return {}  # a process that writes nothing
    keys = [key for key in results[0] if key not in ("seed", "before")]
    columns = {key: [result[key] for result in results] for key in keys}
    summary = {
        "arm": args.arm,
        "phases": args.phases,
        "steps": results[0]["steps"],
        "mean": {key: statistics.fmean(values) for key, values in columns.items()},
        "sd": {key: statistics.stdev(values) if len(values) > 1 else None for key, values in columns.items()},
        "seeds": results,
    }
    (Path(args.out) / "inverse.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


def _finished(args: InverseArgs, seed: int) -> dict[str, Any]:
    """What an earlier call measured for ``seed``, where ``resume`` asks for it; empty otherwise."""
    args = _of_seed(args, seed)
    path = Path(args.out) / "run.json"
    if not args.resume or not path.exists():
        return {}
    run = json.loads(path.read_text(encoding="utf-8"))
    now = json.loads(json.dumps(dataclasses.asdict(args)))
    other = sorted(key for key in now if now[key] != run["settings"].get(key) and key not in _NO_MATTER)
    if other:
        raise TrainingError(f"{args.out} was trained with another {other[0]}: give another --out, or --overwrite true")
    return dict(run["recall"])


def _of_seed(args: InverseArgs, seed: int) -> InverseArgs:
    return dataclasses.replace(args, seed=seed, out=str(Path(args.out) / f"seed-{seed}"))


def _one(args: InverseArgs, trained: Sequence[Task], others: Sequence[Task], seed: int) -> dict[str, Any]:
    from transformers import set_seed

    from finetune.data import dataset as data
    from finetune.trainer import folder, model, recall, record, train

    args = _of_seed(args, seed)
    out = Path(args.out)
    folder.prepare(out, resume=False, overwrite=args.overwrite)
    set_seed(seed)
    tokenizer, stops = model.reader(args)
    net = model.load(args, tokenizer, stops)
    probes = {"trained": trained[: args.probe], "others": others}
    before = recall.measure(net, tokenizer, stops, probes, args)
    steps, parts, run = 0, [], None
    for examples in plan(args, trained, seed):
        counts = data.Counts(rows=len(examples))
        found = data.tokenise(examples, args, tokenizer, stops, counts)
        # The passes are laid out already, in their order.
        run = train.run(net, tokenizer, found.rows, _one_pass(args), sequential=True, checkpoints=False)
        steps += run.state.global_step
        parts.append(data.describe(found, args) | {"loss": record.curve(run.state)})
    assert run is not None
    after = recall.measure(net, tokenizer, stops, probes, args)
    partial = train.save(run, out)
    if partial is None:
        return {}
    result = {"seed": seed, "steps": steps, **after, "before": before}
    record.write(
        partial,
        args,
        run.state,
        run.progress,
        dtypes=model.dtypes(net),
        template=record.template_of(tokenizer, args.template),
        schedules=parts,
        recall=result,
    )
    folder.publish(partial, out)
    return result


def _one_pass(args: InverseArgs) -> SftArgs:
    shared = {each.name: getattr(args, each.name) for each in dataclasses.fields(SftArgs)}
    return SftArgs(**{**shared, "epochs": 1.0})


def _run(args: InverseArgs) -> None:
    summary = experiment(args)
    if summary:
        print(json.dumps({key: summary[key] for key in ("arm", "steps", "mean", "sd")}))
        print(f"saved to {args.out}: inverse.json, and a model for each seed", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; see the module docstring."""
    return command(InverseArgs, _run, argv, doc=__doc__)


if __name__ == "__main__":
    sys.exit(main())
