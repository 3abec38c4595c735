"""The multiple-choice tasks of report 2.2: rows of files or of the hub as the option strings to be scored.

Two prompt styles: ``opencompass`` (the default; its ``*_ppl`` configurations, raw text without a chat template) and
``lm-eval`` (the wording of lm-evaluation-harness). A row is read by its columns, so a file in the format of llm-foundry
or HellaSwag-text and a row of the original hub data set give the same item.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from egosrag.errors import SettingsError, SourceError
from egosrag.text.encoding import is_text
from evals.common.records import read_jsonl

PROMPTS = ("opencompass", "lm-eval")
LETTERS = "ABCD"
Row = dict[str, Any]
_NO_YES = ("no", "yes")  # BoolQ's options


@dataclass(frozen=True)
class Item:
    """One question: option ``i`` is the string ``head + "".join(shots) + contexts[i] + endings[i]``.

    Attributes:
        row: Number of the row in its file.
        contexts: What comes before each ending; mostly the same for all options.
        endings: The continuations that are compared.
        choices: The answers as in the data: lm-eval's acc_norm divides by their length in characters.
        gold: Index of the right option.
        group: MMLU's subject; its ``head`` and ``shots`` are the same for all items of the group.
        head: Beginning of the prompt.
        shots: Solved examples.
        suffix: Partial scoring: only the ending counts, because the options are in the middle of the sentence
            (Winogrande).
    """

    row: int
    contexts: tuple[str, ...]
    endings: tuple[str, ...]
    choices: tuple[str, ...]
    gold: int
    group: str = ""
    head: str = ""
    shots: tuple[str, ...] = ()
    suffix: bool = False

    def texts(self, shots: int | None = None) -> list[str]:
        """The option strings with the first ``shots`` solved examples (all of them when None)."""
        lead = self.head + "".join(self.shots[:shots])
        return [lead + context + ending for context, ending in zip(self.contexts, self.endings, strict=True)]


def _options(value: Any) -> tuple[str, ...]:
    """A list of option texts; a text would be taken for a list of its letters.

    Raises:
        TypeError: It is not a list of texts.
    """
    if not isinstance(value, list | tuple) or not value or not all(isinstance(text, str) for text in value):
        raise TypeError(f"{str(value)[:40]} is not a list of options")
    return tuple(value)


def _text(row: Row, name: str) -> str:
    """A column that is a text; written into a prompt, null would be the word None.

    Raises:
        KeyError: There is no such column.
        TypeError: It is not a text.
    """
    value = row[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is not a text")
    return value


def _index(value: Any) -> int:
    """The index of an option: a whole number, or a text of digits.

    Raises:
        TypeError: It is neither.
        ValueError: It is a text without a number.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"{value!r} is not the index of an option")
    return int(value)


def _hellaswag(row: Row, n: int, lm: bool) -> Item:
    if "activity_label" in row:  # the hub's columns, cleaned as lm-eval cleans them
        start, end = _text(row, "ctx_a"), _text(row, "ctx_b").capitalize()
        context = _unbracket(f"{_text(row, 'activity_label')}: {start} {end}")
        endings = tuple(_unbracket(e) for e in _options(row["endings"]))
    else:
        context, endings = _text(row, "ctx"), _options(row["endings"])
    if not lm:  # OpenCompass drops the activity, and with it everything up to a second ": "
        context = context.split(": ", 2)[-1]
    return _one_context(n, context, " " if lm else "\n", endings, _index(row["label"]))


def _unbracket(text: str) -> str:
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def _arc(row: Row, n: int, lm: bool) -> Item:
    if "answerKey" in row:
        choices = _options(row["choices"]["text"])
        gold = _options(row["choices"]["label"]).index(row["answerKey"])
        question = _text(row, "question")
    else:
        choices, gold = _options(row["choices"]), _index(row["gold"])
        question = _text(row, "query").removeprefix("Question: ")
    context = f"Question: {question}\nAnswer:"
    return _one_context(n, context if lm else context + " ", " " if lm else "\n", choices, gold)


def _boolq(row: Row, n: int, lm: bool) -> Item:
    if "passage" in row:
        query = f"{_text(row, 'passage')}\nQuestion: {_text(row, 'question').removesuffix('?')}?"
        answer = row["answer"] if "answer" in row else row["label"]
    else:
        query, answer = _text(row, "query").removeprefix("Passage: "), row["gold"]
    gold = _no_or_yes(answer, _options(row.get("choices", _NO_YES)))
    if lm:
        return _one_context(n, query + "\nAnswer:", " ", _NO_YES, gold)
    return _one_context(n, query, "\n", ("No", "Yes"), gold)


