"""Whether the turns that answer a question are among those that the dynamic memory recalls.

any@k: at least one evidence turn is among the k best; all@k: every one is; tokens@k: estimated tokens of those k in a
prompt.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

from egosrag.console import Progress
from egosrag.models.tokens import approximate_tokens
from egosrag.prompts.render import recalled_line
from egosrag.rag.index.vectors import Embedder
from egosrag.rag.retrieval.turn_memory import Recalled, TurnMemory
from egosrag.text.language import language_of
from evals.common import experiment
from evals.common.estimates import estimate, percent
from evals.common.records import Record, Records, measure_values
from evals.memory.conversations import CATEGORIES, Conversation, Question

ANY_DEPTHS = (1, 3, 5, 10)
ALL_DEPTHS = (5, 10)  # also of tokens@k
_LONG = 100  # turns from which on embedding a conversation takes seconds, and shows its own progress
_LISTED = 20  # conversations that the table has a line each for


def score(evidence: Collection[str], recalled: Sequence[str]) -> dict[str, float]:
    """any@k and all@k of one question, each 0 or 1.

    Args:
        evidence: Ids of the turns that answer it.
        recalled: Ids of the recalled turns, best first.
    """
    measures, ids = {}, set(evidence)
    for k in ANY_DEPTHS:
        top = set(recalled[:k])
        measures[f"any@{k}"] = float(bool(ids & top))
        if k in ALL_DEPTHS:
            measures[f"all@{k}"] = float(ids <= top)
    return measures


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
        "evidence": list(question.evidence),
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


def show(records: Sequence[Record]) -> None:
    """Print the table, with a line for each conversation where there are few."""
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
