"""Rows of the inverse-data experiment: each in both directions, selected once, and ordered by arm."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_core.messages import HumanMessage, SystemMessage

from egosrag.errors import TrainingError
from egosrag.text.language import language_of
from finetune.data.dataset import Counts
from finetune.data.rows import read_rows
from finetune.data.shapes import BadRow, Example, ShapeDetector, column_text
from finetune.data.tokenization import StopTokens, tokenize
from finetune.inverse.args import InverseArgs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Request, label of the input and label of the output in an inverse prompt.
INVERSE_PROMPTS = {
    "en": ("Write the instruction that this output answers.", "Input: ", "Output: "),
    "zh": ("写出这个输出所回答的指令。", "输入：", "输出："),
}
_SAMPLING_SEED = 0  # one selection of rows for all arms and seeds, so that they can be compared


@dataclass(frozen=True)
class Task:
    """One Alpaca row, to be trained in either direction."""

    location: str
    instruction: str
    input: str
    output: str

    def forward(self, system: str | None) -> Example:
        """(instruction, input) to output."""
        prompt = f"{self.instruction}\n{self.input}" if self.input.strip() else self.instruction
        return self._example(prompt, self.output, system)

    def inverse(self, system: str | None) -> Example:
        """(input, output) to instruction."""
        request, input_label, output_label = INVERSE_PROMPTS[language_of(self.output)]
        input_lines = [input_label + self.input] if self.input.strip() else []
        prompt = "\n".join([request, *input_lines, output_label + self.output])
        return self._example(prompt, self.instruction, system)

    def _example(self, prompt: str, answer: str, system: str | None) -> Example:
        opening = (SystemMessage(system),) if system else ()
        return Example(self.location, (*opening, HumanMessage(prompt)), answer)


def whole_in_both_directions(
    args: InverseArgs, tokenizer: PreTrainedTokenizerBase, stops: StopTokens
) -> Callable[[Task], bool]:
    """A test of whether a row fits ``max_length`` uncut, forward and inverse."""

    def fits(task: Task) -> bool:
        try:
            done = [
                tokenize(each, args, tokenizer, stops)
                for each in (task.forward(args.system), task.inverse(args.system))
            ]
        except BadRow:
            return False
        return not any(truncated for _, truncated, _ in done)

    return fits


def select_tasks(args: InverseArgs, fits: Callable[[Task], bool] = lambda _: True) -> tuple[list[Task], list[Task]]:
    """Select the rows to train on and the held-out rows, the same for every arm and seed.

    Args:
        args: ``data``, ``rows``, ``probe`` and ``min_output`` are read.
        fits: whether a row can be used in both directions. One that is left out of one direction alone would give the
            arms different numbers of steps.

    Raises:
        TrainingError: a column is missing, there are too few usable rows, or (``bad_rows: fatal``) any unusable row.
    """
    tasks: list[Task] = []
    counts = Counts()
    for source in args.data:
        shapes = ShapeDetector("alpaca", source)
        for row in read_rows(source, args.split):
            counts.rows += 1
            try:
                if row.columns is None:
                    raise BadRow(row.problem)
                shapes.detect(row.columns.keys())
                more = column_text(row.columns, "input", required=False)
                instruction, output = column_text(row.columns, "instruction"), column_text(row.columns, "output")
            except BadRow as problem:
                counts.skip(f"{row.location}: {problem}", args)
                continue
            if len(output) >= args.min_output:
                tasks.append(Task(row.location, instruction, more, output))
    counts.print_skipped()
    if not tasks and counts.skipped:
        raise TrainingError(f"{', '.join(args.data)} has no usable row out of {counts.rows}: {counts.skipped[0]}")
    if len(tasks) < args.rows + args.probe:
        raise TrainingError(
            f"{', '.join(args.data)} has {len(tasks)} rows with an output of {args.min_output} characters or more, "
            f"but rows + probe is {args.rows + args.probe}: lower one of them"
        )
    selected, too_long = list[Task](), 0
    for task in random.Random(_SAMPLING_SEED).sample(tasks, len(tasks)):
        if not fits(task):
            too_long += 1
            continue
        selected.append(task)
        if len(selected) == args.rows + args.probe:
            break
    if too_long:
        print(f"not drawn: {too_long} rows that max_length {args.max_length} would cut", file=sys.stderr)
    if len(selected) < args.rows + args.probe:
        raise TrainingError(
            f"{len(selected)} rows of {', '.join(args.data)} fit max_length {args.max_length} whole in both directions"
            f", but rows + probe is {args.rows + args.probe}: lower one of them, or raise max_length"
        )
    return selected[: args.rows], selected[args.rows :]


def order_examples(args: InverseArgs, tasks: Sequence[Task], seed: int) -> list[list[Example]]:
    """The examples of a run in the order of training: one list for each learning-rate schedule.

    Args:
        args: ``arm``, ``epochs``, ``phases`` and ``system`` are read.
        tasks: the rows to train on.
        seed: of the order; every pass is shuffled anew.

    Returns:
        One or two lists whose lengths add up to ``epochs * len(tasks)``.
    """
    rng = random.Random(seed)
    forward = [task.forward(args.system) for task in tasks]
    inverse = [task.inverse(args.system) for task in tasks]
    half = int(args.epochs / 2)
    passes = {
        "normal": [forward] * int(args.epochs),
        "first": [inverse] * half + [forward] * half,
        "last": [forward] * half + [inverse] * half,
        "mixed": [forward + inverse] * half + ([forward] if args.epochs % 2 else []),
    }[args.arm]
    shuffled = [rng.sample(examples, len(examples)) for examples in passes]
    two_schedules = args.phases == "two" and args.arm in ("first", "last")
    schedules = [shuffled[:half], shuffled[half:]] if two_schedules else [shuffled]
    return [[example for examples in schedule for example in examples] for schedule in schedules]
