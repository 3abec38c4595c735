"""The thoughts of reasoning models in a stream of text: ``<think>…</think>`` is removed, the answer stays."""

from __future__ import annotations

import re

_TAG = re.compile(r"<(?P<close>/?)(?:think|thinking|thought)>", re.IGNORECASE)
_TAGS = tuple(f"<{slash}{name}>" for slash in ("", "/") for name in ("think", "thinking", "thought"))


class ThoughtFilter:
    """Passes a stream of text on without the thoughts in it.

    An empty pair is removed as well, and so is the white space behind the closing tag. A closing tag alone ends
    thoughts whose opening tag was in the prompt: what is before it in the same chunk is removed with it. Only an end of
    the text that may still become a tag is held back.

    Args:
        thinking: whether the text begins inside thoughts, because the prompt ended with the opening tag.
    """

    def __init__(self, thinking: bool = False) -> None:
        self.thinking = thinking
        """Whether the text so far ends inside thoughts."""
        self._buffer = ""
        self._after_tag = False  # white space that follows a closing tag is not part of the answer
        self.spoken = False
        """Whether any of the text so far is outside thoughts."""

    def feed(self, chunk: str) -> str:
        """Take ``chunk`` and give the text of the answer that is certain now."""
        self._buffer += chunk
        text = ""
        while match := _TAG.search(self._buffer):
            before, self._buffer = self._buffer[: match.start()], self._buffer[match.end() :]
            closing = bool(match["close"])
            alone = closing and not self.thinking and not self.spoken and not text.strip()
            if not self.thinking and not alone:
                text += self._visible(before)
            self.thinking = not closing
            self._after_tag = self._after_tag or closing
        end = len(self._buffer) - _possible_tag(self._buffer)
        ready, self._buffer = self._buffer[:end], self._buffer[end:]
        if not self.thinking:
            text += self._visible(ready)
        self.spoken = self.spoken or bool(text.strip())
        return text

    def finish(self) -> str:
        """At the end of the stream: the text that was held back; none of unfinished thoughts."""
        rest, self._buffer = self._buffer, ""
        return "" if self.thinking else self._visible(rest)

    def _visible(self, text: str) -> str:
        if self._after_tag:
            text = text.lstrip()
            self._after_tag = not text
        return text


def _possible_tag(text: str) -> int:
    """The length of the end of ``text`` that may still become a tag."""
    start = text.rfind("<")
    end = text[start:].lower() if start >= 0 else ""
    return len(end) if end and any(tag.startswith(end) for tag in _TAGS) else 0
