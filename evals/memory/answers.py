"""The question of a dialogue answered by a model under each kind of memory (report 7.2.4), and who was right.

Each dialogue is a stored session with a token budget that is too small for it; the question is its next line. So what
answers the question is in the prompt only if it is among the last turns, or if the memory brought it: as a scene
(static), as recalled turns (dynamic), or both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from egosrag import Conversation as Session
from egosrag.console import Progress
from egosrag.egos.pipeline import MemorySettings
from egosrag.errors import SessionError, SettingsError, SourceError, WindowError
from egosrag.prompts import render
from egosrag.rag.index.vectors import Embedder
from egosrag.rag.retrieval.turn_memory import TurnMemory
from egosrag.schema import Role, Turn
from egosrag.sessions.archive import Archive
from egosrag.sessions.catalog import restore
from egosrag.text.language import language_of
from evals.common import experiment
from evals.common.estimates import estimate, percent
from evals.common.models import ModelSpec
from evals.common.records import Record, Records, measure_values
from evals.memory.content import is_right
from evals.memory.conversations import Conversation

KINDS = ("static", "dynamic", "both", "none")


def parse_kinds(text: str) -> list[str]:
    """The kinds of ``--memory``, separated by commas.

    Raises:
        SettingsError: One is unknown, or there are none.
    """
    kinds = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not kinds or set(kinds) - set(KINDS):
        raise SettingsError(f"--memory {text}: give some of {', '.join(KINDS)}")
    return kinds


def evaluate(
    conversations: Sequence[Conversation],
    model: ModelSpec,
    kinds: Sequence[str],
    embedder: Embedder | None,
    records: Records,
    *,
    budget: int,
) -> dict[str, list[Record]]:
    """Ask each dialogue's question under each kind of memory.

    A dialogue whose question cannot be asked, as it is empty or too long, is left out under every kind, with a note.

    Args:
        conversations: Dialogues whose role is known, with a question each.
        model: The model that answers.
        kinds: Of memory.
        embedder: Of the dynamic memory; None searches by words.
        records: Of an earlier run to resume from; receives the new ones.
        budget: Tokens of a prompt beside instructions and card.

    Returns:
        The records by kind, in the order of the dialogues.

    Raises:
        SettingsError: The role of a dialogue is not known.
        SourceError: No question can be asked.
    """
    if any(not conversation.role.strip() for conversation in conversations):
        raise SettingsError("these conversations name no role that answers: give a JSONL of dialogues (role, turns)")
    results: list[list[Record]] = []
    with Progress() as progress:
        for done, conversation in enumerate(conversations):
            found = list[Record]()
            try:
                for kind in kinds:
                    key = (kind, conversation.name, experiment.digest(conversation, budget))
                    if key not in records:
                        answer = _ask(conversation, model.loaded, kind, embedder, budget)
                        records.add(key, {"who": kind, "item": conversation.name, **answer})
                    found.append(records[key])
                    total = len(conversations) * len(kinds)
                    progress("questions x memories", done * len(kinds) + len(found), total)
            except (SessionError, WindowError) as error:
                progress.note(f"{conversation.name} is left out: {error}")
            else:
                results.append(found)
    if not results:
        raise SourceError("no question can be asked: the notes say why")
    return {kind: list(of_kind) for kind, of_kind in zip(kinds, zip(*results, strict=True), strict=True)}


def _ask(conversation: Conversation, model: Any, kind: str, embedder: Embedder | None, budget: int) -> Record:
    from langgraph.checkpoint.memory import InMemorySaver

    role, (question, *_) = Role(name=conversation.role), conversation.questions
    language = language_of(question.text)
    turns = tuple(_renamed(turn, role, language) for turn in conversation.turns if turn.text.strip())
    card = render.card(role, language)
    store = InMemorySaver()
    restore(store, Archive(roles=(role,), turns=turns), "dialogue")
    notes: list[str] = []
    session = Session(
        model,
        role,
        checkpointer=store,
        session="dialogue",
        window=_instructions(model, role, card) + budget,
        memory=MemorySettings(kind, TurnMemory(embedder) if kind in ("dynamic", "both") else None),  # type: ignore[arg-type]
        notify=notes.append,
    )
    reply = session.say(question.text)
    composed = session.composed
    shown = {turn.id for turn in composed.view.visible_turns} if composed else set[str]()
    lines = (
        [line for part in composed.parts if part.name != "line" for line in part.text.split("\n")] if composed else []
    )
    evidence = [turn.text for turn in turns if turn.id in question.evidence]
    others = [turn.text for turn in turns if turn.id not in question.evidence]
    return {
        "question": question.text,
        "reply": reply.text,
        "evidence": evidence,
        "notes": notes,
        "measures": {
            "right": float(is_right(reply.text, evidence, question.text, others)),
            "in_prompt": float(any(is_right(line, evidence, question.text, others) for line in lines)),
            "visible": float(bool(shown & set(question.evidence))),
            "prompt_tokens": float(reply.usage.prompt_tokens),
            "seconds": round(reply.timing.total_s, 3),
        },
    }


def _renamed(turn: Turn, role: Role, language: str) -> Turn:
    """A turn of the role, or of the user of a session."""
    speaker = role.name if " ".join(turn.speaker.split()) == role.name else render.USER[language]
    return turn.model_copy(update={"speaker": speaker})


def _instructions(model: Any, role: Role, card: str) -> int:
    """Tokens of a prompt without any turn."""
    from egosrag.models.tokens import count_tokens
    from egosrag.models.traits import traits_of
    from egosrag.prompts import load

    language = language_of(card + role.name)
    messages = load("generate", language, traits_of(model).prompts).messages(
        name=role.name, user=render.USER[language], card=card, conversation="x"
    )
    return count_tokens(model, messages)


def hidden(results: Mapping[str, Sequence[Record]]) -> set[str]:
    """The dialogues whose evidence is among the last turns of no prompt: only a memory can bring it."""
    seen = {r["item"] for records in results.values() for r in records if r["measures"]["visible"]}
    return {r["item"] for records in results.values() for r in records} - seen


def shares_of(records: Sequence[Record], only: set[str]) -> dict[str, dict[str, Any] | None]:
    """``right`` and ``in_prompt`` of all dialogues, and with ``_hidden`` of those in ``only``."""
    part = [record for record in records if record["item"] in only]
    shares = {name: estimate(measure_values(records, name)) for name in ("right", "in_prompt")}
    return shares | {f"{name}_hidden": estimate(measure_values(part, name)) for name in ("right", "in_prompt")}


def summary(results: Mapping[str, Sequence[Record]]) -> dict[str, Any]:
    """Each kind of memory: ``n``, the shares with their 95 % intervals, tokens of a prompt and seconds of a reply."""
    found, only = {}, hidden(results)
    for kind, records in results.items():
        part: dict[str, Any] = {"n": len(records), "n_hidden": len(only)}
        for name, share in shares_of(records, only).items():
            part[name] = share and round(share["value"], 4)
            part[f"{name}_ci95"] = share and [round(end, 4) for end in share["ci95"]]
        for name in ("prompt_tokens", "seconds"):
            part[name] = round((estimate(measure_values(records, name)) or {})["value"], 2)
        found[kind] = part
    return found


def show(results: Mapping[str, Sequence[Record]]) -> None:
    """Print the table."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    only = hidden(results)
    table = Table(title="Questions about the dialogue, % (95 %)", box=SIMPLE_HEAD)
    heads = ("memory", "n", "right", "said in the prompt", f"right of {len(only)} hidden", "said", "tokens")
    for head in heads:
        table.add_column(head, justify="left" if head == "memory" else "right")
    for kind, records in results.items():
        shares = [percent(share) for share in shares_of(records, only).values()]
        tokens = (estimate(measure_values(records, "prompt_tokens")) or {})["value"]
        table.add_row(kind, str(len(records)), *shares, f"{tokens:.0f}")
    Console().print(table)
