"""Prompt-lookup decoding (Saxena 2023): what copies the prompt is guessed from the prompt and checked in one pass.

A guess costs little where a forward pass waits for memory, and a wrong one changes nothing: each token that is said
is the one that the model itself chose. Guessing stops by itself where it does not come true.
"""

from __future__ import annotations

from collections.abc import Sequence

_NGRAM = 2  # ids that must be alike before what followed them is guessed to follow again
_MOST = 10  # ids guessed at once, after guesses that all came true
_FEW = 5  # otherwise: on a processor they and the id before them cost what one id does (see ``linear``)
_REST = 64  # the longest pause, in tokens, after guesses that did not come true


class Lookup:
    """The guesses for one generation."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self._ids = list(prompt)
        self._after: dict[tuple[int, ...], int] = {}
        for end in range(_NGRAM, len(self._ids)):
            self._after[tuple(self._ids[end - _NGRAM : end])] = end
        self._rest = 0
        self._pause = 1
        self._size = _FEW

    def guess(self, most: int) -> list[int]:
        """At most ``most`` ids that may come next; mostly none."""
        if self._rest > 0 or most < 1:
            return []
        start = self._after.get(tuple(self._ids[-_NGRAM:]))
        return self._ids[start : start + min(most, self._size)] if start is not None else []

    def said(self, ids: Sequence[int], guessed: int) -> None:
        """Take in the ids that were chosen, and learn from how many of the guesses came true.

        Args:
            ids: what the model chose: the guesses that came true, and one id of its own.
            guessed: how many ids had been guessed.
        """
        for token in ids:
            if len(self._ids) >= _NGRAM:
                self._after[tuple(self._ids[-_NGRAM:])] = len(self._ids)
            self._ids.append(token)
        self._rest = max(0, self._rest - len(ids))
        if not guessed:
            return
        all_true, none_true = len(ids) > guessed, len(ids) == 1
        self._size = _MOST if all_true else _FEW
        if none_true:
            self._rest = self._pause
            self._pause = min(_REST, self._pause * 4)
        else:
            self._pause = 1
