"""Row formats as training examples: Alpaca, plain text, and which format rows have by their columns.

ShareGPT and ChatML rows are in ``finetune.data.conversations``, role-play rows in ``finetune.data.roleplay``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from egosrag.errors import TrainingError
from egosrag.text.encoding import is_text


class ContextReply(AIMessage):
    """A reply that is context only: it has no labels."""


class ToolResult(HumanMessage):
    """What a tool returned: a user message that begins no exchange, so that it is never parted from its call."""


@dataclass(frozen=True)
class Example:
    """One training example: ``answer`` is the continuation of ``prompt``.

    Attributes:
        location: file and line of the row, for messages.
        prompt: the messages before the answer; empty for a document. Earlier assistant messages are trained on too,
            unless they are a ``ContextReply``; a trailing one is a prefix that ``answer`` continues, and is not. So an
            answer after another reply has an empty prefix behind that.
        answer: the text to train on.
        closed: whether the stop token follows the answer and is trained on with it.
        breaks: where the question may begin if it has to be cut, as offsets in it; None: anywhere.
        left_out: what of the row is not in the example, a name a message ("greetings", "empty exchanges", ...).
    """

    location: str
    prompt: tuple[BaseMessage, ...]
    answer: str
    closed: bool = True
    breaks: tuple[int, ...] | None = None
    left_out: tuple[str, ...] = ()

    @property
    def turns(self) -> int:
        """Questions in the prompt: 0 for a document, more than 1 for a multi-turn conversation."""
        return sum(map(is_question, self.prompt))


def is_question(message: BaseMessage) -> bool:
    """Whether a message begins an exchange: the user's do, a tool's results do not."""
    return isinstance(message, HumanMessage) and not isinstance(message, ToolResult)


class BadRow(Exception):
    """A row that cannot be used; the message states the reason. It is always caught in ``finetune``."""


NO_TEXT = "half of a character (a lone surrogate, \\ud800 to \\udfff), or bytes that are not UTF-8"


def json_value(text: str) -> Any:
    """The value of a JSON text within a row.

    Raises:
        ValueError: it is not JSON.
        BadRow: it has half of a character.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not is_text(value):
        raise BadRow(NO_TEXT)
    return value


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


def content_text(content: Any, column: str) -> str:
    """The text of a message's content: text, none, or OpenAI's list of parts.

    Raises:
        BadRow: it is something else, or a part is not text (an image, say).
    """
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise BadRow(f"{column} has a content that is {type(content).__name__}, not text")
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, Mapping) and part.get("type", "text") == "text" else part
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
            raise BadRow(f"{column} has a part that is not text ({kind}): leave such rows out")
        texts.append(text)
    return "".join(texts)


def system_message(system: str | None) -> list[BaseMessage]:
    """The opening of a prompt: a system message, or nothing."""
    return [SystemMessage(system)] if system else []


def alpaca(row: Mapping[str, Any], location: str, system: str | None) -> list[Example]:
    """``instruction``, ``input`` (either may be empty), ``output``, and optionally ``system`` and ``history``.

    ``history``, LLaMA-Factory's list of [question, reply], comes before the instruction; its replies are learned too.
    """
    more = column_text(row, "input", required=False)
    instruction = column_text(row, "instruction", required=not more.strip())
    prompt = system_message(column_text(row, "system", required=False) or system)
    pairs = _history(row.get("history"))
    kept = [pair for pair in pairs if all(text.strip() for text in pair)]
    prompt += [message for asked, reply in kept for message in (HumanMessage(asked), AIMessage(reply))]
    prompt.append(HumanMessage("\n".join(text for text in (instruction, more) if text.strip())))
    left_out = ("empty exchanges",) * (len(pairs) - len(kept))
    return [Example(location, tuple(prompt), column_text(row, "output"), left_out=left_out)]


def _history(value: Any) -> list[tuple[str, str]]:
    """LLaMA-Factory's ``history`` as (question, reply) pairs; CSV files have it as JSON text."""
    if isinstance(value, str) and value.strip():
        try:
            value = json_value(value)
        except ValueError:
            raise BadRow("history is text, not a list of [question, reply]") from None
    if not value:
        return []
    if not isinstance(value, list) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in value):
        raise BadRow("history is not a list of [question, reply]")
    if not all(text is None or isinstance(text, str) for pair in value for text in pair):
        raise BadRow("history has a question or a reply that is not text")
    return [(asked or "", reply or "") for asked, reply in value]


def text(row: Mapping[str, Any], location: str, system: str | None) -> list[Example]:
    """``text``: a document for continued training, all of it."""
    return [Example(location, (), column_text(row, "text"))]


_UNKNOWN_ROWS = 100  # a source whose first so many rows have no known shape has none
_COLUMNS = {
    "chatml": ({"messages"},),
    "sharegpt": ({"conversations"},),
    "alpaca": ({"instruction", "output"},),
    "roleplay": ({"role", "turns"}, {"role", "question", "generated"}, {"user_question", "agent_response"}),
    "text": ({"text"},),
}


def detect_shape(columns: Set[str], shape: str) -> str | None:
    """The shape that a row with these columns has; None if it lacks a column that the shape requires.

    Args:
        columns: of the row.
        shape: the shape that the settings request, or "auto".
    """
    if shape == "roleplay" and columns == {"text"}:
        return shape  # transcripts: one speaker and one quoted line per line of text
    for name, alternatives in _COLUMNS.items():
        if shape in ("auto", name) and any(needed <= columns for needed in alternatives):
            return name
    return None


@dataclass
class ShapeDetector:
    """The shape of each row of a source.

    Attributes:
        shape: the shape that the settings request, or "auto".
        source: where the rows come from, for the message.
    """

    shape: str
    source: str
    _last: str | None = field(default=None, init=False)
    _unknown: int = field(default=0, init=False)

    def detect(self, columns: Set[str]) -> str:
        """The shape of a row with these columns: if it fits none, that of the row before, if it has a column of that.

        Raises:
            BadRow: it has no shape.
            TrainingError: nor has one of the first hundred rows.
        """
        known = detect_shape(columns, self.shape)
        if known is None and self._last and any(needed & columns for needed in _COLUMNS[self._last]):
            known = self._last
        if known:
            self._last = known
            return known
        names = [self.shape] if self.shape != "auto" else list(_COLUMNS)
        needs = "; ".join(f"{name}: {' or '.join('+'.join(sorted(c)) for c in _COLUMNS[name])}" for name in names)
        lacks = f"has the columns {', '.join(sorted(columns)) or 'none'}, but rows need {needs}"
        self._unknown += self._last is None
        if self._unknown == _UNKNOWN_ROWS:
            raise TrainingError(f"{self.source} {lacks}")
        raise BadRow(lacks)
