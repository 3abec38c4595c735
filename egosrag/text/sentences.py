"""Sentence splitting of Chinese and English text; the one splitter of the project."""

from __future__ import annotations

import re

Span = tuple[int, int]

_CLOSING = "”’」』）)】》\"'"
# Latin stops end a sentence only before white space, the end of the text or a Chinese character.
_END = re.compile(
    rf"(?:[。！？]|…+|[；;](?=\s|[^\x00-\x7f])|[.!?]+(?=[{_CLOSING}]*(?:\s|$|[\u3400-\u9fff])))[。！？!?…]*[{_CLOSING}]*\s*|\n\s*"
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(（\"'“‘])(?:[A-Za-z]|[A-Za-z]\.[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|Sr|Jr|St|No|Nos|Fig|Figs|Eq|Vol|vs|etc|cf|approx|"
    r"incl|max|min|Inc|Ltd|Co|Corp|Dept|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|pp|p|ca|resp|Ref|Sec|Ch|Art)\.$",
    re.IGNORECASE,
)
_PAIRS = {"“": "”", "「": "」", "『": "』", "（": "）", "‘": "’"}
_TABLE_ROW = re.compile(r"^[^\n|]*\|[^\n]*", re.MULTILINE)
_LONGEST_QUOTE = 200  # characters: a longer quotation is split into its sentences


def sentence_spans(text: str) -> list[Span]:
    """The sentences of ``text`` as (start, end) spans that cover it without gaps.

    A sentence includes its closing quotation marks and brackets and the white space after it. A line break always
    ends one, and a table row is one. No ends of sentences are stops inside quotation marks or brackets that close on
    the same line, in decimals, in abbreviations (e.g., Dr., No. 5), and after the number of a list item.

    Args:
        text: any text.

    Returns:
        Spans in order; none for an empty text.
    """
    unbroken = sorted([*_quotation_spans(text), *((m.start() - 1, m.end()) for m in _TABLE_ROW.finditer(text))])
    spans, start = [], 0
    passed, furthest = 0, 0  # unbroken spans that begin before a stop, and where the longest of them ends
    for match in _END.finditer(text):
        end = match.end()
        while passed < len(unbroken) and unbroken[passed][0] < match.start():
            furthest = max(furthest, unbroken[passed][1])
            passed += 1
        if end <= start or match.start() < furthest and end <= furthest:
            continue
        if "\n" not in match.group():
            before = text[start : match.start() + 1]
            opens_lower = text[end : end + 1].islower()
            if match.group()[0] == "." and (opens_lower or _ABBREVIATION.search(before)) or _is_item_number(before):
                continue
        spans.append((start, end))
        start = end
    if start < len(text):
        spans.append((start, len(text)))
    return spans


def _is_item_number(text: str) -> bool:
    return bool(re.fullmatch(r"\s*\d{1,3}\.", text))


def _quotation_spans(text: str) -> list[Span]:
    """The quoted and bracketed parts of ``text`` that close on their own line within ``_LONGEST_QUOTE``."""
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
