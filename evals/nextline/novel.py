"""A novel's dialogue as rows: each line in curly quotation marks whose speaker the text names, and what led to it.

A paragraph is one speaker's. The speaker is who ``said``, ``cried`` or the like beside a closing quotation mark: by
name, or "I" for the narrator. A paragraph between two others whose speaker is not named is who spoke before last, as
readers take it in a dialogue of two. Only lines whose speaker is named are rows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from egosrag.errors import SourceError
from egosrag.schema import Turn
from egosrag.text.encoding import decode
from evals.nextline.rows import Line

NARRATOR = "Me"
MIN_LINES = 5  # of a speaker, to be one of the roles
_VERBS = (
    "said|asked|cried|exclaimed|demanded|remarked|answered|replied|insisted|suggested|inquired|enquired|whispered|"
    "called|continued|admitted|objected|repeated|murmured|announced|added|assured|explained|complained|confessed|"
    "interrupted|muttered|shouted|returned|observed|declared|told|protested|agreed|broke out|went on|began|burst out"
)
_NAME = r"(?:(?:Mr|Mrs|Miss|Dr|Ms|Sir|Lady|Lord|Aunt|Uncle|Captain|Colonel)\.? )?([A-Z][a-z]+)"
_AFTER = re.compile(rf"^[,.?!—]*\s+(?:(?:{_VERBS}) {_NAME}|{_NAME} (?:{_VERBS})|(?P<me>I) (?:{_VERBS}))\b")
_BEFORE = re.compile(rf"(?:^|[.!?”] |, )(?:then )?(?:{_NAME}|(?P<me>I)) (?:{_VERBS})\b[^.“”]{{0,60}}[:,]\s*$")
_QUOTE = re.compile(r"“([^“”]*)”")
_NO_NAMES = frozenset({"The", "He", "She", "It", "They", "We", "You", "Then", "There", "This", "That", "What", "And"})
_GAP = 2  # paragraphs without speech that part two dialogues


class _Spoken(NamedTuple):
    speaker: str | None
    text: str
    paragraph: int


def read_novel(path: Path) -> list[Line]:
    """The lines of a novel by its more frequent speakers.

    Raises:
        SourceError: The file cannot be read, or names no speaker of five lines.
    """
    try:
        text = decode(path)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: give a text file ({error.strerror})") from error
    lines = list(_lines(text))
    counts = Counter(line.role for line in lines)
    frequent = [line for line in lines if counts[line.role] >= MIN_LINES]
    if not frequent:
        raise SourceError(f"{path} names no speaker of {MIN_LINES} lines in “curly” quotation marks: give JSONL rows")
    return frequent


def _lines(text: str) -> Iterator[Line]:
    spoken: list[_Spoken] = []
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.replace("\r\n", "\n"))):
        found = _speech(" ".join(paragraph.split()), number)
        if found is None:
            continue
        if spoken and number - spoken[-1].paragraph > _GAP:
            spoken = []
        named = found.speaker
        if named is None and len(spoken) > 1:
            found = found._replace(speaker=spoken[-2].speaker)
        if named not in (None, NARRATOR) and spoken and spoken[-1].speaker:
            turns = [Turn(id=str(n), speaker=str(s.speaker), text=s.text) for n, s in enumerate(_known_tail(spoken))]
            if turns[-1].speaker != named:
                yield Line(f"paragraph-{number}", str(named), tuple(turns), found.text)
        spoken.append(found)


def _known_tail(spoken: Sequence[_Spoken]) -> list[_Spoken]:
    """The last paragraphs whose speakers are all known."""
    start = next((n + 1 for n in range(len(spoken) - 1, -1, -1) if spoken[n].speaker is None), 0)
    return list(spoken[start:])


def _speech(paragraph: str, number: int) -> _Spoken | None:
    """The speech of a paragraph and its speaker, if the text names one; None where nobody speaks."""
    quotes = list(_QUOTE.finditer(paragraph))
    texts = [quote[1].strip() for quote in quotes if quote[1].strip()]
    # A word in quotation marks within a sentence is no speech.
    if not texts or not any(text[-1] in ",.?!—…" for text in texts):
        return None
    # The comma before "he said" is a full stop where a new sentence, or nothing, follows.
    parts = [
        f"{text[:-1]}." if text.endswith(",") and re.match(r"(?!I\b)[A-Z]|$", after) else text
        for text, after in zip(texts, [*texts[1:], ""], strict=True)
    ]
    return _Spoken(_speaker(paragraph, quotes), " ".join(parts), number)


def _speaker(paragraph: str, quotes: Sequence[re.Match[str]]) -> str | None:
    for quote in quotes:
        for match in (_AFTER.match(paragraph[quote.end() :]), _BEFORE.search(paragraph[: quote.start()])):
            if match is None:
                continue
            if match.group("me"):
                return NARRATOR
            name = next((group for group in match.groups() if group), "")
            if name and name not in _NO_NAMES:
                return name
    return None
