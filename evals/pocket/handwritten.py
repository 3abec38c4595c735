"""Handwritten questions for pocket: on the sample manuals, our six characters, and cards in natural wording.

``natural cards`` were written without access to the grammar or the code; those of ``tuned`` were read while the rules
were made by which pocket speaks from a card, the others were not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from egosrag import ManualEngine, ManualIndex
from egosrag.assemble import sample
from egosrag.rag.index.bm25 import Bm25
from egosrag.schema import Role
from egosrag.text.sentences import sentence_spans
from evals.common.records import Record
from evals.pocket.cases import contains, conversation_with, declined
from evals.roleplay.cases import DATA, subject


class Family(NamedTuple):
    """A family of handwritten questions: its name, their number, and a function that asks them."""

    name: str
    number: int
    ask: Callable[[], Iterator[Record]]


def _rows(path: Path) -> list[Record]:
    rows: list[Record] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def families(model: Any, alone: Any, language: str) -> list[Family]:
    """The families of a language. ``alone``: the same model without the pipeline's corrections ("..._written")."""
    ours = [(subject(row["role"]).card, row) for row in _rows(DATA / f"cards.{language}.json")]
    natural = _rows(DATA / f"natural.{language}.json")
    asked = {"sample cards": ours}
    for name, tuned in (("natural cards", False), ("natural cards, tuned", True)):
        parts = [(Role.model_validate(entry["card"]), entry) for entry in natural if entry["tuned"] is tuned]
        asked[name] = [(role, row) for role, entry in parts for row in entry["questions"]]
    found = [
        Family(f"{name}{end}", len(rows), partial(cards, asked_model, language, rows))
        for name, rows in asked.items()
        for end, asked_model in (("", model), ("_written", alone))
    ]
    questions = _rows(sample(f"manual.{language}.questions.json"))
    return [
        *found,
        Family("sample manual", len(questions), partial(manual, model, sample(f"manual.{language}.pdf"), questions)),
    ]


def manual(model: Any, file: Path, rows: list[Record]) -> Iterator[Record]:
    """Questions about a manual through the engine; ``baseline``: the best sentence of the manual by BM25."""
    engine = ManualEngine(ManualIndex.build([file]), model)
    known = [p.text[a:b].strip() for p in engine.index.pages for a, b in sentence_spans(p.text)]
    best = Bm25.build("words", known)
    for row in rows:
        answer = engine.ask(row["question"], row.get("history", ()))
        expected = set([pages] if isinstance(pages := row.get("reference", []), str) else pages)
        value, hopeless = str(row.get("answer", "")), not expected
        guess = known[int(best.scores(row["question"]).argmax())]
        yield {
            "asked": row["question"],
            "said": answer.answer,
            "mode": answer.mode,
            "right": answer.refused if hopeless else not answer.refused and contains(answer.answer, value),
            "hopeless": hopeless,
            "refused": answer.refused,
            "passage": bool(expected & {f"page_{c.page}" for c in answer.citations}),
            "baseline": not hopeless and contains(guess, value),
        }


def cards(model: Any, language: str, rows: list[tuple[Role, Record]]) -> Iterator[Record]:
    """Questions to characters, each in a conversation of its own."""
    for role, row in rows:
        reply = conversation_with(model, role).say(row["question"])
        hopeless, refused = row["answer"] is None, declined(reply.text, language)
        yield {
            "asked": row["question"],
            "said": reply.text,
            "right": refused if hopeless else contains(reply.text, row["answer"]),
            "hopeless": hopeless,
            "refused": refused,
            "closed": reply.stop_reason == "quote",
        }
