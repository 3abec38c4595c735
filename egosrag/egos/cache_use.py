"""How much of a reply's prompt came from the cache, and why the rest did not.

A prompt cache keeps the beginning that a prompt shares with the one before. What changes near the end (the line, what
was retrieved for it) costs little; a part that changes further in front has everything behind it computed again:
scenes that Summarize wrote, a lorebook entry or a note placed among the turns, a turn that was edited, another card.
The session keeps a fingerprint of its last prompt, so that this can be said after a restart too.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from egosrag.egos.view import Composed, PromptPart
from egosrag.schema import Reply

Cause = Literal["first", "continued", "model", "card", "summary", "lore", "note", "recalled", "turns", "cache"]
Fingerprint = list[tuple[str, int, int]]
"""The parts of a prompt in its order: (name, CRC-32 of the text, tokens)."""
Stored = list[tuple[str, int, int, int]]
"""A fingerprint as a session stores it in each checkpoint: (name, CRC-32, tokens, number of parts)."""

_CAUSES: Mapping[str, Cause] = {
    "template": "card", "card": "card", "scenes": "summary", "lore": "lore", "note": "note", "recalled": "recalled",
}  # fmt: skip
CAUSES: Mapping[Cause, str] = {
    "first": "the first prompt",
    "continued": "goes on from the prompt before",
    "model": "another model",
    "card": "another card, persona or instructions",
    "summary": "Summarize wrote scenes, or a memory was changed",
    "lore": "a lorebook entry among the turns",
    "note": "a note among the turns",
    "recalled": "recalled turns",
    "turns": "turns edited, deleted, swiped or no longer in the prompt",
    "cache": "the cache no longer had it, or is not reported",
}
"""The causes in words."""
_BLOCK = 32  # parts
_SLACK = 32  # tokens by which a cache may fall short of the shared beginning: it keeps whole blocks


class CacheUse(BaseModel):
    """The prompt of one reply and the cache.

    Attributes:
        turn: id of the reply.
        prompt: tokens of the prompt.
        cached: those that were read from the cache, as the model or its server reports them.
        shared: those of the beginning that the prompt shares with the one before.
        lost: tokens of the prompt before that had to be computed again, or would have had to be kept.
        cause: why not more was cached, see ``CAUSES``. "continued": nothing but the line, and what was retrieved for
            it, is new. "cache": the beginning is the same, and the cache did not have it: a new process, other
            conversations, or a server that reports no cached tokens.
        first_token_s: seconds to the reply's first token.
    """

    model_config = ConfigDict(frozen=True)

    turn: str
    prompt: int
    cached: int
    shared: int = 0
    lost: int = 0
    cause: Cause = "first"
    first_token_s: float | None = Field(default=None)

    @property
    def share(self) -> float:
        """The share of the prompt that was cached, 0 to 1."""
        return min(1.0, self.cached / self.prompt) if self.prompt else 0.0


def fingerprint(composed: Composed) -> Fingerprint:
    """What is kept of a prompt to compare the next one with. The line is a turn of the next prompt."""
    return [_print(part) for part in composed.parts]


def _print(part: PromptPart) -> tuple[str, int, int]:
    name = "history" if part.name == "line" else part.name
    return name, zlib.crc32(part.text.encode("utf-8", "surrogatepass")), part.tokens


def in_blocks(parts: Fingerprint) -> Stored:
    """A fingerprint with its older parts in blocks, or a checkpoint would grow with each turn of the conversation."""
    whole = max(0, len(parts) // _BLOCK - 1) * _BLOCK
    blocks = [parts[n : n + _BLOCK] for n in range(0, whole, _BLOCK)] + [[part] for part in parts[whole:]]
    return [(block[-1][0], _joint(block), sum(tokens for *_, tokens in block), len(block)) for block in blocks]


def _joint(parts: Fingerprint) -> int:
    """The CRC-32 of some parts together."""
    return parts[0][1] if len(parts) == 1 else zlib.crc32(repr([(name, crc) for name, crc, _ in parts]).encode())


def cache_use(
    turn: str, reply: Reply, now: Fingerprint, before: Sequence[Sequence[Any]], *, same_model: bool
) -> CacheUse:
    """The use of the cache by a reply.

    Args:
        turn: id of the reply.
        reply: its prompt and cached tokens, and the time to its first token.
        now: the fingerprint of its prompt.
        before: that of the prompt before by ``in_blocks``; empty where there is none.
        same_model: whether the same model gave the reply before.
    """
    prompt, cached = reply.ledger.prompt, reply.ledger.cached
    use = CacheUse(turn=turn, prompt=prompt, cached=cached, first_token_s=reply.timing.first_token_s)
    if not before:
        return use
    shared = at = same = 0
    new = ""  # name of the part of this prompt in which it differs
    for name, crc, tokens, count in before:
        block = now[at : at + count]
        new = block[-1][0] if block else ""
        if not block or (new, _joint(block)) != (name, crc):
            break
        shared, at, same = shared + tokens, at + count, same + 1
    cause = "model" if not same_model else _cause([str(part[0]) for part in before], new, same)
    if cause != "continued":
        lost = max(0, sum(int(part[2]) for part in before) - cached)
    else:
        missing = shared - cached
        lost = missing if missing > max(_SLACK, shared // 10) else 0
        cause = "cache" if lost else cause
    return use.model_copy(update={"shared": shared, "lost": lost, "cause": cause})


def _cause(old: Sequence[str], new: str, same: int) -> Cause:
    """Why two prompts differ from part ``same`` of the old one on, where the new one has a part named ``new``."""
    history = [n for n, name in enumerate(old) if name == "history"]
    stays = [n for n, name in enumerate(old) if name in ("template", "card", "scenes")] + history[:-1]
    if same > max(stays, default=-1):  # behind the last turn but the line, everything is new with each line
        return "continued"
    for name in (old[same], new):
        if name in _CAUSES:
            return _CAUSES[name]
    return "turns"