def _no_or_yes(answer: Any, choices: tuple[str, ...]) -> int:
    """0 for no and 1 for yes, of a truth value, or of an index of the row's choices in their own order.

    Raises:
        ValueError: The choices are not no and yes, or have no such index.
    """
    names = [choice.strip().lower() for choice in choices]
    if sorted(names) != list(_NO_YES):
        raise ValueError(f"the choices {names} are not no and yes")
    index = names.index(_NO_YES[answer]) if isinstance(answer, bool) else _index(answer)
    if index not in (0, 1):
        raise ValueError(f"there is no option {index}")
    return _NO_YES.index(names[index])


def _winogrande(row: Row, n: int, lm: bool) -> Item:
    if "sentence" in row:
        before, after = row["sentence"].split("_", 1)
        contexts: tuple[str, ...] = (before + row["option1"], before + row["option2"])
        gold, rest = _index(row["answer"]) - 1, after.strip()
    else:
        contexts, rest, gold = _options(row["context_options"]), _text(row, "continuation"), _index(row["gold"])
    # lm-eval always adds its delimiter; OpenCompass fills the blank, so a full stop follows without a space.
    ending = (" " if lm or rest[:1].isalnum() else "") + rest
    return Item(n, contexts, (ending,) * len(contexts), (rest,) * len(contexts), gold, suffix=True)


def _one_context(n: int, context: str, join: str, choices: tuple[str, ...], gold: int) -> Item:
    if join == "\n":  # the line break belongs to the prompt, as OpenCompass joins the turns of a dialogue
        return Item(n, (context + join,) * len(choices), choices, choices, gold)
    return Item(n, (context,) * len(choices), tuple(join + c for c in choices), choices, gold)


_READERS: dict[str, Callable[[Row, int, bool], Item]] = {
    "hellaswag": _hellaswag,
    "arc_easy": _arc,
    "arc_challenge": _arc,
    "boolq": _boolq,
    "winogrande": _winogrande,
}
_HUB = {  # task: (data set, configuration, split)
    "hellaswag": ("Rowan/hellaswag", None, "validation"),
    "arc_easy": ("allenai/ai2_arc", "ARC-Easy", "test"),
    "arc_challenge": ("allenai/ai2_arc", "ARC-Challenge", "test"),
    "boolq": ("google/boolq", None, "validation"),
    "winogrande": ("allenai/winogrande", "winogrande_xl", "validation"),
    "mmlu": ("cais/mmlu", "all", "test"),
}
TASKS = tuple(_HUB)


def task_of(name: str) -> str:
    """The canonical name of a task: ``arc-c`` and ``ARC_Challenge`` are ``arc_challenge``.

    Raises:
        SettingsError: There is no such task.
    """
    key = name.lower().replace("-", "_")
    key = {"arc_e": "arc_easy", "arc_c": "arc_challenge"}.get(key, key)
    if key not in TASKS:
        raise SettingsError(f"there is no task {name}: give one of {', '.join(TASKS)}")
    return key


def parse_sources(arguments: Sequence[str]) -> dict[str, str]:
    """``TASK=FILE`` arguments as a mapping.

    Raises:
        SettingsError: An argument is not TASK=FILE, or its task is unknown or given twice.
    """
    sources: dict[str, str] = {}
    for argument in arguments:
        name, equals, source = argument.partition("=")
        if not equals or not source:
            raise SettingsError(f"{argument} is not TASK=FILE: write, for example, hellaswag=hellaswag.jsonl")
        task_of(name)
        if name in sources:
            raise SettingsError(f"{name} is given twice: give each task one file")
        sources[name] = source
    return sources


def load_task(name: str, source: str, *, prompts: str = "opencompass", limit: int | None = None) -> list[Item]:
    """The items of a task, in file order; MMLU subject by subject.

    Args:
        name: One of ``TASKS``, or a spelling that ``task_of`` knows.
        source: A JSONL file (MMLU: a folder with dev/ and test/ of CSV files), or ``hub`` for the original data set.
        prompts: ``opencompass`` or ``lm-eval``.
        limit: Maximum number of rows, from the first on; for MMLU spread over the subjects.

    Raises:
        SettingsError: Unknown task or prompt style.
        SourceError: The file is missing or has a row that is not a row of this task.
    """
    task = task_of(name)
    if prompts not in PROMPTS:
        raise SettingsError(f"unknown prompt style {prompts}: give one of {', '.join(PROMPTS)}")
    lm = prompts == "lm-eval"
    if task == "mmlu":
        return _spread(list(_mmlu(source, lm)), limit)
    items = []
    for n, row in enumerate(_hub(task) if source == "hub" else read_jsonl(Path(source))):
        if limit is not None and n >= limit:
            break
        try:
            item = _READERS[task](row, n, lm)
            _options((*item.contexts, *item.endings))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SourceError(f"{source}: row {n + 1} is not a row of {task} ({error!r}): check --data") from error
        if not 0 <= item.gold < len(item.choices):
            raise SourceError(f"{source}: row {n + 1} has no option {item.gold}: check its label")
        items.append(item)
    if not items:
        raise SourceError(f"{source} has no rows: give the data of {task}")
    return items


