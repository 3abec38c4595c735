"""From rows to token ids and labels, with a count of what became of them."""

from __future__ import annotations

import hashlib
import sys
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from egosrag.errors import TrainingError
from egosrag.prompts.encode import encode_text
from finetune.data import roleplay
from finetune.data.fit import IGNORED, Stops, fit
from finetune.data.rows import Raw, read
from finetune.data.shapes import SHAPES, BadRow, Example, shape_of
from finetune.trainer.args import SftArgs

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase


@dataclass
class Counts:
    """What became of the rows; goes into the run record."""

    rows: int = 0
    examples: int = 0
    truncated: int = 0
    tokens: int = 0
    learned: int = 0
    bad: list[str] = field(default_factory=list)

    def line(self) -> str:
        """One line for whoever watches the run."""
        return (
            f"{self.rows} rows, {self.examples} examples, {self.tokens} tokens ({self.learned} learned), "
            f"{self.truncated} cut to fit, {len(self.bad)} not usable"
        )

    def tell(self) -> None:
        """The first rows that cannot be used, a line each on standard error."""
        for problem in self.bad[:5]:
            print(f"not usable: {problem}", file=sys.stderr)
        if len(self.bad) > 5:
            print(f"not usable: {len(self.bad) - 5} more rows", file=sys.stderr)


@dataclass(frozen=True)
class Data:
    """``rows`` has the columns input_ids and labels, lists of int of one length; ``sha256`` is over all of them."""

    rows: Dataset
    counts: Counts
    sha256: str


def load(args: SftArgs, tokenizer: PreTrainedTokenizerBase, stops: Stops) -> Data:
    """Read, render and tokenise everything that ``args.data`` names.

    Args:
        args: the run's settings.
        tokenizer: of the model that is trained.
        stops: the tokens that end a reply and a document.

    Raises:
        TrainingError: no such source, a missing column, no usable row, or (``bad_rows: fatal``) any bad row.
    """
    counts = Counts()
    data = tokenise(examples(args, counts), args, tokenizer, stops, counts)
    counts.tell()
    print(counts.line(), file=sys.stderr)
    return data


def examples(args: SftArgs, counts: Counts) -> Iterator[Example]:
    """The examples of all sources in order; bad rows are noted in ``counts``, or fatal.

    Raises:
        TrainingError: see ``load``.
    """
    cast = roleplay.load_cast(args.profiles, args.role, args.quote)
    for source in args.data:
        shape = None
        for raw in read(source, args.split):
            if args.max_rows is not None and counts.rows >= args.max_rows:
                return
            counts.rows += 1
            try:
                if raw.value is None:
                    raise BadRow(raw.problem)
                shape = shape or shape_of(set(raw.value), args.shape, source)
                yield from _examples(raw, shape, args, cast)
            except BadRow as problem:
                note(f"{raw.where}: {problem}", args, counts)


def _examples(raw: Raw, shape: str, args: SftArgs, cast: roleplay.Cast) -> list[Example]:
    row = raw.value or {}
    if shape == "roleplay":
        return roleplay.examples(row, raw.where, cast)
    return SHAPES[shape](row, raw.where, args.system)


def note(problem: str, args: SftArgs, counts: Counts) -> None:
    """Count a bad row.

    Raises:
        TrainingError: bad rows are fatal.
    """
    if args.bad_rows == "fatal":
        raise TrainingError(f"{problem}; mend the row, or leave such rows out with --bad_rows skip")
    counts.bad.append(problem)


def tokenise(
    found: Iterable[Example], args: SftArgs, tokenizer: PreTrainedTokenizerBase, stops: Stops, counts: Counts
) -> Data:
    """Token ids and labels of the examples; fills ``counts``.

    Raises:
        TrainingError: none is left.
    """
    from datasets import Dataset

    digest = hashlib.sha256()
    columns: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
    for example in found:
        try:
            pieces = list(_pieces(example, args, tokenizer, stops, counts))
        except BadRow as problem:
            note(f"{example.where}: {problem}", args, counts)
            continue
        counts.examples += 1
        for ids, labels in pieces:
            columns["input_ids"].append(ids)
            columns["labels"].append(labels)
            counts.tokens += len(ids)
            counts.learned += sum(label != IGNORED for label in labels[1:])
            digest.update(array("q", ids).tobytes() + array("q", labels).tobytes())
    if not columns["input_ids"]:
        why = f": {counts.bad[0]}" if counts.bad else ""
        raise TrainingError(f"{', '.join(args.data)} has no usable row out of {counts.rows}{why}; mend the data")
    return Data(Dataset.from_dict(columns), counts, digest.hexdigest())


def _pieces(
    example: Example, args: SftArgs, tokenizer: PreTrainedTokenizerBase, stops: Stops, counts: Counts
) -> Iterator[tuple[list[int], list[int]]]:
    if not example.prompt:  # a document: all of it, in windows
        ids = [*encode_text(tokenizer, example.answer), stops.text]
        for at in range(0, len(ids), args.max_length):
            window = ids[at : at + args.max_length]
            if len(window) > 1:  # a single token predicts nothing
                yield window, list(window)
        return
    ids, labels, cut = fit(example, args, tokenizer, stops)
    counts.truncated += cut
    yield ids, list(ids) if args.loss == "all" else labels


def describe(data: Data, args: SftArgs) -> dict[str, Any]:
    """The data's part of the run record."""
    counts = data.counts
    return {
        "sources": args.data,
        "sha256": data.sha256,
        **{key: getattr(counts, key) for key in ("rows", "examples", "tokens", "learned", "truncated")},
        "bad": len(counts.bad),
        "bad_rows": counts.bad[:100],
    }
