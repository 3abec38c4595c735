"""What was written by hand to ask pocket: the sample manuals, our six characters, and cards in natural wording.

``natural cards`` were written without a look at the grammar or the code; those under ``tuned`` were read while the
rules were made by which pocket speaks from a card, the others were not.
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
from egosrag.text.sentences import sentences
from evals.common.records import Record
from evals.pocket.cases import conversation_with, declined, holds
from evals.roleplay.data import DATA, subject


class Written(NamedTuple):
    """A family of written questions: how many, and what asks them."""

    name: str
    number: int
    ask: Callable[[], Iterator[Record]]


def _rows(path: Path) -> list[Record]:
    rows: list[Record] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def families(model: Any, alone: Any, language: str) -> list[Written]:
    """The families of a language. ``alone``: the same model, whose words are given as they are ("..._written")."""
    ours = [(subject(row["role"]).card, row) for row in _rows(DATA / f"cards.{language}.json")]
    natural = _rows(DATA / f"natural.{language}.json")
    asked = {"sample cards": ours}
    for name, tuned in (("natural cards", False), ("natural cards, tuned", True)):
        parts = [(Role.model_validate(entry["card"]), entry) for entry in natural if entry["tuned"] is tuned]
        asked[name] = [(role, row) for role, entry in parts for row in entry["questions"]]
    found = [
        Written(f"{name}{end}", len(rows), partial(cards, asked_model, language, rows))
        for name, rows in asked.items()
        for end, asked_model in (("", model), ("_written", alone))
    ]
    questions = _rows(sample(f"manual.{language}.questions.json"))
    return [
        *found,
        Written("sample manual", len(questions), partial(manual, model, sample(f"manual.{language}.pdf"), questions)),
    ]


def manual(model: Any, file: Path, rows: list[Record]) -> Iterator[Record]:
    """Questions to a manual through the engine; beside it the best sentence of the manual by BM25."""
    engine = ManualEngine(ManualIndex.build([file]), model)
    known = [p.text[a:b].strip() for p in engine.index.pages for a, b in sentences(p.text)]
    best = Bm25.build("words", known)
    for row in rows:
        answer = engine.ask(row["question"], row.get("history", ()))
        wanted = set([given] if isinstance(given := row.get("reference", []), str) else given)
        value, hopeless = str(row.get("answer", "")), not wanted
        guess = known[int(best.scores(row["question"]).argmax())]
        yield {
            "asked": row["question"],
            "said": answer.answer,
            "mode": answer.mode,
            "right": answer.refused if hopeless else not answer.refused and holds(answer.answer, value),
            "hopeless": hopeless,
            "refused": answer.refused,
            "passage": bool(wanted & {f"page_{c.page}" for c in answer.citations}),
            "baseline": not hopeless and holds(guess, value),
        }


def cards(model: Any, language: str, rows: list[tuple[Role, Record]]) -> Iterator[Record]:
    """Questions to characters, each in a conversation of its own."""
    for role, row in rows:
        reply = conversation_with(model, role).say(row["question"])
        hopeless, refused = row["answer"] is None, declined(reply.text, language)
        yield {
            "asked": row["question"],
            "said": reply.text,
            "right": refused if hopeless else holds(reply.text, row["answer"]),
            "hopeless": hopeless,
            "refused": refused,
            "closed": reply.stop_reason == "quote",
        }
