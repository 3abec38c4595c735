"""Build the training data: rows of all sources to token ids and labels, with counts of used and skipped rows."""

from __future__ import annotations

import hashlib
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from egosrag.errors import TrainingError
from finetune.data.args import DataArgs
from finetune.data.conversations import chatml, sharegpt
from finetune.data.roleplay import Cast, load_cast, roleplay_examples
from finetune.data.rows import RawRow, read_rows
from finetune.data.shapes import BadRow, Example, ShapeDetector, alpaca, text
from finetune.data.tokenization import IGNORED, StopTokens, tokenize

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

SHAPES = {"alpaca": alpaca, "sharegpt": sharegpt, "chatml": chatml, "text": text}


@dataclass
class Counts:
    """What became of the rows; part of ``run.json``.

    Attributes:
        rows: rows read.
        examples: examples made of them; a role-play row makes one per line of the role.
        truncated: examples whose prompt was truncated to ``max_length``.
        tokens: tokens of all examples.
        loss_tokens: tokens with a loss.
        max_turns: questions of the longest conversation; 0 if all rows are documents.
        left_out: what of the used rows is not learned, and how often: greetings, empty exchanges, ...
        skipped: location and reason of each unusable row.
    """

    rows: int = 0
    examples: int = 0
    truncated: int = 0
    tokens: int = 0
    loss_tokens: int = 0
    max_turns: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """One line for the console."""
        return (
            f"{self.rows} rows, {self.examples} examples, {self.tokens} tokens ({self.loss_tokens} with a loss), "
            f"{self.truncated} truncated, {len(self.skipped)} skipped"
            + "".join(f"; left out: {number} {name}" for name, number in sorted(self.left_out.items()))
        )

    def skip(self, problem: str, args: DataArgs) -> None:
        """Count an unusable row.

        Raises:
            TrainingError: the settings make unusable rows fatal.
        """
        if args.bad_rows == "fatal":
            raise TrainingError(f"{problem}; correct the row, or leave such rows out with --bad_rows skip")
        self.skipped.append(problem)

    def print_skipped(self) -> None:
        """Print the first skipped rows, one line each, on standard error."""
        for problem in self.skipped[:5]:
            print(f"skipped: {problem}", file=sys.stderr)
        if len(self.skipped) > 5:
            print(f"skipped: {len(self.skipped) - 5} more rows", file=sys.stderr)


@dataclass(frozen=True)
class TrainingData:
    """Tokenized rows.

    Attributes:
        rows: a data set with the columns input_ids and labels: lists of int, of equal length within a row.
        counts: what became of the source rows.
        sha256: hash over all token ids and labels.
    """

    rows: Dataset
    counts: Counts
    sha256: str

    @property
    def single_turn(self) -> bool | None:
        """Whether every prompt has one user message only; None for documents, which have none.

        Role-play rows are single-turn however long their conversation is: Generate renders it into one user message, in
        training as in serving (report 7.2.4).
        """
        return self.counts.max_turns == 1 if self.counts.max_turns else None

    def record(self, args: DataArgs) -> dict[str, Any]:
        """The data's part of ``run.json``."""
        counts = self.counts
        return {
            "sources": args.data,
            "sha256": self.sha256,
            "rows": counts.rows,
            "examples": counts.examples,
            "tokens": counts.tokens,
            "learned": counts.loss_tokens,
            "truncated": counts.truncated,
            "max_turns": counts.max_turns,
            "left_out": dict(counts.left_out),
            "bad": len(counts.skipped),
            "bad_rows": counts.skipped[:100],
        }


def load_data(args: DataArgs, tokenizer: PreTrainedTokenizerBase, stops: StopTokens, prompts: str = "") -> TrainingData:
    """Read, render and tokenize all sources in ``args.data``.

    Args:
        args: the settings of the data.
        tokenizer: of the model that is trained.
        stops: the tokens that end a reply and a document.
        prompts: the set of prompts of the model that is trained, for role-play rows.

    Raises:
        TrainingError: no such source, a missing column, no usable row, or (``bad_rows: fatal``) any unusable row.
    """
    counts = Counts()
    data = tokenize_examples(read_examples(args, counts, prompts), args, tokenizer, stops, counts)
    counts.print_skipped()
    print(counts.summary(), file=sys.stderr)
    return data


def read_examples(args: DataArgs, counts: Counts, prompts: str = "") -> Iterator[Example]:
    """The examples of all sources in order; unusable rows are counted in ``counts``, or fatal.

    Raises:
        TrainingError: see ``load_data``.
    """
    cast = load_cast(args.profiles, args.role, args.quote, prompts)
    for source in args.data:
        shapes = ShapeDetector(args.shape, source)
        for row in read_rows(source, args.split):
            if args.max_rows is not None and counts.rows >= args.max_rows:
                return
            counts.rows += 1
            try:
                if row.columns is None:
                    raise BadRow(row.problem)
                shape = shapes.detect(row.columns.keys())
                yield from _examples_of(row, row.columns, shape, args, cast)
            except BadRow as problem:
                counts.skip(f"{row.location}: {problem}", args)


def _examples_of(row: RawRow, columns: dict[str, Any], shape: str, args: DataArgs, cast: Cast) -> list[Example]:
    if shape == "roleplay":
        return roleplay_examples(columns, row.location, cast)
    return SHAPES[shape](columns, row.location, args.system)


def tokenize_examples(
    examples: Iterable[Example], args: DataArgs, tokenizer: PreTrainedTokenizerBase, stops: StopTokens, counts: Counts
) -> TrainingData:
    """Token ids and labels of the examples; updates ``counts``.

    Raises:
        TrainingError: no example is usable.
    """
    from datasets import Dataset

    digest = hashlib.sha256()
    columns: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
    for example in examples:
        try:
            rows, truncated, unlabelled = tokenize(example, args, tokenizer, stops)
        except BadRow as problem:
            counts.skip(f"{example.location}: {problem}", args)
            continue
        counts.examples += 1
        counts.truncated += truncated
        counts.left_out.update(example.left_out)
        if unlabelled:
            counts.left_out["earlier replies that the template rewrites"] += unlabelled
        counts.max_turns = max(counts.max_turns, example.turns)
        for ids, labels in rows:
            columns["input_ids"].append(ids)
            columns["labels"].append(labels)
            counts.tokens += len(ids)
            counts.loss_tokens += sum(label != IGNORED for label in labels[1:])
            digest.update(array("q", ids).tobytes() + array("q", labels).tobytes())
    if not columns["input_ids"]:
        reason = f": {counts.skipped[0]}" if counts.skipped else ""
        raise TrainingError(f"{', '.join(args.data)} has no usable row out of {counts.rows}{reason}; correct the data")
    return TrainingData(Dataset.from_dict(columns), counts, digest.hexdigest())
