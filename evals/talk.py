"""Role-play by a real model on cards that nothing was trained on, without a judge (report 7.3).

    python -m evals.talk --model qwen2.5-coder-1.5b --json
    python -m evals.talk --model FOLDER --family fact --family unknown --cards 6 --records runs/talk.jsonl

Families, each on the cards of ``evals/data/natural.{en,zh}.json``:

- ``fact``: a question that the card answers, in a conversation of its own: does the reply contain the card's words?
- ``unknown``: a question that it does not answer: does the role say so, in character?
- ``recall``: three facts that the user states, asked for after small talk; all turns are in the prompt (Organize).
- ``summarized``: the same with a token budget so small that Summarize has replaced the turns that stated them.
- ``identity``: "Are you an AI?" in several wordings: does the role stay in character?

The share of replies whose quotation mark the model closed itself, and of replies that repeat the user's line, the
seconds of a reply and the share of each prompt that was cached stand beside. Conversations run side by side, since a
local model generates them in batches.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from egosrag import Conversation, Settings, assemble
from egosrag.console import Progress
from egosrag.egos.pipeline import MemorySettings
from egosrag.errors import SettingsError
from egosrag.prompts import render
from egosrag.schema import Role
from evals.common.command import AsJson, finish, run
from evals.common.estimates import estimate, percent
from evals.common.experiment import digest
from evals.common.facts import contains
from evals.common.models import weight_files
from evals.common.records import Record, Records
from evals.roleplay.detectors import BROKE, stance

DATA = Path(__file__).parent / "data"
FAMILIES = ("fact", "unknown", "recall", "summarized", "identity")
LANGUAGES = ("en", "zh")
MEASURES = ("right", "closed", "echo")  # of each reply; in a record its share, for ``evals.compare``
_SMALL_TALK = 3  # lines between stating a fact and asking for it
_BUDGET = 300  # tokens of a ``summarized`` prompt beside instructions and card
_LINES = 16  # at most so many lines until Summarize has replaced the facts
_IDENTITY = {
    "en": ("Are you an AI?", "Be honest, am I talking to a chatbot?", "You're just a language model, aren't you?"),
    "zh": ("你是AI吗？", "说实话，我是不是在跟机器人聊天？", "你只是个语言模型吧？"),
}
# Wider than the detector of roleplay: what follows a question without an answer is no other kind of reply.
_DECLINED = re.compile(
    r"\b(?:don't|do not|didn't|never|can't|cannot|couldn't|won't) (?:really |quite |even )?"
    r"(?:know|knew|remember|recall|say|tell|mention|answer)"
    r"|\b(?:no idea|not sure|none of your|nobody told|never (?:heard|told|thought))"
    r"|不(?:知道|晓得|清楚|记得|认识|好说|能说|告诉|便)|没(?:说过|听说|提过|告诉|印象|想过|听过)"
    r"|记不|想不起|说不(?:好|准|上|清)|谁知道|忘了",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Case:
    """One conversation: the lines before, then the questions that are scored.

    Attributes:
        key: family, language, card and number.
        role: the card.
        lines: what the user says first.
        questions: (question, wordings of the answer), none where the card has no answer.
    """

    key: tuple[str, str, str, int]
    role: Role
    lines: tuple[str, ...]
    questions: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def family(self) -> str:
        """The family, one of ``FAMILIES``."""
        return self.key[0]

    @property
    def language(self) -> str:
        """The card's language."""
        return self.key[1]


def cases(families: Sequence[str], languages: Sequence[str], cards: int | None) -> Iterator[Case]:
    """The conversations of the families, with the first ``cards`` cards of each language."""
    for language in languages:
        rows: list[Record] = json.loads((DATA / f"natural.{language}.json").read_text(encoding="utf-8"))
        talk: Record = json.loads((DATA / f"recall.{language}.json").read_text(encoding="utf-8"))
        for n, row in enumerate(rows[:cards]):
            role = Role.model_validate({**row["card"], "language": language})
            for family in families:
                yield from _cases(family, language, role, row["questions"], talk, n)


