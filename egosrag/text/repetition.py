"""Degenerate repetition: text in which a model repeats itself over and over, or only repeats what was said before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from os.path import commonprefix

_WINDOW = 2000  # characters at the end of a text that decide whether it is a loop
_STEP = 16  # characters of a stream after which it is looked at again
RUNAWAY_CHARACTERS = 64  # length of a loop at the end of a text from which on generation is aborted
_RULE_CHARACTERS = 320  # the same of a loop of punctuation, or of numbers between it: dots, empty tables, rows of zeros
# Lengths of a repeated sentence: shorter ones are a loop only when they are longer than RUNAWAY_CHARACTERS together.
_SENTENCE_CHARACTERS = range(RUNAWAY_CHARACTERS // 4, 161)
_SENTENCE = re.compile(r"[^。！？.!?\n]+[。！？.!?\n]+")
_NUMBERING = re.compile(r"^\s*(?:[-*•]|\(?(?:\d+|[一二三四五六七八九十]+|[a-z])[.)、．）:：])?\s*", re.IGNORECASE)
_CYCLE = range(1, 5)  # sentences that repeat together
_SAME_ROUNDS = 3  # of sentences that differ in numbering, punctuation and case alone
_SIMILAR_ROUNDS = 8  # of sentences that differ in one word: a list of real things may have some of these
_ROUND_CHARACTERS = 12  # letters and digits of such sentences, at least
_CHANGED_SHARE = 0.25  # of them in the changed word, at most
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

    That is a short loop, longer than any laugh or scream; up to four sentences that are said three times in a row, also
    numbered or with other punctuation; or eight times in a row with one word changed.
    """
    text = text[-_WINDOW:]
    return _ends_in_short_loop(text) or _ends_in_same_sentence(text) or _ends_in_similar_sentences(text)


def _ends_in_short_loop(text: str) -> bool:
    end = text[-RUNAWAY_CHARACTERS:]
    loops = [m.group(1) for m in _LOOP.finditer(end) if len(m.group()) >= 0.9 * RUNAWAY_CHARACTERS]
    if any(loop.isalnum() or any(map(str.isalpha, loop)) for loop in loops):
        return True
    end = text[-_RULE_CHARACTERS:]
    return bool(loops) and any(len(m.group()) >= 0.9 * _RULE_CHARACTERS for m in _LOOP.finditer(end))


def _ends_in_same_sentence(text: str) -> bool:
    shortest, longest = _SENTENCE_CHARACTERS[0], _SENTENCE_CHARACTERS[-1]
    if len(text) < 3 * shortest:
        return False
    tail = text[-shortest:]
    at = len(text) - shortest  # of the tail; one sentence before it, the text is the same
    start = max(0, at - longest)
    at = text.rfind(tail, start, len(text) - 1)
    while at >= 0:
        n = len(text) - shortest - at
        if (
            n >= shortest
            and len(text) >= 3 * n
            and text[-3 * n : -2 * n] == text[-2 * n : -n] == (unit := text[-n:])
            and unit not in (unit + unit)[1:-1]  # a laugh is a repetition itself
            and any(map(str.isalpha, unit))
        ):
            return True
        at = text.rfind(tail, start, at + shortest - 1)
    return False


def _ends_in_similar_sentences(text: str) -> bool:
    """Whether the last whole sentences repeat those before, but for numbering, punctuation, case or one word."""
    found = (normalized(_NUMBERING.sub("", sentence)) for sentence in _SENTENCE.findall(text))
    sentences = [sentence for sentence in found if sentence]
    for n in _CYCLE:
        rounds = _rounds(sentences, n, lambda one, other: one == other)
        unit = len("".join(sentences[-n:]))
        enough = unit >= _ROUND_CHARACTERS or rounds * unit >= RUNAWAY_CHARACTERS
        if rounds >= _SAME_ROUNDS and enough and any(map(str.isalpha, "".join(sentences[-n:]))):
            return True
    return any(_rounds(sentences, n, _is_similar) >= _SIMILAR_ROUNDS for n in _CYCLE)


def _rounds(sentences: list[str], n: int, is_same: Callable[[str, str], bool]) -> int:
    """How often in a row the last ``n`` sentences are said, at the end of ``sentences``."""
    same = 0
    while same + n < len(sentences) and is_same(sentences[-1 - same], sentences[-1 - same - n]):
        same += 1
    return 1 + same // n


def _is_similar(one: str, other: str) -> bool:
    """Whether two sentences differ in one place at most, which is a small part of them."""
    start = len(commonprefix([one, other]))
    end = len(commonprefix([one[start:][::-1], other[start:][::-1]]))
    longest = max(len(one), len(other))
    return min(len(one), len(other)) >= _ROUND_CHARACTERS and longest - start - end <= _CHANGED_SHARE * longest


class LoopFilter:
    """Passes a stream of text on, and ends it at a loop (:func:`is_runaway`), whose first rounds are kept.

    Attributes:
        closed: a loop was met: no more text will come.
    """

    def __init__(self) -> None:
        self.closed = False
        self._end = ""  # of the text so far

    def feed(self, text: str) -> str:
        """Take a part of the stream, of any length, and give what is kept of it."""
        for start in range(0, len(text), _STEP):
            if self.closed:
                return text[:start]
            self._end = (self._end + text[start : start + _STEP])[-_WINDOW:]
            self.closed = is_runaway(self._end)
        return text


@lru_cache(maxsize=4096)  # every line is compared with every reply of its conversation
def normalized(text: str) -> str:
    """The letters and digits of ``text``, case-folded: two texts may differ in punctuation and white space."""
    return "".join(filter(str.isalnum, text.casefold()))


class RepetitionFilter:
    """Holds a stream of text back as long as it may still become one of ``texts``, and drops it if it does.

    Texts are compared by their letters and digits alone. A stream that continues after one of them, or ends before, is
    no repetition.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = {normalized(text) for text in texts} - {""}
        self._held_back = ""
        self._released = not self._texts

    @property
    def is_repetition(self) -> bool:
        """Whether the text so far is one of the texts."""
        return not self._released and normalized(self._held_back) in self._texts

    def feed(self, text: str) -> str:
        """Take a part of the stream and give the text that is certain now."""
        if self._released:
            return text
        self._held_back += text
        beginning = normalized(self._held_back)
        if any(known.startswith(beginning) for known in self._texts):
            return ""
        return self._release()

    def finish(self) -> str:
        """At the end of the stream: the text that was held back, unless it is a repetition."""
        return "" if self._released or self.is_repetition else self._release()

    def _release(self) -> str:
        text, self._held_back, self._released = self._held_back, "", True
        return text
