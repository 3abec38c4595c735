"""Line numbers of the values in a JSON text, for error messages."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder()


def line_of(text: str, path: Sequence[str | int]) -> int:
    """The 1-based line of the value at ``path``; of its last existing parent if there is no such value.

    Args:
        text: valid JSON.
        path: keys and list indices, from the root.
    """
    at = _skip_space(text, 0)
    for step in path:
        member = _member(text, at, step)
        if member < 0:
            break
        at = member
    return text.count("\n", 0, at) + 1


def _member(text: str, at: int, step: str | int) -> int:
    """The offset of the member ``step`` of the object or list at offset ``at``; -1 if there is none."""
    kind = text[at]
    if kind not in "{[" or (kind == "{") != isinstance(step, str):
        return -1
    at, member, index = _skip_space(text, at + 1), -1, 0
    while text[at] not in "}]":
        key: str | int = index
        if kind == "{":
            key, at = _DECODER.raw_decode(text, at)
            at = _skip_space(text, _skip_space(text, at) + 1)  # past the colon
        if key == step:
            member = at  # of duplicate keys JSON parsers keep the last
        _, at = _DECODER.raw_decode(text, at)
        at = _skip_space(text, at)
        at, index = (_skip_space(text, at + 1) if text[at] == "," else at), index + 1
    return member


def _skip_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