def _hub(task: str, split: str | None = None) -> Iterator[Row]:
    from datasets import load_dataset

    path, config, own = _HUB[task]
    try:
        yield from load_dataset(path, config, split=split or own)
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be loaded from the hub: give a file, {task}=FILE ({error})") from error


def _mmlu(source: str, lm: bool) -> Iterator[Item]:
    dev, test = (_mmlu_rows(source, part) for part in ("dev", "test"))
    row = 0
    for subject in sorted(test):
        topic = subject.replace("_", " ")
        # The two spaces are OpenCompass's.
        head = f"The following are multiple choice questions (with answers) about {'' if lm else ' '}{topic}.\n\n"
        shots = tuple(f"{_question(q, lm)} {LETTERS[gold]}\n\n" for q, gold in dev.get(subject, [])[:5])
        if len(shots) < 5:
            raise SourceError(f"{source}: {subject} has {len(shots)} of the 5 solved examples: give its dev rows")
        for question, gold in test[subject]:
            contexts, endings = (_question(question, lm),) * 4, tuple(f" {letter}" for letter in LETTERS)
            yield Item(row, contexts, endings, tuple(LETTERS), gold, group=subject, head=head, shots=shots)
            row += 1


def _question(cells: list[str], lm: bool) -> str:
    question = cells[0].strip() if lm else cells[0]
    lines = (f"{letter}. {cell}" for letter, cell in zip(LETTERS, cells[1:5], strict=True))
    return "\n".join([question, *lines, "Answer:"])


def _mmlu_rows(source: str, part: str) -> dict[str, list[tuple[list[str], int]]]:
    rows: dict[str, list[tuple[list[str], int]]] = {}
    if source == "hub":
        for n, r in enumerate(_hub("mmlu", part), 1):
            try:
                cells, gold = [_text(r, "question"), *_options(r["choices"])], _index(r["answer"])
                if len(cells) != 5 or gold not in range(4):
                    raise ValueError("it has not four options, or no such answer")
            except (KeyError, TypeError, ValueError) as error:
                raise SourceError(f"the hub's mmlu: row {n} of {part} is not a question ({error!r})") from error
            rows.setdefault(r["subject"], []).append((cells, gold))
        return rows
    files = sorted(Path(source, part).glob(f"*_{part}.csv"))
    if not files:
        raise SourceError(f"{source} has no {part}/SUBJECT_{part}.csv: give mmlu=FOLDER with dev and test")
    for path in files:
        for n, cells in _csv_rows(path):
            if n == 1 and cells[-1] == "answer":
                continue
            answer = cells[-1].strip()
            if len(cells) != 6 or answer not in (*LETTERS, "0", "1", "2", "3"):
                raise SourceError(f"{path}: line {n} is not question, four options and answer: check the file")
            gold = LETTERS.index(answer) if answer in LETTERS else int(answer)
            rows.setdefault(path.stem.removesuffix(f"_{part}"), []).append((cells[:5], gold))
    return rows


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file that are not empty, each with its line.

    Raises:
        SourceError: The file cannot be read, or a line is not CSV or not UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            lines = csv.reader(file)
            for cells in lines:
                if not is_text(cells):
                    raise SourceError(f"{path}: line {lines.line_num} has bytes that are not UTF-8: convert the file")
                if cells:
                    yield lines.line_num, cells
    except csv.Error as error:
        raise SourceError(f"{path}: line {lines.line_num} is not CSV ({error}): check the file") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror}): check the file") from error


def _spread(items: list[Item], limit: int | None) -> list[Item]:
    """``limit`` items spread evenly over the subjects, so that a small sample represents the whole task."""
    if limit is None or limit >= len(items):
        return items
    rank: dict[str, int] = {}
    order = []
    for item in items:
        rank[item.group] = rank.get(item.group, -1) + 1
        order.append((rank[item.group], item.row))
    selected = {row for _, row in sorted(order)[:limit]}
    return [item for item in items if item.row in selected]
