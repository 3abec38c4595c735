"""Extraction of a role's direct speech from its sources by patterns, each line with its place."""

from __future__ import annotations

import re
from collections.abc import Sequence

from egosrag.schema import DialogueLine, Evidence
from egosrag.text.language import one_line
from egosrag.text.names import names_of

_SAID = (
    "said|says|asked|asks|replied|replies|answered|answers|cried|cries|whispered|shouted|exclaimed|explained|"
    "continued|remarked|murmured|insisted|added|called|told"
)
_SPEECH = '(?P<q>“[^“”]{2,300}”|"[^"]{2,300}"|「[^「」]{2,300}」|『[^『』]{2,300}』)'
_BEGINS = r"(?:^\s*|(?<=[。！？”」』])|(?<=[。！？”」』.!?\"] ))"
_BEFORE = "(?:(?![对向跟朝与和给问])[\u4e00-\u9fff]){0,2}"  # 那悟空, 孙悟空
_MIN_CHARACTERS, _MAX_CHARACTERS = 4, 160  # of a line for a card


def _patterns(name: str) -> list[re.Pattern[str]]:
    named = "|".join(re.escape(n) for n in names_of(name))
    who = rf"(?:{named})"
    return [
        re.compile(rf"{_SPEECH},?\s*(?:{_SAID})\s+(?:(?:Mr|Mrs|Ms|Miss|Dr)\.?\s+|old\s+|young\s+)?{who}\b"),
        re.compile(rf"{_SPEECH},?\s*{who}\s+(?:{_SAID})\b"),
        re.compile(rf"\b{who}\s+(?:{_SAID})\b[^“\"「\n.]{{0,30}}[,:]\s*{_SPEECH}"),
        # Transcripts and Chinese novels: 悟空道：“……”, 春日:「……」, Gatsby: "..."
        # (only at the beginning: "Nick said to Gatsby: ..." and 他对悟空说：“……” are spoken by others)
        re.compile(rf"{_BEGINS}{_BEFORE}{who}[^：:“「『\"\n，。]{{0,8}}[：:]\s*{_SPEECH}", re.M),
        re.compile(rf"{_SPEECH}\s*{who}(?:\w{{0,4}})?(?:说|道|问|答|笑|喊|叫)"),
        re.compile(rf"^\s*{who}\s*[：:]\s*(?P<q>[^\s“\"「『：:][^“\"「『\n]{{3,200}})$", re.M),
    ]


def role_lines(sources: Sequence[tuple[str, str]], name: str, limit: int = 4) -> list[DialogueLine]:
    """At most ``limit`` lines spoken by ``name``, spread over the sources, in order.

    Args:
        sources: (name, text) pairs.
        name: the role's name.
        limit: most lines to return.
    """
    found: dict[tuple[int, int], DialogueLine] = {}
    seen: set[str] = set()
    for number, (source, text) in enumerate(sources):
        for pattern in _patterns(name):
            for match in pattern.finditer(text):
                start, end = match.span("q")
                if text[start] in '“"「『':
                    start, end = start + 1, end - 1
                    end -= text[end - 1] in ",，"  # the comma before "said" is not part of the speech
                said = one_line(text[start:end])
                if not _MIN_CHARACTERS <= len(said) <= _MAX_CHARACTERS or said in seen or "\n\n" in text[start:end]:
                    continue
                seen.add(said)
                place = Evidence(source=source, start=start, end=end, quote=text[start:end])
                found.setdefault((number, start), DialogueLine(speaker=name, text=said, evidence=(place,)))
    lines = [found[key] for key in sorted(found)]
    if len(lines) <= limit:
        return lines
    groups = [lines[len(lines) * i // limit : len(lines) * (i + 1) // limit] for i in range(limit)]
    # One or two sentences show how somebody speaks better than an exclamation or a monologue.
    return [min(group, key=lambda line: abs(len(line.text) - 60)) for group in groups]