def _cases(family: str, language: str, role: Role, rows: Sequence[Record], talk: Record, n: int) -> Iterator[Case]:
    if family in ("fact", "unknown"):
        for i, row in enumerate(rows):
            if (row["answer"] is None) == (family == "unknown"):
                answer = () if row["answer"] is None else (row["answer"],)
                yield Case((family, language, role.name, i), role, (), ((row["question"], answer),))
    elif family == "identity":
        question = _IDENTITY[language][n % len(_IDENTITY[language])]
        yield Case((family, language, role.name, 0), role, (), ((question, ()),))
    else:
        plants = [talk["plants"][(3 * n + i) % len(talk["plants"])] for i in range(3)]
        number = _SMALL_TALK if family == "recall" else _LINES - len(plants)
        fillers = [talk["fillers"][(5 * n + i) % len(talk["fillers"])] for i in range(number)]
        lines = (*(plant["say"] for plant in plants), *fillers)
        questions = tuple((plant["ask"], tuple(plant["any"])) for plant in plants)
        yield Case((family, language, role.name, 0), role, lines, questions)


def play(model: Any, case: Case, settings: Settings) -> Record:
    """Play a case; its replies, and for each question whether the reply is right.

    A ``summarized`` case talks on until a summary has replaced every turn that stated a fact.
    """
    summarized = case.family == "summarized"
    card = int(model.get_num_tokens(render.card(case.role, case.language)))
    conversation = Conversation(
        model,
        case.role,
        history=settings.history,
        quote=settings.quote,
        window=card + _BUDGET if summarized else None,
        memory=MemorySettings("static", keep_turns=2) if summarized else assemble.memory_settings(settings),
        reviser=assemble.reviser_for(model),
    )
    said: list[tuple[str, Any]] = []
    for line in case.lines:
        said.append((line, conversation.say(line)))
        hidden = {turn_id for scene in conversation.scenes() for turn_id in scene.turn_ids}
        facts = [turn.id for turn in conversation.turns() if turn.text in case.lines[: len(case.questions)]]
        if summarized and len(facts) == len(case.questions) and hidden.issuperset(facts):
            break
    scenes = [scene.text for scene in conversation.scenes()]
    answered = [(question, wordings, conversation.say(question)) for question, wordings in case.questions]
    said += [(question, reply) for question, _, reply in answered]
    record: Record = {
        "said": [(line, reply.text) for line, reply in said],
        "scenes": scenes,
        "right": [_right(case, reply.text, wordings) for _, wordings, reply in answered],
        "closed": [reply.stop_reason == "quote" for _, reply in said],
        "echo": [_letters(line) == _letters(reply.text) for line, reply in said],
        "seconds": round(sum(reply.timing.total_s for _, reply in said), 1),
        "cached": [round(min(1.0, r.ledger.cached / r.ledger.prompt), 3) for _, r in said[1:] if r.ledger.prompt],
    }
    shares = {name: sum(record[name]) / len(record[name]) for name in MEASURES}
    label = f"{case.family}.{case.language}"
    return record | {"measures": shares | {f"{label} {name}": share for name, share in shares.items()}}


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _right(case: Case, reply: str, wordings: Sequence[str]) -> bool:
    if wordings:
        return contains(reply, wordings) or any(word in reply for word in wordings)
    if case.family == "identity":
        return bool(reply.strip()) and stance(reply, case.role.name, case.language) != BROKE
    return stance(reply, case.role.name, case.language) != BROKE and declines(reply)


def declines(reply: str) -> bool:
    """Whether a reply says that something is not known, remembered or to be said."""
    return bool(_DECLINED.search(reply.replace("’", "'")))


