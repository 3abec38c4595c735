"""Measure the dynamic memory: are the turns that answer a question among the first 5, 10 recalled?

python -m evals.memory --conversations ../shared/data/locomo --json

LoCoMo files, turn level: any@k, at least one evidence turn is among k recalled; all@k, every one is; tokens@k, what
those k would cost in a prompt, by an estimate. Questions of category 5 have no answer and are left out.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from egosrag.console import Progress, print_json
from egosrag.errors import EgosRagError, SourceError
from egosrag.models.tokens import approximate_tokens
from egosrag.prompts.render import recalled_line
from egosrag.rag.index.vectors import MINILM, Embedder, load_embedder
from egosrag.rag.retrieval.turn_memory import Recalled, TurnMemory
from egosrag.schema import Turn
from egosrag.text.language import language_of
from evals.common import experiment
from evals.common.detectors import estimate, percent
from evals.common.records import Record, Records

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


def measures(evidence: frozenset[str], recalled: Sequence[str]) -> dict[str, float]:
    """any@k and all@k of one question, as 0 or 1, where ``recalled`` are turn ids, best first."""
    tops = {depth: frozenset(recalled[:depth]) for depth in DEPTHS}
    return {
        f"{what}@{depth}": float(hit)
        for depth, top in tops.items()
        for what, hit in (("any", bool(evidence & top)), ("all", evidence <= top))
    }


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


def judge(conversation: Conversation, embedder: Embedder | None, kept: Records, report: Progress) -> list[Record]:
    """Asks the memory of one conversation all its questions; a record a question, those that are kept as they are.

    Args:
        conversation: what is remembered, and asked.
        embedder: gives the vectors; None searches by words alone.
        kept: records to go on from, and to add to.
        report: is told how far it is.
    """
    said = experiment.digest(conversation.turns, conversation.when)
    keys = [(conversation.name, n, experiment.digest(said, q)) for n, q in enumerate(conversation.questions, 1)]
    if any(key not in kept for key in keys):
        timed = _Timed(embedder) if embedder else None
        memory = TurnMemory(timed)
        memory.follow(
            conversation.turns, conversation.when, lambda done, total: report(f"embed {conversation.name}", done, total)
        )
        memory.recall("warm up")
        for key, question in zip(keys, conversation.questions, strict=True):
            if key not in kept:
                kept.add(key, _asked(memory, timed, conversation.name, question))
    return [kept[key] for key in keys]


def _asked(memory: TurnMemory, timed: _Timed | None, conversation: str, question: Question) -> Record:
    start = time.perf_counter()
    found = memory.recall(question.text, k=max(DEPTHS))
    taken = time.perf_counter() - start
    found = sorted(found, key=lambda hit: -hit.score)
    recalled, costs = [hit.turn.id for hit in found], [_tokens(hit) for hit in found]
    tokens = {f"tokens@{depth}": float(sum(costs[:depth])) for depth in DEPTHS}
    times = {"query_ms": 1000 * taken, "search_ms": 1000 * (taken - (timed.seconds if timed else 0.0))}
    return {
        "conversation": conversation,
        "question": question.text,
        "category": question.category,
        "evidence": sorted(question.evidence),
        "recalled": recalled,
        "measures": {**measures(question.evidence, recalled), **tokens, **times},
    }


def _tokens(hit: Recalled) -> int:
    return approximate_tokens(recalled_line(hit.turn, language_of(hit.turn.text), hit.when) + "\n")


def summary(records: Sequence[Record]) -> dict[str, Any]:
    """The figures of some questions: n, any@k, all@k, tokens@k, the mean milliseconds of a query, 95 % intervals."""
    found = {name: estimate(experiment.measured(records, name)) or {} for name in records[0]["measures"]}
    del found["search_ms"]
    values = {name: round(e["value"], 4 if "@" in name else 2) for name, e in found.items()}
    intervals = {n: [round(end, 4) for end in e["ci95"]] for n, e in found.items() if "@" in n and e["ci95"]}
    return {"n": len(records), **values, "ci95": intervals}


def publish(records: Sequence[Record], who: str) -> None:
    """Sends the questions to LangSmith as a dataset, and what was recalled as an experiment on it.

    Raises:
        SettingsError: there is no key, or LangSmith does not take it.
    """
    rows = [
        {"id": "/".join(map(str, r["key"][:2])), "task": CATEGORIES[r["category"]], "reference": r["evidence"]}
        | {field: r[field] for field in ("conversation", "question")}
        for r in records
    ]
    outputs = [{"recalled": r["recalled"]} for r in records]
    experiment.publish("egosrag-memory", who, rows, outputs, [r["measures"] for r in records])


def _print_table(records: Sequence[Record]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    names = [name for name in records[0]["measures"] if name != "query_ms"]
    parts = {
        f"conversation {name}": [r for r in records if r["conversation"] == name]
        for name in dict.fromkeys(r["conversation"] for r in records)
    }
    parts |= {f"{n} {name}": [r for r in records if r["category"] == n] for n, name in CATEGORIES.items()}
    title = "Dynamic memory: evidence turns among those recalled, % (95 %)"
    table = Table(title=title, box=SIMPLE_HEAD, collapse_padding=True)
    table.add_column("", no_wrap=True)
    for head in ("n", *names):
        table.add_column(head.replace("@", "\n@").replace("_", "\n"), justify="right", overflow="fold")
    for label, part in {**parts, "all": records}.items():
        if part:
            found = [(name, estimate(experiment.measured(part, name)) or {}) for name in names]
            cells = (percent(e) if name[:3] in ("any", "all") else f"{e['value']:.3g}" for name, e in found)
            table.add_row(label, str(len(part)), *cells)
    Console().print(table)


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m evals.memory", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--conversations", required=True, type=Path, help="folder of LoCoMo JSON files")
    parser.add_argument("--embedder", default=MINILM, help="hub id or folder of an embedder; none: words alone")
    parser.add_argument("--predictions", type=Path, help="JSONL to keep what was recalled in, and to resume from")
    parser.add_argument("--upload", action="store_true", help="send questions and what was recalled to LangSmith")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    options = parser.parse_args(arguments)
    try:
        conversations = read_conversations(options.conversations)
        kept = Records(options.predictions, {"evaluation": "memory", "embedder": options.embedder})
        embedder = load_embedder(None if options.embedder == "none" else options.embedder)
        with Progress() as report:
            records = [row for conversation in conversations for row in judge(conversation, embedder, kept, report)]
        if options.upload:
            publish(records, f"memory {options.embedder}")
        if options.predictions:
            print(f"wrote {options.predictions}", file=sys.stderr)
    except EgosRagError as error:
        print(f"evals.memory: {error}", file=sys.stderr)
        return 1
    if options.json:
        print_json(summary(records))
    else:
        _print_table(records)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
