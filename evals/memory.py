"""Measure the dynamic memory: are the turns that answer a question among the first 5, 10 recalled?

python -m evals.memory --conversations ../shared/data/locomo --json

LoCoMo files, turn level: any@k, at least one evidence turn is among k recalled; all@k, every one is. Questions of
category 5 have no answer and are left out.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from egosrag.console import Progress, print_json
from egosrag.errors import EgosRagError, SourceError
from egosrag.rag.dense import MINILM, Embedder, load_embedder
from egosrag.rag.memory import TurnMemory
from egosrag.schema import Turn

DEPTHS = (5, 10)
CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop"}
_TURN_ID = re.compile(r"D:?(\d+):(\d+)")  # the data also has "D:11:26", "D30:05" and two ids in one string


class Question(NamedTuple):
    """A question, its category (1 to 4) and the ids of the turns that answer it."""

    text: str
    category: int
    evidence: frozenset[str]


class Conversation(NamedTuple):
    """A LoCoMo file: its turns in order, the date of each by id, and its questions that can be judged."""

    name: str
    turns: list[Turn]
    when: dict[str, str]
    questions: list[Question]


class Judged(NamedTuple):
    """What was recalled for a question: turn ids, best first, and the milliseconds that it took."""

    conversation: str
    question: Question
    recalled: list[str]
    query_ms: float
    search_ms: float

    def row(self) -> list[float]:
        """any@k and all@k for each depth, as 0 or 1."""
        tops = [frozenset(self.recalled[:depth]) for depth in DEPTHS]
        return [
            float(hit) for top in tops for hit in (bool(self.question.evidence & top), self.question.evidence <= top)
        ]


def read_conversation(path: Path) -> Conversation:
    """A LoCoMo file; the caption of an image stands behind the text of its turn.

    Raises:
        SourceError: the file is no conversation in LoCoMo's form.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        data = {**data, **data.get("conversation", {})}  # the published file nests what these files have flat
        turns, when = list[Turn](), dict[str, str]()
        for name in sorted((k for k in data if re.fullmatch(r"session_\d+", k)), key=lambda k: int(k[8:])):
            for said in data[name]:
                image = f" [image: {said['blip_caption']}]" if said.get("blip_caption") else ""
                turn = Turn(id=_ids(said["dia_id"])[0], speaker=said["speaker"], text=said.get("text", "") + image)
                turns.append(turn)
                when[turn.id] = data.get(f"{name}_date_time", "")
        questions = [
            Question(row["question"], int(row["category"]), frozenset(_ids(*row.get("evidence", ()))) & when.keys())
            for row in data["qa"]
            if int(row["category"]) in CATEGORIES
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise SourceError(f"{path} is not a conversation in LoCoMo's form ({reason}): give its JSON files") from error
    return Conversation(path.stem, turns, when, [question for question in questions if question.evidence])


def _ids(*texts: str) -> list[str]:
    return [f"D{int(session)}:{int(turn)}" for text in texts for session, turn in _TURN_ID.findall(text)]


def read_conversations(folder: Path) -> list[Conversation]:
    """The conversations of a folder, by file name.

    Raises:
        SourceError: there are none, or none has a question that can be judged.
    """
    files = sorted(folder.glob("*.json"))
    if not files:
        raise SourceError(f"{folder} holds no JSON files: give the folder of the LoCoMo conversations")
    found = [read_conversation(file) for file in files]
    if not any(conversation.questions for conversation in found):
        raise SourceError(f"{folder} has no question of category 1 to 4 with known evidence: nothing to measure")
    return found


class _Timed(Embedder):
    """An embedder that tells how long its last question took, so that the search can be timed without it."""

    def __init__(self, inner: Embedder) -> None:
        self._inner, self.seconds = inner, 0.0

    def passages(self, texts: Any, progress: Any = None) -> Any:
        return self._inner.passages(texts, progress)

    def question(self, text: str) -> Any:
        start = time.perf_counter()
        vector = self._inner.question(text)
        self.seconds = time.perf_counter() - start
        return vector


def judge(conversation: Conversation, embedder: Embedder | None, report: Progress) -> list[Judged]:
    """Ask the memory of one conversation all its questions."""
    timed = _Timed(embedder) if embedder else None
    memory = TurnMemory(timed)
    memory.follow(
        conversation.turns, conversation.when, lambda done, total: report(f"embed {conversation.name}", done, total)
    )
    memory.recall("warm up")
    judged = []
    for question in conversation.questions:
        start = time.perf_counter()
        found = memory.recall(question.text, k=max(DEPTHS))
        seconds = time.perf_counter() - start
        ranking = [hit.turn.id for hit in sorted(found, key=lambda hit: -hit.score)]
        search = seconds - (timed.seconds if timed else 0.0)
        judged.append(Judged(conversation.name, question, ranking, 1000 * seconds, 1000 * search))
    return judged


def summary(judged: Iterable[Judged]) -> dict[str, float]:
    """The figures of some questions: n, any@k, all@k and the mean milliseconds of a query, embedding included."""
    rows = list(judged)
    names = [f"{what}@{depth}" for depth in DEPTHS for what in ("any", "all")]
    means = [sum(column) / len(rows) for column in zip(*(row.row() for row in rows), strict=True)]
    rounded = {name: round(mean, 4) for name, mean in zip(names, means, strict=True)}
    return {"n": len(rows), **rounded, "query_ms": round(sum(row.query_ms for row in rows) / len(rows), 2)}


def _print_table(judged: list[Judged]) -> None:
    from rich.console import Console
    from rich.table import Table

    groups = {f"conversation {name}": name for name in dict.fromkeys(row.conversation for row in judged)}
    parts = [(label, [row for row in judged if row.conversation == name]) for label, name in groups.items()]
    parts += [
        (f"{number} {label}", [row for row in judged if row.question.category == number])
        for number, label in CATEGORIES.items()
    ]
    table = Table("", *summary(judged), "search_ms", title="Dynamic memory: evidence turns among those recalled")
    for label, rows in [*parts, ("all", judged)]:
        if rows:
            search = sum(row.search_ms for row in rows) / len(rows)
            table.add_row(label, *(f"{value:g}" for value in summary(rows).values()), f"{search:.2f}")
    Console().print(table)


def _write(path: Path, judged: Iterable[Judged]) -> None:
    try:
        with path.open("w", encoding="utf-8") as out:
            for row in judged:
                question = row.question
                line = {
                    "conversation": row.conversation,
                    "question": question.text,
                    "category": question.category,
                    "evidence": sorted(question.evidence),
                    "recalled": row.recalled,
                }
                out.write(json.dumps(line, ensure_ascii=False) + "\n")
    except OSError as error:
        raise SourceError(f"{path} cannot be written ({error.strerror}): name another file") from error


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m evals.memory", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--conversations", required=True, type=Path, help="folder of LoCoMo JSON files")
    parser.add_argument("--embedder", default=MINILM, help="hub id or folder of an embedder; none: words alone")
    parser.add_argument("--predictions", type=Path, help="JSONL file to write what was recalled for each question")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    options = parser.parse_args(arguments)
    try:
        conversations = read_conversations(options.conversations)
        embedder = load_embedder(None if options.embedder == "none" else options.embedder)
        with Progress() as report:
            judged = [row for conversation in conversations for row in judge(conversation, embedder, report)]
        if options.predictions:
            _write(options.predictions, judged)
    except EgosRagError as error:
        print(f"evals.memory: {error}", file=sys.stderr)
        return 1
    if options.json:
        print_json(summary(judged))
    else:
        _print_table(judged)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
