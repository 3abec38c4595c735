"""Measure the dynamic memory: are the turns that answer a question among the first 1, 3, 5, 10 recalled?

    python -m evals.memory --conversations locomo/ --json              a folder of LoCoMo's JSON files
    python -m evals.memory --conversations dialogues.jsonl --json      a dialogue and a question a row

A row: {"role", "turns": [{"speaker", "text"}, ...], "question", "evidence": [turn numbers from 0]}; the speaker
"character" is the role. any@k: at least one evidence turn is among the k best; all@k: every one is; tokens@k: estimated
tokens of those k in a prompt. LoCoMo questions of category 5 have no answer and are left out.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from egosrag.console import Progress, print_json
from egosrag.errors import EgosRagError, SourceError
from egosrag.models.tokens import approximate_tokens
from egosrag.prompts.render import recalled_line
from egosrag.rag.index.vectors import MINILM, Embedder, load_embedder
from egosrag.rag.retrieval.turn_memory import Recalled, TurnMemory
from egosrag.schema import Turn
from egosrag.text.encoding import is_text
from egosrag.text.language import language_of
from evals.common import experiment
from evals.common.estimates import estimate, percent
from evals.common.records import Record, Records, measure_values, read_jsonl

ANY_DEPTHS = (1, 3, 5, 10)
ALL_DEPTHS = (5, 10)  # also of tokens@k
CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop"}
_TURN_ID = re.compile(r"D:?(\d+):(\d+)")  # the data also has "D:11:26", "D30:05" and two ids in one string
_LONG = 100  # turns from which on embedding a conversation takes seconds, and shows its own progress
_LISTED = 20  # conversations that the table has a line each for


class Question(NamedTuple):
    """A question, LoCoMo's category of it (1 to 4; None elsewhere) and the ids of the turns that answer it."""

    text: str
    category: int | None
    evidence: frozenset[str]


class Conversation(NamedTuple):
    """A conversation: its turns in order, their dates by turn id, and the questions with known evidence."""

    name: str
    turns: list[Turn]
    dates: dict[str, str]
    questions: list[Question]


def score(evidence: frozenset[str], recalled: Sequence[str]) -> dict[str, float]:
    """any@k and all@k of one question, each 0 or 1.

    Args:
        evidence: Ids of the turns that answer it.
        recalled: Ids of the recalled turns, best first.
    """
    measures = {}
    for k in ANY_DEPTHS:
        top = frozenset(recalled[:k])
        measures[f"any@{k}"] = float(bool(evidence & top))
        if k in ALL_DEPTHS:
            measures[f"all@{k}"] = float(evidence <= top)
    return measures


def read_conversations(path: Path) -> list[Conversation]:
    """The conversations of a folder of LoCoMo files, by file name, or of a JSONL file of dialogues.

    Raises:
        SourceError: There are none, one is malformed, or no question has known evidence.
    """
    if path.is_file():
        conversations = list(read_dialogues(path))
    else:
        files = sorted(path.glob("*.json"))
        if not files:
            raise SourceError(f"{path} has no JSON files: give a folder of LoCoMo conversations, or a JSONL file")
        conversations = [read_locomo(file) for file in files]
    if not any(conversation.questions for conversation in conversations):
        raise SourceError(f"{path} has no question with known evidence (LoCoMo: of category 1 to 4)")
    return conversations


