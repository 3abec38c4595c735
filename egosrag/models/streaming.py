"""From token ids to streamed chunks: whole characters only, and never a part of a stop string.

Stop strings are looked for in the text, not among the tokens: a tokenizer merges a closing quotation mark with the
character before it (``."``, ``？”``), so the tokens of a stop string need never appear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk

_CONTEXT = 6  # ids that are decoded again with each new one: the cost of a token must not grow with the text


class Detokenizer:
    """Turns ids into text one by one, holding back bytes that are not a whole character yet.

    Args:
        decode: ids to text, special tokens left out.
        context: the prompt's ids; some tokenizers write a space before a word only where another word precedes it.
    """

    def __init__(self, decode: Callable[[list[int]], str], context: Sequence[int] = ()) -> None:
        self._decode = decode
        self._ids = list(context[-_CONTEXT:])
        self._emitted = len(decode(self._ids))  # characters of the ids' text that were returned, or are the prompt's

    def feed(self, token: int) -> str:
        """The text that ``token`` completes; empty in the middle of a character."""
        self._ids.append(token)
        text = self._decode(self._ids)
        new = text[self._emitted :]
        if not new or text.endswith("\ufffd"):
            return ""
        self._ids = self._ids[-_CONTEXT:]
        self._emitted = len(self._decode(self._ids))
        return new

    def finish(self) -> str:
        """At the end of the stream: the whole characters that were held back together with an incomplete one."""
        rest = self._decode(self._ids)[self._emitted :]
        return rest.rstrip("\ufffd")


class StopFilter:
    """Passes a stream of text on until the first stop string, which is left out.

    Of several stop strings, the one that is complete first ends the text, so the result does not depend on how the
    stream is cut into chunks. Only an end of the text that may still become a stop string is held back.
    """

    def __init__(self, stops: Iterable[str] | None = None) -> None:
        self._stops = [stop for stop in stops or () if stop]
        self._held_back = ""
        self.hit: str | None = None
        """The stop string that ended the text, or None."""

    def feed(self, chunk: str) -> str:
        """Take ``chunk`` and give the text that is certain now; nothing after a stop string."""
        if self.hit is not None:
            return ""
        text = self._held_back + chunk
        ends = [(start + len(stop), -len(stop), stop) for stop in self._stops if (start := text.find(stop)) >= 0]
        if ends:
            end, _, self.hit = min(ends)
            self._held_back = ""
            return text[: end - len(self.hit)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held_back = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """At the end of a stream without a stop string: the text that was held back."""
        text, self._held_back = self._held_back, ""
        return text


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of ``text`` that is a beginning of ``stop``, and not all of it."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)


class TokenCounts(NamedTuple):
    """Tokens of a reply, or of the part of it that no earlier chunk reported.

    Attributes:
        prompt: tokens of the prompt.
        completion: tokens that were generated.
        cached: the part of ``prompt`` that was found in a KV cache.
    """

    prompt: int = 0
    completion: int = 0
    cached: int = 0

    def __sub__(self, other: TokenCounts) -> TokenCounts:
        return TokenCounts(*(a - b for a, b in zip(self, other, strict=True)))


class Countable(Protocol):
    """A generation whose tokens can be read at any time."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt."""

    @property
    def new_tokens(self) -> int:
        """Tokens generated so far."""

    @property
    def cached_tokens(self) -> int:
        """The part of ``prompt_tokens`` that was found in a KV cache."""


class UnreportedUsage:
    """The token counts of a generation that no chunk has reported yet."""

    def __init__(self, generation: Countable) -> None:
        self._generation = generation
        self._reported = TokenCounts()

    def take(self) -> TokenCounts:
        """What was added since the last call."""
        generation = self._generation
        now = TokenCounts(generation.prompt_tokens, generation.new_tokens, generation.cached_tokens)
        unreported, self._reported = now - self._reported, now
        return unreported


def chunk(text: str, tokens: TokenCounts = TokenCounts()) -> ChatGenerationChunk:  # noqa: B008 - immutable
    """A chunk of the reply, with the tokens that no earlier chunk reported: LangChain sums usage over chunks."""
    return ChatGenerationChunk(message=AIMessageChunk(content=text, usage_metadata=_usage(tokens)))


def last_chunk(text: str, reason: str, model: str, tokens: TokenCounts) -> ChatGenerationChunk:
    """The last chunk, with the reason for the reply's end.

    Args:
        text: what was still held back.
        reason: "stop", "eos" or "length".
        model: the model's name.
        tokens: those that no earlier chunk reported.
    """
    message = AIMessageChunk(
        content=text,
        usage_metadata=_usage(tokens) or UsageMetadata(input_tokens=0, output_tokens=0, total_tokens=0),
        response_metadata={"finish_reason": reason, "model_name": model},
        chunk_position="last",
    )
    return ChatGenerationChunk(message=message)


def _usage(tokens: TokenCounts) -> UsageMetadata | None:
    if not any(tokens):
        return None
    return UsageMetadata(
        input_tokens=tokens.prompt,
        output_tokens=tokens.completion,
        total_tokens=tokens.prompt + tokens.completion,
        input_token_details={"cache_read": tokens.cached},
    )
