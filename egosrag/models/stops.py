"""From token ids to text that may be shown: whole characters only, and never a part of a stop string.

Stop strings are looked for in the text, not among the tokens: a tokenizer merges a closing quotation mark with what
stands before it (``."``, ``？”``), so no token of the stop need ever appear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence


class StopFilter:
    """Passes a stream of text on until the first stop string, which is left out.

    Of several stops, the one that is complete first ends the text, so the result does not depend on how the
    stream is cut into chunks. Only an end of the text that may still become a stop is held back.
    """

    def __init__(self, stops: Iterable[str] | None = None) -> None:
        self._stops = [stop for stop in stops or () if stop]
        self._held = ""
        self.hit: str | None = None
        """The stop string that ended the text, or None."""

    def feed(self, chunk: str) -> str:
        """Take ``chunk`` and give the text that is now certain; nothing after a stop."""
        if self.hit is not None:
            return ""
        text = self._held + chunk
        ends = [(start + len(stop), -len(stop), stop) for stop in self._stops if (start := text.find(stop)) >= 0]
        if ends:
            end, _, self.hit = min(ends)
            self._held = ""
            return text[: end - len(self.hit)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """What was held back, at the end of a stream that met no stop."""
        text, self._held = self._held, ""
        return text


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of ``text`` that begins ``stop`` without completing it."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)


class Detokenizer:
    """Turns ids into text one by one, keeping back bytes that are not a whole character yet.

    Args:
        decode: ids to text, special tokens left out.
        context: the prompt's ids; some tokenizers write a space before a word only when one stands before it.
    """

    def __init__(self, decode: Callable[[list[int]], str], context: Sequence[int] = ()) -> None:
        self._decode = decode
        self._ids = list(context[-6:])
        self._shown = len(decode(self._ids))

    def feed(self, token: int) -> str:
        """The text that ``token`` completes; empty in the middle of a character."""
        self._ids.append(token)
        text = self._decode(self._ids)
        new = text[self._shown :]
        if not new or text.endswith("\ufffd"):
            return ""
        # A few ids suffice as context: the cost of a token must not grow with the text.
        self._ids = self._ids[-6:]
        self._shown = len(self._decode(self._ids))
        return new

    def finish(self) -> str:
        """The whole characters that were held back together with a half one, at the end of the stream."""
        rest = self._decode(self._ids)[self._shown :]
        return rest.rstrip("\ufffd")
