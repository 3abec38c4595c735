"""Row formats as training examples: Alpaca, ShareGPT, ChatML and plain text.

Role-play rows are in ``finetune.data.roleplay``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from egosrag.errors import TrainingError


@dataclass(frozen=True)
class Example:
    """One training example: ``answer`` is the continuation of ``prompt``.

    Attributes:
        location: file and line of the row, for messages.
        prompt: the messages before the answer; empty for a document. Earlier assistant messages are trained on too; a
            trailing one is a prefix that ``answer`` continues, and is not.
        answer: the text to train on.
        closed: whether the stop token follows the answer and is trained on with it.
    """

    location: str
    prompt: tuple[BaseMessage, ...]
    answer: str
    closed: bool = True

    @property
    def turns(self) -> int:
        """User messages in the prompt: 0 for a document, more than 1 for a multi-turn conversation."""
        return sum(isinstance(message, HumanMessage) for message in self.prompt)


class BadRow(Exception):
    """A row that cannot be used; the message states the reason. It is always caught in ``finetune``."""


_MESSAGE_TYPES: dict[str, type[BaseMessage]] = {
    "system": SystemMessage,
    **dict.fromkeys(("user", "human"), HumanMessage),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model"), AIMessage),
}


def column_text(row: Mapping[str, Any], column: str, *, required: bool = True) -> str:
    """The text in a column; empty if the column is absent and not required.

    Raises:
        BadRow: the value is not text, or the column is required and empty.
    """
    value = row.get(column)
    if value is None and not required:
        return ""
    if not isinstance(value, str):
        raise BadRow(f"{column} is {'missing' if value is None else type(value).__name__}, not text")
    if required and not value.strip():
        raise BadRow(f"{column} is empty")
    return value


def _system_message(system: str | None) -> list[BaseMessage]:
    return [SystemMessage(system)] if system else []


def alpaca(row: Mapping[str, Any], location: str, system: str | None) -> list[Example]:
    """``instruction``, ``input`` (may be empty), ``output``, and optionally ``system``."""
    instruction = column_text(row, "instruction")
    more = column_text(row, "input", required=False)
    prompt = _system_message(column_text(row, "system", required=False) or system)
    prompt.append(HumanMessage(f"{instruction}\n{more}" if more.strip() else instruction))
    return [Example(location, tuple(prompt), column_text(row, "output"))]


def _conversation(
    row: Mapping[str, Any], location: str, system: str | None, columns: tuple[str, str, str]
) -> list[Example]:
    """A conversation in ``columns``: the list of messages, and in each the keys of the sender and of the text."""
    column, sender, content = columns
    rows = row.get(column)
    if not isinstance(rows, list) or not all(isinstance(m, Mapping) for m in rows):
        raise BadRow(f"{column} is not a list of messages")
    messages: list[BaseMessage] = []
    for m in rows:
        kind = _MESSAGE_TYPES.get(str(m.get(sender)))
        if kind is None:
            raise BadRow(f"{column} has a message from {m.get(sender)!r}, who is neither system, user nor assistant")
        messages.append(kind(column_text(m, content, required=kind is not SystemMessage)))
    while messages and not isinstance(messages[-1], AIMessage):
        messages.pop()  # a question without its answer teaches nothing
    head = [m for m in messages[:1] if isinstance(m, SystemMessage)]
    rest = messages[len(head) :]
    while rest and isinstance(rest[0], AIMessage):
        rest.pop(0)  # a greeting before the first question answers nothing
    if len(rest) < 2:
        raise BadRow(f"{column} has no question with an answer")
    opening = head or _system_message(column_text(row, "system", required=False) or system)
    return [Example(location, (*opening, *rest[:-1]), str(rest[-1].content))]


def sharegpt(row: Mapping[str, Any], location: str, system: str | None) -> list[Example]:
    """``conversations``: a list of ``{"from": "human" | "gpt" | "system", "value": text}``."""
    return _conversation(row, location, system, ("conversations", "from", "value"))


def chatml(row: Mapping[str, Any], location: str, system: str | None) -> list[Example]:
    """``messages``: a list of ``{"role": "user" | "assistant" | "system", "content": text}``."""
    return _conversation(row, location, system, ("messages", "role", "content"))


def text(row: Mapping[str, Any], location: str, system: str | None) -> list[Example]:
    """``text``: a document for continued training, all of it."""
    return [Example(location, (), column_text(row, "text"))]


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


def detect_shape(columns: set[str], shape: str, source: str) -> str:
    """The shape that rows with these columns have.

    Args:
        columns: of the first row that could be read.
        shape: the shape that the settings request, or "auto".
        source: where the rows come from, for the message.

    Raises:
        TrainingError: a column that the shape requires is missing.
    """
    if shape == "roleplay" and columns == {"text"}:
        return shape  # transcripts: one speaker and one quoted line per line of text
    for name, alternatives in _COLUMNS.items():
        if shape in ("auto", name) and any(needed <= columns for needed in alternatives):
            return name
    names = [shape] if shape != "auto" else list(_COLUMNS)
    needs = "; ".join(f"{name}: {' or '.join('+'.join(sorted(c)) for c in _COLUMNS[name])}" for name in names)
    raise TrainingError(f"{source} has the columns {', '.join(sorted(columns)) or 'none'}, but rows need {needs}")
