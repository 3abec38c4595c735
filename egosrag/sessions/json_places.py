"""Where in a JSON text a value stands, for errors that tell their line."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder()


def line_of(text: str, path: Sequence[str | int]) -> int:
    """The line, from 1, of the value that ``path`` leads to in a valid JSON ``text``.

    Args:
        text: the JSON.
        path: keys and list places; the line of the last value that there is, where the path leads no further.
    """
    at = _skip(text, 0)
    for step in path:
        found = _member(text, at, step)
        if found < 0:
            break
        at = found
    return text.count("\n", 0, at) + 1


def _member(text: str, at: int, step: str | int) -> int:
    """Where the member ``step`` of the object or list at ``at`` begins; -1 where there is none."""
    kind = text[at]
    if kind not in "{[" or (kind == "{") != isinstance(step, str):
        return -1
    at, found, count = _skip(text, at + 1), -1, 0
    while text[at] not in "}]":
        key: str | int = count
        if kind == "{":
            key, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)  # past the colon
        if key == step:
            found = at  # of two members with one key JSON reads the last
        _, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        at, count = (_skip(text, at + 1) if text[at] == "," else at), count + 1
    return found


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
