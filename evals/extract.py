"""Measure Extract and Summarize without a judge: cards made of texts, and scenes made of conversations.

    python -m evals.extract --model M                    both measures, in both languages
    python -m evals.extract --model M --held-out         texts and conversations that no prompt was tried on
    python -m evals.extract --model M --only card --language zh --records cards.jsonl --json

``card``, on ``evals/data/extract.*.json``: ``facts``, the share of the facts that a text states about a person which
one statement of the card contains; ``sorted``, the share that one under a fitting heading contains; ``supported``, the
share of the statements whose names and numbers, and at least half of whose words, the text has; ``about``, the share of
the statements that are about the person. ``summary``, on ``evals/data/summaries.*.json``: ``kept``, the share of the
names, numbers, dates and promises of a conversation that its scenes contain; ``supported``, the share of the scenes
without a name or number that the conversation lacks; ``length``, that of the scenes over that of the turns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer

from egosrag import assemble, load_chat_model
from egosrag.console import Progress
from egosrag.egos.extract.claims import unsupported_claims
from egosrag.egos.extract.evidence import LABELS, content_terms
from egosrag.egos.summarize import Summarize
from egosrag.egos.view import ConversationView
from egosrag.models.tokens import context_window, count_tokens
from egosrag.rag.documents.load import read_text
from egosrag.schema import Role, Turn
from egosrag.text.named_items import invented_items
from egosrag.text.names import mention_pattern
from evals.common.command import AsJson, Result, finish, run
from evals.common.estimates import estimate, percent
from evals.common.facts import contains, contains_all
from evals.common.models import weight_files
from evals.common.records import Record, Records, measure_values

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).parents[1]
FILES = {"card": "extract", "summary": "summaries"}
MEASURES = {"card": ("facts", "sorted", "supported", "about"), "summary": ("kept", "supported", "length")}
_OTHER_PERSON = re.compile(r"[^\w]*(?:(?:I|I['’]\w+|We|My|Our|You|Your)\b|[我你您咱])")
_PRONOUN = re.compile(r"\b(?:he|she|they|his|her|their|him|them)\b|[他她]", re.IGNORECASE)
_OPENER = re.compile(r"(?:(?:Captain|Aunt|Uncle|Mr|Mrs|Dr)\.? )?([A-Z][a-z]+)\b")


class Case(NamedTuple):
    """A labelled text or conversation: its kind ("card" or "summary"), its language and its row of the data."""

    kind: str
    language: str
    row: Record

    @property
    def key(self) -> tuple[str, str, str]:
        """The key of its record."""
        return (self.kind, self.language, self.row["id"])


def cases(kinds: Sequence[str], languages: Sequence[str], *, held_out: bool) -> list[Case]:
    """The cases of the data.

    Args:
        kinds: "card", "summary".
        languages: "en", "zh".
        held_out: Those that no prompt was tried on, instead of the others.
    """
    found = []
    for kind in kinds:
        for language in languages:
            rows = json.loads((DATA / f"{FILES[kind]}.{language}.json").read_text(encoding="utf-8"))
            found += [Case(kind, language, row) for row in rows if bool(row.get("held_out")) == held_out]
    return found


def extract_card(model: Any, row: Record) -> Record:
    """The card that Extract makes of a row's text, by heading, and its measures."""
    text = row["text"] if "text" in row else read_text(ROOT / row["file"])
    role = assemble.extract_step(model).invoke(([(row["id"], text)], row["name"]))
    card = {heading: [s.text for s in getattr(role, heading)] for heading in LABELS["en"]}
    return {"card": card, "measures": score_card(card, row, text)}


def score_card(card: Mapping[str, Sequence[str]], row: Record, text: str) -> dict[str, float | None]:
    """The measures of a card.

    Args:
        card: The statements under each heading.
        row: ``name``, ``facts`` (each with ``words`` and the headings that it fits ``under``) and ``others``: what the
            text says about others, with the words that make a statement about them clear (``unless``).
        text: The text that it was made of.
    """
    facts = row["facts"]
    placed = [{h for h, statements in card.items() if _any_contains(statements, fact["words"])} for fact in facts]
    stated = [statement for statements in card.values() for statement in statements]
    return {
        "facts": sum(map(bool, placed)) / len(facts),
        "sorted": sum(bool(found & {*fact["under"]}) for fact, found in zip(facts, placed, strict=True)) / len(facts),
        "supported": _share(partial(_is_supported, name=row["name"], text=text), stated),
        "about": _share(partial(_is_about, row=row, text=text), stated),
    }


def _any_contains(statements: Sequence[str], words: Sequence[Sequence[str]]) -> bool:
    return any(contains_all(statement, words) for statement in statements)


def _share(holds: Callable[[str], bool], texts: Sequence[str]) -> float | None:
    return sum(map(holds, texts)) / len(texts) if texts else None


