"""What a server's model that calls tools and writes JSON answers, as the events of OpenAI's protocol."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13, "prompt_tokens_details": {"cached_tokens": 5}}


def respond(request: dict[str, Any]) -> list[dict[str, Any]]:
    """A call of the tool that is offered or demanded, JSON of the schema that is demanded, or a sentence."""
    said = str(next(m["content"] for m in reversed(request["messages"]) if m["role"] == "user"))
    if request.get("tools") and request["messages"][-1]["role"] != "tool":
        return list(_events(_call(request, said), "tool_calls"))
    if form := request.get("response_format"):
        schema = form.get("json_schema", {}).get("schema") or {"properties": {"setup": {}, "punchline": {}}}
        return list(_events(_pieces(json.dumps(_arguments(schema, said))), "stop"))
    return list(_events(_pieces("The spare wheel is under the boot."), "stop"))


def _call(request: dict[str, Any], said: str) -> Iterator[dict[str, Any]]:
    choice = request.get("tool_choice")
    demanded = choice["function"]["name"] if isinstance(choice, dict) else None
    offered = [tool["function"] for tool in request["tools"]]
    tool = next(tool for tool in offered if demanded in (None, tool["name"]))
    arguments = json.dumps(_arguments(tool["parameters"], said))
    head = {"index": 0, "id": "call_1", "type": "function", "function": {"name": tool["name"], "arguments": ""}}
    yield {"tool_calls": [head]}
    for part in (arguments[:5], arguments[5:]):
        yield {"tool_calls": [{"index": 0, "function": {"arguments": part}}]}


def _arguments(schema: dict[str, Any], said: str) -> dict[str, Any]:
    """The numbers and the quoted words of what was said, for the parameters in their order."""
    numbers, quoted = (iter(re.findall(pattern, said)) for pattern in (r"\d+", "'(.+?)'"))
    return {
        name: int(next(numbers, 1)) if kind.get("type") == "integer" else next(quoted, said)
        for name, kind in schema.get("properties", {}).items()
    }


def _pieces(text: str) -> list[dict[str, Any]]:
    return [{"content": text[:7]}, {"content": text[7:]}]


def _events(deltas: Any, reason: str) -> Iterator[dict[str, Any]]:
    base = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    for delta in ({"role": "assistant", "content": ""}, *deltas):
        yield {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
    yield {**base, "choices": [], "usage": USAGE}
