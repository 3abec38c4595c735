"""Rows of the usual shapes as training examples: Alpaca, ShareGPT, ChatML and plain text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from egosrag.errors import TrainingError


@dataclass(frozen=True)
class Example:
    """One thing to learn: ``answer`` after ``prompt``.

    Earlier assistant messages of ``prompt`` are learned too; a trailing one is a prefix that ``answer`` continues,
    and is not.
    """

    where: str
    prompt: tuple[BaseMessage, ...]
    answer: str
    closed: bool = True  # the stop token follows the answer, and is learned with it


class BadRow(Exception):
    """A row that cannot be used; the message says why. Never leaves this package."""


_MESSAGE: dict[str, type[BaseMessage]] = {
    **dict.fromkeys(("system",), SystemMessage),
    **dict.fromkeys(("user", "human"), HumanMessage),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model"), AIMessage),
}


def words(row: Mapping[str, Any], column: str, *, needed: bool = True) -> str:
    """The text in a column; empty when it is absent and not needed.

    Raises:
        BadRow: it is no text, or it is needed and empty.
    """
    value = row.get(column)
    if value is None and not needed:
        return ""
    if not isinstance(value, str):
        raise BadRow(f"{column} is {'missing' if value is None else type(value).__name__}, not text")
    if needed and not value.strip():
        raise BadRow(f"{column} is empty")
    return value


def _opening(system: str | None) -> list[BaseMessage]:
    return [SystemMessage(system)] if system else []


def alpaca(row: Mapping[str, Any], where: str, system: str | None) -> list[Example]:
    """``instruction``, ``input`` (may be empty), ``output``, and optionally ``system``."""
    question = words(row, "instruction")
    more = words(row, "input", needed=False)
    prompt = _opening(words(row, "system", needed=False) or system)
    prompt.append(HumanMessage(f"{question}\n{more}" if more.strip() else question))
    return [Example(where, tuple(prompt), words(row, "output"))]


def _conversation(
    row: Mapping[str, Any], where: str, system: str | None, column: str, who: str, said: str
) -> list[Example]:
    rows = row.get(column)
    if not isinstance(rows, list) or not all(isinstance(m, Mapping) for m in rows):
        raise BadRow(f"{column} is not a list of messages")
    messages: list[BaseMessage] = []
    for m in rows:
        kind = _MESSAGE.get(str(m.get(who)))
        if kind is None:
            raise BadRow(f"{column} has a message from {m.get(who)!r}, who is neither system, user nor assistant")
        messages.append(kind(words(m, said, needed=kind is not SystemMessage)))
    while messages and not isinstance(messages[-1], AIMessage):
        messages.pop()  # nothing is learned from a question without its answer
    head = [m for m in messages[:1] if isinstance(m, SystemMessage)]
    rest = messages[len(head) :]
    while rest and isinstance(rest[0], AIMessage):
        rest.pop(0)  # a greeting before the first question answers nothing
    if len(rest) < 2:
        raise BadRow(f"{column} has no question with an answer")
    head = head or _opening(words(row, "system", needed=False) or system)  # type: ignore[assignment]
    return [Example(where, (*head, *rest[:-1]), str(rest[-1].content))]


def sharegpt(row: Mapping[str, Any], where: str, system: str | None) -> list[Example]:
    """``conversations``: a list of ``{"from": "human" | "gpt" | "system", "value": text}``."""
    return _conversation(row, where, system, "conversations", "from", "value")


def chatml(row: Mapping[str, Any], where: str, system: str | None) -> list[Example]:
    """``messages``: a list of ``{"role": "user" | "assistant" | "system", "content": text}``."""
    return _conversation(row, where, system, "messages", "role", "content")


def text(row: Mapping[str, Any], where: str, system: str | None) -> list[Example]:
    """``text``: a document to go on learning from, all of it."""
    return [Example(where, (), words(row, "text"))]


SHAPES: dict[str, Callable[[Mapping[str, Any], str, str | None], list[Example]]] = {
    "alpaca": alpaca,
    "sharegpt": sharegpt,
    "chatml": chatml,
    "text": text,
}

_COLUMNS = {
    "chatml": ({"messages"},),
    "sharegpt": ({"conversations"},),
    "alpaca": ({"instruction", "output"},),
    "roleplay": ({"role", "turns"}, {"role", "question", "generated"}, {"user_question", "agent_response"}),
    "text": ({"text"},),
}


def shape_of(columns: set[str], wanted: str, source: str) -> str:
    """The shape whose columns these are.

    Args:
        columns: those of the first row that could be read.
        wanted: a shape that was asked for, or "auto".
        source: where the rows are from, for the message.

    Raises:
        TrainingError: a column that the shape needs is missing.
    """
    if wanted == "roleplay" and columns == {"text"}:
        return wanted  # transcripts: a speaker and a quoted line a row
    for name, choices in _COLUMNS.items():
        if wanted in ("auto", name) and any(need <= columns for need in choices):
            return name
    named = [wanted] if wanted != "auto" else list(_COLUMNS)
    needs = "; ".join(f"{name}: {' or '.join('+'.join(sorted(c)) for c in _COLUMNS[name])}" for name in named)
    raise TrainingError(f"{source} has the columns {', '.join(sorted(columns)) or 'none'}, but rows need {needs}")