def _is_supported(statement: str, name: str, text: str) -> bool:
    terms = content_terms(statement, name)
    return not unsupported_claims(statement, name, text, text) and 2 * len(terms & content_terms(text)) >= len(terms)


def _is_about(statement: str, row: Record, text: str) -> bool:
    """Whether a statement is about the person: not in the first person, not about another whom it begins with."""
    for other in row["others"]:
        if contains_all(statement, other["words"]) and not contains(statement, other["unless"]):
            return False
    if mention_pattern(row["name"]).search(statement):
        return True
    if _OTHER_PERSON.match(statement) or _PRONOUN.search(statement):
        return not _OTHER_PERSON.match(statement)
    opener = _OPENER.match(statement)  # a name where the text never has it in lower case
    words = set(re.findall(r"\w+", text))
    return not (opener and opener.group(1) in words and opener.group(1).lower() not in words)


def summarize(model: Any, row: Record) -> Record:
    """The scenes that Summarize writes in place of a row's turns, and their measures."""
    said = [Turn(speaker=speaker, text=text) for speaker, text in row["turns"]]
    # Two more turns stay as they are; the first epoch is enough.
    last = [Turn(speaker=turn.speaker, text="...") for turn in said[:2]]
    view = ConversationView(Role.model_validate({"name": row["role"]}), (*said, *last))
    step = Summarize(
        model,
        partial(count_tokens, model),
        context_window(model),
        lambda view, share: bool(view.scenes),
        keep_turns=2,
        reviser=assemble.reviser_for(model),
    )
    scenes = [scene.text for scene in step.invoke(view)]
    return {"scenes": scenes, "measures": score_scenes(scenes, row)}


def score_scenes(scenes: Sequence[str], row: Record) -> dict[str, float | None]:
    """The measures of scenes.

    Args:
        scenes: The scenes.
        row: The ``turns``, as (speaker, text), and what the scenes must ``keep``: groups of wordings.
    """
    turns, text = "\n".join(f"{speaker}: {said}" for speaker, said in row["turns"]), "\n".join(scenes)
    return {
        "kept": sum(contains(text, wordings) for wordings in row["keep"]) / len(row["keep"]),
        "supported": _share(lambda scene: not invented_items(scene, turns), scenes),
        "length": len(text) / len(turns),
    }


_RUN: dict[str, Callable[[Any, Record], Record]] = {"card": extract_card, "summary": summarize}


def evaluate(model: Any, chosen: Sequence[Case], records: Records, workers: int = 4) -> list[Record]:
    """The records of the cases, in their order; those that ``records`` has are not made again.

    Args:
        model: The chat model.
        chosen: The cases.
        records: Receives the new records.
        workers: Number of cases at a time; a local model computes them together.
    """
    new = [case for case in chosen if case.key not in records]
    with Progress() as progress, ThreadPoolExecutor(workers) as pool:
        results = pool.map(lambda case: _RUN[case.kind](model, case.row), new)
        for done, (case, record) in enumerate(zip(new, results, strict=True), 1):
            records.add(case.key, record)
            progress("measure", done, len(new))
    return [records[case.key] for case in chosen]


def summary(records: Sequence[Record]) -> Result:
    """The means of the measures by kind and language, with 95 % intervals."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        kind, language, _ = record["key"]
        groups.setdefault(f"{kind} {language}", []).append(record)
    return {
        name: {measure: estimate(measure_values(group, measure)) for measure in MEASURES[name.split()[0]]}
        for name, group in groups.items()
    }


def show(result: Result) -> None:
    """Print the measures of each kind as a table, in percent."""
    from rich.console import Console
    from rich.table import Table

    for kind, measures in MEASURES.items():
        table = Table(kind, "n", *measures)
        for name, row in result.items():
            if name.startswith(kind):
                table.add_row(name.split()[1], str(row[measures[0]]["n"]), *(percent(row[m]) for m in measures))
        if table.row_count:
            Console().print(table)


def command(
    model: Annotated[str, typer.Option(help="As --model of egosrag.")] = "pocket",
    only: Annotated[Literal["card", "summary"] | None, typer.Option(help="One of the two measures.")] = None,
    language: Annotated[Literal["en", "zh"] | None, typer.Option(help="One of the two languages.")] = None,
    held_out: Annotated[bool, typer.Option("--held-out", help="The cases that no prompt was tried on.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="The first N cases of each measure and language.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Cases at a time.")] = 4,
    records: Annotated[Path | None, typer.Option(help="JSONL for cards and scenes, to resume from.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make cards of texts and scenes of conversations, and measure what they keep."""
    kinds, languages = [only] if only else list(FILES), [language] if language else ["en", "zh"]
    chosen = [case for kind in kinds for of in languages for case in cases([kind], [of], held_out=held_out)[:limit]]
    kept = Records(records, {"evaluation": "extract", "model": model, "weights": weight_files(model)})
    made = evaluate(load_chat_model(model), chosen, kept, workers)
    finish(summary(made), show, as_json, (records, None))


if __name__ == "__main__":
    run(command)