def measure(model: Any, todo: Sequence[Case], settings: Settings, records: Records, workers: int) -> list[Record]:
    """Play the cases that ``records`` does not have yet, ``workers`` at a time; the records of all of them."""
    missing = [case for case in todo if not _is_recorded(case, records)]
    done = len(todo) - len(missing)
    with Progress() as progress, ThreadPoolExecutor(workers) as pool:
        for case, record in zip(missing, pool.map(lambda case: play(model, case, settings), missing), strict=True):
            records.add(case.key, {"content": digest(case), **record})
            done += 1
            progress("talk", done, len(todo))
    return [records[case.key] for case in todo]


def _is_recorded(case: Case, records: Records) -> bool:
    """Whether there is a record of a case with the same card, lines and questions; old records do not have these."""
    return case.key in records and records[case.key].get("content", digest(case)) == digest(case)


def summary(records: Sequence[Record]) -> dict[str, Any]:
    """Each measure as an estimate, by family and language; of the cache only where a conversation goes on."""
    parts: dict[str, list[Record]] = {}
    for record in records:
        family, language = record["key"][:2]
        parts.setdefault(f"{family}.{language}", []).append(record)
    scores = {
        label: {name: estimate([float(v) for record in part for v in record[name]]) for name in MEASURES}
        for label, part in parts.items()
    }
    for label, part in parts.items():
        scores[label]["seconds"] = estimate([record["seconds"] / len(record["said"]) for record in part])
        if cached := [share for record in part for share in record.get("cached", ())]:
            scores[label]["cached"] = estimate(cached)
    return scores


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("%", "n", "right", "quote closed", "echo", title=result["model"])
    for label, part in result["scores"].items():
        n = str(part["right"]["n"]) if part["right"] else "0"
        table.add_row(label, n, *(percent(part[name]) for name in MEASURES))
    Console().print(table)


def command(
    model: Annotated[str | None, typer.Option(help="As of egosrag chat; by default that of the settings.")] = None,
    adapter: Annotated[str | None, typer.Option(help="Folder of a PEFT adapter.")] = None,
    family: Annotated[list[str] | None, typer.Option(help=f"{', '.join(FAMILIES)}; repeatable.")] = None,
    language: Annotated[list[str] | None, typer.Option(help="en or zh; repeatable, both by default.")] = None,
    cards: Annotated[int | None, typer.Option(min=1, help="Only the first cards of each language.")] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE of any setting; repeatable.")] = None,
    records: Annotated[Path | None, typer.Option(help="JSONL of the conversations, to resume from.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Conversations at once.")] = 8,
    as_json: AsJson = False,
) -> None:
    """Measure how a model plays the natural cards: facts, what is unknown, memory, identity."""
    families, languages = family or list(FAMILIES), language or list(LANGUAGES)
    if unknown := {*families, *languages} - {*FAMILIES, *LANGUAGES}:
        raise SettingsError(f"no family or language {', '.join(sorted(unknown))}: see python -m evals.talk --help")
    flags: dict[str, Any] = {"seed": 1, "model": model, "adapter": adapter}
    for pair in sets or ():
        key, equals, value = pair.partition("=")
        if not equals:
            raise SettingsError(f"--set {pair} has no =: write --set KEY=VALUE")
        flags[key.strip()] = value.strip()
    settings = Settings.load(**flags)
    todo = list(cases(families, languages, cards))
    made_from: dict[str, Any] = {"evaluation": "talk"}
    made_from["settings"] = settings.model_dump_json(exclude={"data_dir", "cache_dir"})
    # Other models (pocket, servers, names of the hub) have no weight files, and the records of earlier runs go on.
    files = [weight_files(name) for name in (settings.model, settings.adapter or "")]
    made_from |= {"files": files} if any(files) else {}
    store = Records(records, made_from)  # before the model is loaded: the file may be that of another run
    found = measure(assemble.chat_model(settings), todo, settings, store, workers)
    result = {"model": settings.model, "scores": summary(found)}
    finish(result, _show, as_json, (records, None))


if __name__ == "__main__":
    run(command)
