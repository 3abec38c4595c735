"""Degenerate repetition: text in which a model repeats itself over and over."""

from __future__ import annotations

import re

RUNAWAY_CHARACTERS = 64  # length of a loop at the end of a text from which on generation is aborted
_LOOP = re.compile(r"(.{1,40}?)\1{3,}", re.DOTALL)


def is_degenerate(line: str) -> bool:
    """Whether ``line`` repeats the same words over and over, or holds a piece of a character.

    Small models do so when they lose the thread. A loop is long and made of letters: dots and zeros are none.
    """
    return "\ufffd" in line or any(
        len(m.group()) >= 24 and any(map(str.isalpha, m.group(1))) for m in _LOOP.finditer(line)
    )


def is_runaway(text: str) -> bool:
    """Whether ``text`` ends in a loop longer than any laugh or scream, which would go on to the token limit."""
    end = text[-RUNAWAY_CHARACTERS:]
    loops = (m.group(1) for m in _LOOP.finditer(end) if len(m.group()) >= 0.9 * RUNAWAY_CHARACTERS)
    return any(c.isalnum() or c.isspace() for loop in loops for c in loop)
