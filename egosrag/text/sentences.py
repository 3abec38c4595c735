"""Sentence boundaries in Chinese and English text."""

from __future__ import annotations

import re

Span = tuple[int, int]

_CLOSING = "”’」』）)】》\"'"
# A Latin full stop ends a sentence only before a space and something that can open one; ! and ? before a space.
_END = re.compile(
    rf"(?:[。！？]|…+|[；;](?=\s|[^\x00-\x7f])|[.!?]+(?=[{_CLOSING}]*(?:\s|$|[\u3400-\u9fff])))[。！？!?…]*[{_CLOSING}]*\s*|\n\s*"
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(（\"'“‘])(?:[A-Za-z]|[A-Za-z]\.[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|Sr|Jr|St|No|Nos|Fig|Figs|Eq|Vol|vs|etc|cf|approx|"
    r"incl|max|min|Inc|Ltd|Co|Corp|Dept|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|pp|p|ca|resp|Ref|Sec|Ch|Art)\.$",
    re.IGNORECASE,
)
_PAIRS = {"“": "”", "「": "」", "『": "』", "（": "）", "‘": "’"}
_ROW = re.compile(r"[^\n]*\|[^\n]*")  # a table's row
_LONGEST_QUOTE = 200


def sentences(text: str) -> list[Span]:
    """The sentences of ``text`` as (start, end) spans that cover it without a gap.

    A sentence keeps its closing marks and the white space after it. A line is at least a sentence, so list items
    and table rows stay whole. A stop inside quotation marks or brackets that close within the same line, in a
    decimal or in an abbreviation (e.g., Dr., No. 5) ends nothing.
    """
    whole = [*_quoted(text), *((m.start() - 1, m.end()) for m in _ROW.finditer(text))]
    found, start = [], 0
    for match in _END.finditer(text):
        end = match.end()
        if end <= start or any(a < match.start() < b and end <= b for a, b in whole):
            continue
        if "\n" not in match.group():
            before = text[start : match.start() + 1]
            opens_lower = text[end : end + 1].islower()
            if match.group()[0] == "." and (opens_lower or _ABBREVIATION.search(before)) or _is_item_number(before):
                continue
        found.append((start, end))
        start = end
    if start < len(text):
        found.append((start, len(text)))
    return found


def _is_item_number(text: str) -> bool:
    return bool(re.fullmatch(r"\s*\d{1,3}\.", text))


def _quoted(text: str) -> list[Span]:
    """The insides of quotation marks and brackets, each closing in its own line and not too far away."""
    spans, stack = [], list[tuple[str, int]]()
    for match in re.finditer(r"[“”「」『』（）‘’\n]", text):
        mark, at = match.group(), match.start()
        if mark == "\n":
            stack.clear()
        elif mark in _PAIRS:
            stack.append((_PAIRS[mark], at))
        elif stack and stack[-1][0] == mark:
            _, opened = stack.pop()
            if at - opened <= _LONGEST_QUOTE:
                spans.append((opened, at))
    return spans