def read_locomo(path: Path) -> Conversation:
    """A LoCoMo file; the caption of an image is appended to the text of its turn.

    Raises:
        SourceError: The file is not a conversation in LoCoMo's format.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not is_text(data):
            raise ValueError("half of a character, \\ud800 to \\udfff")
        data = {**data, **data.get("conversation", {})}  # the published file nests what these files have flat
        turns, dates = list[Turn](), dict[str, str]()
        for name in sorted((k for k in data if re.fullmatch(r"session_\d+", k)), key=lambda k: int(k[8:])):
            for row in data[name]:
                image = f" [image: {row['blip_caption']}]" if row.get("blip_caption") else ""
                turn = Turn(id=_ids(row["dia_id"])[0], speaker=row["speaker"], text=row.get("text", "") + image)
                turns.append(turn)
                dates[turn.id] = data.get(f"{name}_date_time", "")
        questions = [
            Question(row["question"], int(row["category"]), frozenset(_ids(*row.get("evidence", ()))) & dates.keys())
            for row in data["qa"]
            if int(row["category"]) in CATEGORIES
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise SourceError(
            f"{path} is not a conversation in LoCoMo's format ({reason}): give LoCoMo's JSON files, or JSONL"
        ) from error
    return Conversation(path.stem, turns, dates, [question for question in questions if question.evidence])


def _ids(*texts: str) -> list[str]:
    return [f"D{int(session)}:{int(turn)}" for text in texts for session, turn in _TURN_ID.findall(text)]


def read_dialogues(path: Path) -> Iterator[Conversation]:
    """The rows of a JSONL file, a conversation with one question each, named after the file and the row.

    Raises:
        SourceError: The file cannot be read, or a row is malformed.
    """
    for n, row in enumerate(read_jsonl(path), 1):
        try:
            yield _dialogue(f"{path.stem}/{row.get('id', n)}", row)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SourceError(
                f"{path}: row {n} is not a dialogue with a question ({type(error).__name__}: {error}): "
                "give role, turns (speaker, text), question and evidence (turn numbers from 0)"
            ) from error


def _dialogue(name: str, row: Record) -> Conversation:
    names = {"character": row["role"]}
    turns = [
        Turn(id=str(n), speaker=names.get(turn["speaker"], turn["speaker"]), text=turn["text"])
        for n, turn in enumerate(row["turns"])
    ]
    unknown = [number for number in row["evidence"] if number not in range(len(turns))]
    if unknown:
        raise ValueError(f"evidence {unknown[0]!r} is not the number of one of the {len(turns)} turns")
    if not isinstance(row["question"], str):
        raise TypeError("the question is not a text")
    evidence = frozenset(str(number) for number in row["evidence"])
    return Conversation(name, turns, {}, [Question(row["question"], None, evidence)] if evidence else [])


class _TimedEmbedder(Embedder):
    """Measures how long the last question took to embed, so that the search can be timed without it."""

    def __init__(self, inner: Embedder) -> None:
        self._inner, self.seconds = inner, 0.0

    def passages(self, texts: Any, progress: Any = None) -> Any:
        return self._inner.passages(texts, progress)

    def question(self, text: str) -> Any:
        start = time.perf_counter()
        vector = self._inner.question(text)
        self.seconds = time.perf_counter() - start
        return vector


def evaluate(
    conversations: Sequence[Conversation], embedder: Embedder | None, records: Records, progress: Progress
) -> list[Record]:
    """Ask a memory of each conversation all its questions; a record a question.

    Args:
        conversations: What is remembered, and the questions.
        embedder: None searches lexically only.
        records: Records of an earlier run to resume from; receives the new ones.
        progress: Called while a long conversation is embedded, and after each conversation.
    """
    results: list[Record] = []
    total = sum(len(conversation.questions) for conversation in conversations)
    for conversation in conversations:
        results += _evaluate_one(conversation, embedder, records, progress)
        progress("questions", len(results), total)
    return results


def _evaluate_one(
    conversation: Conversation, embedder: Embedder | None, records: Records, progress: Progress
) -> list[Record]:
    content = experiment.digest(conversation.turns, conversation.dates)
    keys = [(conversation.name, n, experiment.digest(content, q)) for n, q in enumerate(conversation.questions, 1)]
    if any(key not in records for key in keys):
        timed = _TimedEmbedder(embedder) if embedder else None
        memory = TurnMemory(timed)

        def embedded(done: int, of: int) -> None:
            if len(conversation.turns) >= _LONG:
                progress(f"embed {conversation.name}", done, of)

        memory.follow(conversation.turns, conversation.dates, embedded)
        memory.recall("warm up")
        for key, question in zip(keys, conversation.questions, strict=True):
            if key not in records:
                records.add(key, _ask(memory, timed, conversation.name, question))
    return [records[key] for key in keys]


def _ask(memory: TurnMemory, timed: _TimedEmbedder | None, conversation: str, question: Question) -> Record:
    start = time.perf_counter()
    hits = memory.recall(question.text, k=max(ANY_DEPTHS))
    seconds = time.perf_counter() - start
    hits = sorted(hits, key=lambda hit: -hit.score)
    recalled, costs = [hit.turn.id for hit in hits], [_tokens(hit) for hit in hits]
    tokens = {f"tokens@{k}": float(sum(costs[:k])) for k in ALL_DEPTHS}
    times = {"query_ms": 1000 * seconds, "search_ms": 1000 * (seconds - (timed.seconds if timed else 0.0))}
    return {
        "conversation": conversation,
        "question": question.text,
        "category": question.category,
        "evidence": sorted(question.evidence),
        "recalled": recalled,
        "measures": {**score(question.evidence, recalled), **tokens, **times},
    }


def _tokens(hit: Recalled) -> int:
    return approximate_tokens(recalled_line(hit.turn, language_of(hit.turn.text), hit.when) + "\n")


def summary(records: Sequence[Record]) -> dict[str, Any]:
    """The means of all measures as one JSON object, with 95 % intervals."""
    means = {name: estimate(measure_values(records, name)) or {} for name in records[0]["measures"]}
    del means["search_ms"]
    values = {name: round(e["value"], 4 if "@" in name else 2) for name, e in means.items()}
    intervals = {n: [round(end, 4) for end in e["ci95"]] for n, e in means.items() if "@" in n and e["ci95"]}
    return {"n": len(records), **values, "ci95": intervals}


def publish(records: Sequence[Record], system: str) -> None:
    """Send the questions to LangSmith as a dataset, and the recalled turns as an experiment.

    Raises:
        SettingsError: LANGSMITH_API_KEY is not set, or LangSmith does not accept the run.
    """
    rows = [
        {"id": "/".join(map(str, r["key"][:2])), "task": CATEGORIES.get(r["category"], ""), "reference": r["evidence"]}
        | {field: r[field] for field in ("conversation", "question")}
        for r in records
    ]
    outputs = [{"recalled": r["recalled"]} for r in records]
    experiment.publish("egosrag-memory", system, rows, outputs, [r["measures"] for r in records])


def _print_table(records: Sequence[Record]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    measures = [name for name in records[0]["measures"] if name != "query_ms"]
    names = list(dict.fromkeys(r["conversation"] for r in records))
    parts = {
        f"conversation {name}": [r for r in records if r["conversation"] == name]
        for name in (names if len(names) <= _LISTED else ())
    }
    parts |= {f"{n} {name}": [r for r in records if r["category"] == n] for n, name in CATEGORIES.items()}
    title = "Dynamic memory: evidence turns among those recalled, % (95 %)"
    table = Table(title=title, box=SIMPLE_HEAD, collapse_padding=True)
    table.add_column("", no_wrap=True)
    for head in ("n", *measures):
        table.add_column(head.replace("@", "\n@").replace("_", "\n"), justify="right", overflow="fold")
    for label, part in {**parts, "all": records}.items():
        if part:
            means = [(name, estimate(measure_values(part, name)) or {}) for name in measures]
            cells = (percent(e) if name[:3] in ("any", "all") else f"{e['value']:.3g}" for name, e in means)
            table.add_row(label, str(len(part)), *cells)
    Console().print(table)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m evals.memory", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--conversations",
        required=True,
        type=Path,
        metavar="DIR|FILE.jsonl",
        help="folder of LoCoMo JSON files, or JSONL of dialogues with a question each",
    )
    parser.add_argument("--embedder", default=MINILM, help="hub id or folder of an embedder; none: lexical search only")
    parser.add_argument("--predictions", type=Path, help="JSONL for the recalled turns, to resume from")
    parser.add_argument("--upload", action="store_true", help="send questions and recalled turns to LangSmith")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    options = parser.parse_args(arguments)
    try:
        conversations = read_conversations(options.conversations)
        records = Records(options.predictions, {"evaluation": "memory", "embedder": options.embedder})
        embedder = load_embedder(None if options.embedder == "none" else options.embedder)
        with Progress() as progress:
            results = evaluate(conversations, embedder, records, progress)
        if options.upload:
            publish(results, f"memory {options.embedder}")
        if options.predictions:
            print(f"wrote {options.predictions}", file=sys.stderr)
    except EgosRagError as error:
        print(f"evals.memory: {error}", file=sys.stderr)
        return 1
    if options.json:
        print_json(summary(results))
    else:
        _print_table(results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
