"""Conversations of other trainers' data sets as training examples: ShareGPT, ChatML (OpenAI) and LLaMA-Factory's.

What is learned follows the trainers that defined the formats:

- every reply and every tool call, not the last alone (LLaMA-Factory's ``processor/supervised.py``);
- not a reply with ``weight`` 0 (OpenAI; axolotl writes ``train: false``, LLaMA-Factory ``loss_weight``);
- tool results (``observation``, ``tool``) are context, written into a user message as Qwen's chat template writes them;
- a greeting before the first question is left out, as FastChat leaves it out of ShareGPT rows;
- an exchange with an empty question or reply is left out, and so is what follows the last learned reply.

What is left out is named in the example and counted for the run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from finetune.data.shapes import (
    BadRow,
    ContextReply,
    Example,
    ToolResult,
    column_text,
    content_text,
    json_value,
    system_message,
)

_KINDS: dict[str, type[BaseMessage]] = {
    **dict.fromkeys(("system", "developer"), SystemMessage),
    **dict.fromkeys(("user", "human"), HumanMessage),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model", "function_call"), AIMessage),
    **dict.fromkeys(("observation", "tool", "function", "function_response", "tool_response"), ToolResult),
}
_WEIGHTS = ("weight", "loss_weight", "train")


def sharegpt(row: Mapping[str, Any], location: str, system: str | None) -> list[Example]:
    """``conversations``: a list of ``{"from": "human" | "gpt" | "system" | ..., "value": text}``."""
    return [conversation(row, "conversations", location, system)]


def chatml(row: Mapping[str, Any], location: str, system: str | None) -> list[Example]:
    """``messages``: a list of ``{"role": "user" | "assistant" | "system" | "tool", "content": text or parts}``."""
    return [conversation(row, "messages", location, system)]


def conversation(row: Mapping[str, Any], column: str, location: str, system: str | None) -> Example:
    """The conversation in a column of a row.

    Args:
        row: the columns; ``system`` is its system prompt if its first message is none.
        column: the list of messages.
        location: file and line of the row.
        system: the system prompt of rows that have none.

    Raises:
        BadRow: it is not a list of messages, or has no reply to learn.
    """
    rows = row.get(column)
    if not isinstance(rows, list) or not all(isinstance(m, Mapping) for m in rows):
        raise BadRow(f"{column} is not a list of messages")
    messages = [_message(m, column) for m in rows]
    head = messages[:1] if messages and isinstance(messages[0], SystemMessage) else []
    opening = [m for m in head if m.content] or system_message(column_text(row, "system", required=False) or system)
    left_out = ["tools"] if row.get("tools") else []
    body, removed = learned_part(messages[len(head) :])
    if not body:
        raise BadRow(
            f"{column} has no question with a reply to learn" + (f" ({', '.join(removed)})" if removed else "")
        )
    before = _joined_results(body[:-1])
    if isinstance(before[-1], AIMessage):
        before.append(AIMessage(""))
    return Example(location, (*opening, *before), str(body[-1].content), left_out=(*left_out, *removed))


def learned_part(messages: Sequence[BaseMessage]) -> tuple[list[BaseMessage], list[str]]:
    """The messages from the first question to the last learned reply, and what was left out, a name a message."""
    start = next((n for n, m in enumerate(messages) if not isinstance(m, AIMessage | SystemMessage)), len(messages))
    removed = ["greetings" for m in messages[:start] if isinstance(m, AIMessage)]
    kept = [m for m in messages[:start] if isinstance(m, SystemMessage)]
    for exchange in _exchanges(messages[start:]):
        if any(not str(m.content).strip() for m in exchange if not isinstance(m, SystemMessage | ToolResult)):
            removed += ["empty exchanges"]
        else:
            kept += exchange
    end = next((n for n in range(len(kept), 0, -1) if _is_learned(kept[n - 1])), 0)
    removed += ["messages after the last learned reply" for m in kept[end:] if not isinstance(m, SystemMessage)]
    removed += ["replies of weight 0" for m in kept[:end] if isinstance(m, ContextReply)]
    return kept[:end], removed


def _joined_results(messages: Iterable[BaseMessage]) -> list[BaseMessage]:
    """The messages with results of several tools in one, as Qwen's chat template writes them."""
    joined: list[BaseMessage] = []
    for message in messages:
        if joined and isinstance(message, ToolResult) and isinstance(joined[-1], ToolResult):
            joined[-1] = ToolResult(f"{joined[-1].content}\n{message.content}")
        else:
            joined.append(message)
    return joined


def _exchanges(messages: Iterable[BaseMessage]) -> list[list[BaseMessage]]:
    """Each question with all that follows it, up to the next question."""
    exchanges: list[list[BaseMessage]] = []
    for message in messages:
        if not exchanges or (isinstance(message, HumanMessage) and not isinstance(message, ToolResult)):
            exchanges.append([])
        exchanges[-1].append(message)
    return exchanges


def _is_learned(message: BaseMessage) -> bool:
    return isinstance(message, AIMessage) and not isinstance(message, ContextReply)


def _message(message: Mapping[str, Any], column: str) -> BaseMessage:
    """A message of a row, whichever keys its sender and its content have."""
    sender = str(message.get("from") or message.get("role"))
    kind = _KINDS.get(sender)
    if kind is None:
        raise BadRow(f"{column} has a message from {sender!r}, who is neither system, user, assistant nor tool")
    text = content_text(message.get("value", message.get("content")), column)
    if kind is ToolResult:
        return ToolResult(f"<tool_response>\n{text}\n</tool_response>")
    if kind is AIMessage:
        calls = message.get("tool_calls") or ([text] if sender == "function_call" and text.strip() else None)
        if not calls and message.get("function_call"):  # OpenAI's before tools
            calls = [message["function_call"]]
        if calls:
            text = "\n".join(filter(None, ["" if sender == "function_call" else text, *_tool_calls(calls, column)]))
        return ContextReply(text) if any(_is_zero(message.get(key)) for key in _WEIGHTS) else AIMessage(text)
    return kind(text)


def _is_zero(weight: Any) -> bool:
    """Whether a weight leaves a reply unlearned; an absent one does not."""
    return weight is not None and str(weight).strip().lower() in ("0", "0.0", "false")


def _tool_calls(calls: Any, column: str) -> list[str]:
    """Tool calls as Qwen's chat template writes them: OpenAI's ``tool_calls``, or LLaMA-Factory's JSON text."""
    if not isinstance(calls, list):
        raise BadRow(f"{column} has tool_calls that are not a list")
    texts = []
    for call in calls:
        value = _parsed(call)
        for one in value if isinstance(value, list) else [value]:
            function = one.get("function", one) if isinstance(one, Mapping) else one
            if isinstance(function, Mapping) and "name" in function:
                arguments = _parsed(function.get("arguments"))
                function = {"name": function["name"], "arguments": {} if arguments is None else arguments}
            written = function if isinstance(function, str) else json.dumps(function, ensure_ascii=False)
            texts.append(f"<tool_call>\n{written}\n</tool_call>")
    return texts


def _parsed(value: Any) -> Any:
    """The value of a JSON text; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json_value(value)
    except ValueError:
        return value
