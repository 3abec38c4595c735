"""From rows to token ids and labels: what is learned, what is only read, what does not fit.

Prompts are encoded by ``egosrag.prompts.encode``, which serving uses too, so a model is trained on exactly the
tokens that it will be given.
"""

from __future__ import annotations

import hashlib
import sys
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from egosrag.errors import TrainingError
from egosrag.prompts.encode import encode, encode_text
from finetune import roleplay
from finetune.args import SftArgs
from finetune.rows import Raw, read
from finetune.shapes import SHAPES, BadRow, Example, shape_of

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

IGNORED = -100


@dataclass(frozen=True)
class Stops:
    """The tokens that end what is learned: ``turn`` a reply, ``text`` a document; equal where there is one only."""

    turn: int
    text: int


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
    for problem in counts.bad[:5]:
        print(f"not usable: {problem}", file=sys.stderr)
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
                _bad(f"{raw.where}: {problem}", args, counts)


def _examples(raw: Raw, shape: str, args: SftArgs, cast: roleplay.Cast) -> list[Example]:
    row = raw.value or {}
    if shape == "roleplay":
        return roleplay.examples(row, raw.where, cast)
    return SHAPES[shape](row, raw.where, args.system)


def _bad(problem: str, args: SftArgs, counts: Counts) -> None:
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
            _bad(f"{example.where}: {problem}", args, counts)
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
    ids, labels, cut = _fit(example, args, tokenizer, stops)
    counts.truncated += cut
    yield ids, list(ids) if args.loss == "all" else labels


def _fit(
    example: Example, args: SftArgs, tokenizer: PreTrainedTokenizerBase, stops: Stops
) -> tuple[list[int], list[int], bool]:
    """Ids and labels within ``max_length``; what is over goes from the oldest turns, then from the question."""
    prompt, cut = list(example.prompt), False
    answer = [*encode_text(tokenizer, example.answer), *([stops.turn] if example.closed else [])]
    ids, labels = _prompt(prompt, args, tokenizer, stops)
    while len(ids) + len(answer) > args.max_length and (shorter := _without_oldest(prompt)):
        prompt, cut = shorter, True
        ids, labels = _prompt(prompt, args, tokenizer, stops)
    over = len(ids) + len(answer) - args.max_length
    if over > 0:
        head = _head(prompt, ids, args, tokenizer)
        if head + over >= len(ids):
            raise BadRow(f"the answer's {len(answer)} tokens leave the prompt no room in max_length {args.max_length}")
        over += _to_line_end(ids[head + over :], tokenizer)
        del ids[head : head + over], labels[head : head + over]
        cut = True
    return ids + answer, labels + answer, cut


def _prompt(
    prompt: list[BaseMessage], args: SftArgs, tokenizer: PreTrainedTokenizerBase, stops: Stops
) -> tuple[list[int], list[int]]:
    """The prompt's ids, with labels at the assistant's earlier replies."""
    whole = encode(tokenizer, prompt, template=args.template)
    labels = [IGNORED] * len(whole)
    for n, message in enumerate(prompt[:-1]):
        if not isinstance(message, AIMessage):
            continue
        start = len(encode(tokenizer, prompt[:n], template=args.template))
        reply = [*encode_text(tokenizer, str(message.content)), stops.turn]
        # A template may rewrite history (drop old reasoning, say); then the reply is no longer there to be learned.
        if whole[start : start + len(reply)] == reply:
            labels[start : start + len(reply)] = reply
    return whole, labels


def _without_oldest(prompt: list[BaseMessage]) -> list[BaseMessage]:
    """The prompt without its oldest question and reply; empty when it has one question only."""
    asked = [n for n, message in enumerate(prompt) if isinstance(message, HumanMessage)]
    return prompt[: asked[0]] + prompt[asked[1] :] if len(asked) > 1 else []


def _head(prompt: list[BaseMessage], ids: list[int], args: SftArgs, tokenizer: PreTrainedTokenizerBase) -> int:
    """How many ids stand before the question's own text: the system prompt and the template's marks."""
    emptied = [HumanMessage("") if isinstance(message, HumanMessage) else message for message in prompt]
    same = 0
    for one, other in zip(ids, encode(tokenizer, emptied, template=args.template), strict=False):
        if one != other:
            break
        same += 1
    return same


def _to_line_end(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> int:
    """How many more ids to cut so that the rest opens with a whole line; 0 when no line ends soon."""
    special = set(tokenizer.all_special_ids)
    for n, token in enumerate(ids[:128], 1):
        if token in special:
            break
        if "\n" in tokenizer.decode([token]):
            return n
    return 0


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
