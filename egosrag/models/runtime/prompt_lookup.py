"""Prompt-lookup decoding (Saxena 2023): speculative decoding whose draft tokens are copied from the prompt.

Where the last tokens have appeared before, those that followed them are proposed again and verified in one forward
pass. A draft costs little where a pass is bound by memory, and a wrong one changes nothing: each token of the reply is
the one that the model itself chose. Drafting pauses by itself where drafts are rejected.
"""

from __future__ import annotations

from collections.abc import Sequence

_NGRAM = 2  # ids that must match before those that followed them are proposed
_MAX_DRAFT = 10  # ids of a draft, after a draft that was accepted whole
_DRAFT = 5  # ids of a draft otherwise: on a CPU they and the id before them cost what one id does (see ``cpu``)
_MAX_PAUSE = 64  # the longest pause, in tokens, after drafts that were rejected


class PromptLookup:
    """The drafts of one generation.

    Args:
        prompt: the prompt's token ids.
    """

    def __init__(self, prompt: Sequence[int]) -> None:
        self._ids = list(prompt)
        self._continuation: dict[tuple[int, ...], int] = {}  # n-gram -> index of the id after its last occurrence
        for end in range(_NGRAM, len(self._ids)):
            self._continuation[tuple(self._ids[end - _NGRAM : end])] = end
        self._paused = 0  # tokens until drafts are made again
        self._next_pause = 1
        self._size = _DRAFT

    def draft(self, limit: int) -> list[int]:
        """At most ``limit`` ids that may come next; mostly none."""
        if self._paused > 0 or limit < 1:
            return []
        start = self._continuation.get(tuple(self._ids[-_NGRAM:]))
        return self._ids[start : start + min(limit, self._size)] if start is not None else []

    def update(self, ids: Sequence[int], drafted: int) -> None:
        """Add the ids that the model chose, and adapt size and frequency of drafts to how many were accepted.

        Args:
            ids: the accepted ids of the draft, and one more of the model's own.
            drafted: the number of ids of the draft.
        """
        for token in ids:
            if len(self._ids) >= _NGRAM:
                self._continuation[tuple(self._ids[-_NGRAM:])] = len(self._ids)
            self._ids.append(token)
        self._paused = max(0, self._paused - len(ids))
        if not drafted:
            return
        all_accepted, none_accepted = len(ids) > drafted, len(ids) == 1
        self._size = _MAX_DRAFT if all_accepted else _DRAFT
        if none_accepted:
            self._paused = self._next_pause
            self._next_pause = min(_MAX_PAUSE, self._next_pause * 4)
        else:
            self._next_pause = 1
