r"""A role as of a chapter, by a real model and without a judge: does it know what stands before, and nothing later?

    python -m evals.asof --model qwen2.5-coder-1.5b --json
    python -m evals.asof --model M --source gatsby.txt --name Gatsby --strategy dynamic \
        --questions evals/data/asof/gatsby.en.json

Each question belongs to a point of the sources, as of which the role is asked in a conversation of its own. What stands
until then must be in the reply. What comes later must be declined, and none of its words may be in the reply: a leak.
TimeChara (Ahn et al. 2024, "TimeChara: Evaluating Point-in-Time Character Hallucination of Role-Playing Large Language
Models") has such questions; GPT-4o was right on 46 of 100 about the future.

That nothing later is in a prompt is not measured but proved: every place in the sources that supports a statement of
the card, or that was found for the line, ends before the next point starts; else the run ends with an error.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from egosrag import Settings, assemble
from egosrag.console import Progress
from egosrag.errors import SourceError
from egosrag.roles.timeline import evidence_until
from egosrag.schema import Reply, Role
from evals.common.command import AsJson, finish, run
from evals.common.estimates import estimate, percent
from evals.common.facts import contains
from evals.common.records import Record, Records
from evals.talk import declines

DATA = Path(__file__).parent / "data" / "asof"
STORY, NAME, QUESTIONS = DATA / "ferry.zh.txt", "林舟", DATA / "ferry.zh.json"


def ask(model: Any, card: Path, row: Record, settings: Settings) -> Record:
    """Ask one question as of its point: the reply, and what is right of it.

    Raises:
        SourceError: the prompt has something that comes later.
    """
    setup = assemble.ConversationSetup(until=row["until"])
    with assemble.conversation(settings, card, model=model, setup=setup) as conversation:
        reply = conversation.say(row["question"])
        check_places(conversation.role, reply)
    leaks = [word for word in row["later"] if word.casefold() in reply.text.casefold()]
    known = bool(row["answer"])
    right = contains(reply.text, row["answer"]) if known else declines(reply.text) and not leaks
    return {"reply": reply.text, "known": known, "right": right, "leaks": leaks}


def check_places(role: Role, reply: Reply) -> None:
    """Check that every place behind the card and the reply is known at the card's point.

    Raises:
        SourceError: one is not.
    """
    known = evidence_until(role)
    statements = (*role.background, *role.personality, *role.speaking_style, *role.relations, *role.sample_dialogue)
    places = [place for statement in statements for place in statement.evidence] + list(reply.evidence)
    for place in places:
        if known(place) != place:
            raise SourceError(f"{place.quote[:60]!r} comes after {role.as_of}: nothing later may be in the prompt")


def summary(rows: Sequence[Record]) -> dict[str, Any]:
    """The shares of right answers and of leaks, as estimates."""

    def share(name: str, part: Sequence[Record]) -> Any:
        return estimate([float(bool(row[name])) for row in part])

    known, later = [row for row in rows if row["known"]], [row for row in rows if not row["known"]]
    return {"known": share("right", known), "later declined": share("right", later), "leaked": share("leaks", rows)}


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("%", "n", "share", title=f"{result['model']}: {result['role']}")
    for label, value in result["scores"].items():
        table.add_row(label, str(value["n"]) if value else "0", percent(value))
    Console().print(table)


def command(
    model: Annotated[str | None, typer.Option(help="As of egosrag chat; by default that of the settings.")] = None,
    source: Annotated[list[Path] | None, typer.Option(help="Text about the role; repeatable. Ours if none.")] = None,
    name: Annotated[str, typer.Option(help="The role's name in the sources.")] = NAME,
    questions: Annotated[Path, typer.Option(help="JSON list of questions with their points.")] = QUESTIONS,
    strategy: Annotated[
        Literal["static", "dynamic"], typer.Option(help="A card of all sources, or a search for each line.")
    ] = "static",
    card: Annotated[
        Path | None,
        typer.Option(help="Card to use, or to make where none is.", show_default="in the cache folder"),
    ] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE of any setting; repeatable.")] = None,
    records: Annotated[Path | None, typer.Option(help="JSONL of the replies, to resume from.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure what a role knows as of a chapter, and what it leaks of later ones."""
    flags: dict[str, Any] = {"seed": 1, "model": model, **dict(pair.split("=", 1) for pair in sets or ())}
    settings = Settings.load(**flags, strategy=strategy, store=":memory:")
    rows: list[Record] = json.loads(questions.read_text(encoding="utf-8"))
    card = card or settings.cache_dir / "asof" / f"{name}.{strategy}.json"
    with Progress() as progress:
        if not card.is_file():
            assemble.extract_role(settings, source or [STORY], name, card, progress)
        texts = {"card": card.read_text(encoding="utf-8"), "questions": questions.read_text(encoding="utf-8")}
        made_from = {
            "evaluation": "asof",
            "settings": settings.model_dump_json(exclude={"data_dir", "cache_dir"}),
            **texts,
        }
        done, loaded = Records(records, made_from), assemble.chat_model(settings)
        for number, row in enumerate(rows):
            key = (row["until"], row["question"])
            if key not in done:
                done.add(key, ask(loaded, card, row, settings))
            progress("questions", number + 1, len(rows))
    found = [done[(row["until"], row["question"])] for row in rows]
    result = {"model": settings.model, "role": name, "strategy": strategy, "scores": summary(found)}
    finish(result, _show, as_json, (records, None))


if __name__ == "__main__":
    run(command)
