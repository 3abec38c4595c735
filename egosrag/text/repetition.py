"""Degenerate repetition: text in which a model repeats itself over and over."""

from __future__ import annotations

import re

RUNAWAY_CHARACTERS = 64  # length of a loop at the end of a text from which on generation is aborted
# Lengths of a repeated sentence: shorter ones are a loop only when they are longer than RUNAWAY_CHARACTERS together.
_SENTENCE_CHARACTERS = range(RUNAWAY_CHARACTERS // 4, 161)
_LOOP = re.compile(r"(.{1,40}?)\1{3,}", re.DOTALL)


def is_degenerate(line: str) -> bool:
    """Whether ``line`` repeats the same words over and over, or holds a piece of a character.

    Small models do so when they lose the thread. A loop is long and made of letters: dots and zeros are none.
    """
    return "\ufffd" in line or any(
        len(m.group()) >= 24 and any(map(str.isalpha, m.group(1))) for m in _LOOP.finditer(line)
    )


def is_runaway(text: str) -> bool:
    """Whether ``text`` ends in a loop, which would go on to the token limit.

    That is a short loop, longer than any laugh or scream, or a sentence that is said three times in a row.
    """
    end = text[-RUNAWAY_CHARACTERS:]
    loops = (m.group(1) for m in _LOOP.finditer(end) if len(m.group()) >= 0.9 * RUNAWAY_CHARACTERS)
    if any(c.isalnum() or c.isspace() for loop in loops for c in loop):
        return True
    return any(
        text[-3 * n : -2 * n] == text[-2 * n : -n] == (unit := text[-n:])
        and unit not in (unit + unit)[1:-1]  # a laugh is a repetition itself
        and any(map(str.isalpha, unit))
        for n in _SENTENCE_CHARACTERS
        if len(text) >= 3 * n
    )
