"""The manual in its own words: the sentences of the found passages that answer a question, taken verbatim.

This is what the engine says when the model's own words are not told by the manual but the passages fit the
question well (mode "quoted"): a small model's mistakes cost the wording then, never the answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from egosrag.rag.index import ManualIndex
from egosrag.rag.retrieve import Coverage, ScoredPassage
from egosrag.rag.split import CALLOUT, section_at, sentences
from egosrag.schema import Citation, Page

_STEP = re.compile(r"\s*(?:[■□●○•\-*]|\d{1,2}[.、)\s]|0\d|[①-⑳]|[（(]\d)")
_LONGEST = 6  # sentences of a page's opening
_AROUND = 2  # sentences that a quote may have on either side of the best one
_HEADING_SHARE = 0.2  # how much a sentence's heading counts beside its own words


# What kind of thing a question asks for, and what a sentence that tells it looks like.
_KINDS = (
    (
        re.compile(r"哪里|哪儿|什么(?:位置|地方)|哪个位置|在哪|\bwhere\b", re.IGNORECASE),
        re.compile(
            r"位于|在[^，。]{1,14}(?:[里内上下后前左右侧处]|旁边?|中间|底部)"
            r"|\b(?:under|behind|beside|left|right|below|(?:in|on|at) the)\b",
        ),
    ),
    (
        re.compile(
            r"多少|几[^乎]|多[久长高远重大宽深快]|什么型号|哪[种个]型号"
            r"|\bhow (?:many|much|long|far|high|often|fast|big|old|large|heavy)\b"
            r"|\bwhat (?:pressure|size|type|temperature|torque|speed|number)\b",
            re.IGNORECASE,
        ),
        re.compile(
            r"\d|[一二两三四五六七八九十]+(?:[个种挡级次年月天只把部座]|分钟|小时)"
            r"|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|once|twice)\b",
            re.IGNORECASE,
        ),
    ),
    (
        re.compile(r"什么是|是什么|作用|什么用|\bwhat (?:is|are|does)\b", re.IGNORECASE),
        re.compile(r"是|用于|用来|可以|可在|能够|帮助|\bis an?\b|\bhelps?\b|\bused\b|\bmeans?\b", re.IGNORECASE),
    ),
)
_KIND_BONUS = 0.2


class Block(NamedTuple):
    """Sentences in a row of one page, with the heading that they stand under."""

    citation: Citation
    section: str


class _Sentence(NamedTuple):
    start: int
    end: int
    heading: bool
    section: str
    fit: float


def best_block(index: ManualIndex, question: str, found: Sequence[ScoredPassage], coverage: Coverage) -> Block | None:
    """The sentences that tell most of what the question asks, from the best passages.

    Args:
        index: the index that the passages are from.
        question: what is asked.
        found: what retrieval gave, best first.
        coverage: of the question.
    """
    best: tuple[float, Block] | None = None
    for hit in found[:3]:
        page = index.page(hit.passage.source, hit.passage.page)
        lines = _scored(page, question, hit, coverage)
        if not lines:
            continue
        top = max(range(len(lines)), key=lambda i: (lines[i].fit, -i))
        start, end = _extent(page, lines, top)
        text = page.text[start:end].strip()
        fit = lines[top].fit * hit.score
        if text and (best is None or fit > best[0]):
            score = round(min(1.0, max(coverage.of(text), coverage.of(f"{lines[top].section}\n{text}"))), 3)
            citation = Citation(source=page.source, page=page.page, quote=text, score=score)
            best = fit, Block(citation, lines[top].section)
    return best[1] if best else None


def opening(index: ManualIndex, found: Sequence[ScoredPassage]) -> Block:
    """The first sentences of the first passage: what a page is about, when the question only names it."""
    passage = found[0].passage
    page = index.page(passage.source, passage.page)
    spans = sentences(page.text)[:_LONGEST]
    quote = page.text[spans[0][0] : spans[-1][1]].strip()
    section = section_at(page, spans[-1][0])
    return Block(Citation(source=page.source, page=page.page, quote=quote, score=1.0), section)


def _scored(page: Page, question: str, hit: ScoredPassage, coverage: Coverage) -> list[_Sentence]:
    """The sentences of the passage's page from its start to the end of the section that its end stands in."""
    titles = {h.start for h in page.headings}
    following = [h.start for h in page.headings if h.start >= hit.passage.end]
    stop = min(following[0] if following else len(page.text), hit.passage.end + 300)
    wanted = [told for asked, told in _KINDS if asked.search(question)]
    made = []
    for start, end in sentences(page.text):
        text = page.text[start:end].strip()
        if end <= hit.passage.start or start >= stop or not text:
            continue
        section = section_at(page, start)
        above = section.rsplit(" > ", 1)[-1]
        heading = start in titles
        fit = coverage.of(text) + _HEADING_SHARE * coverage.of(above) if not heading else 0.0
        fit += _KIND_BONUS * (fit > 0 and any(told.search(text) for told in wanted))
        # A warning's head tells nothing by itself; a sentence under a fitting heading does, though it repeats no word.
        made.append(_Sentence(start, end, heading, section, 0.0 if CALLOUT.fullmatch(text) else fit))
    return made


def _extent(page: Page, lines: Sequence[_Sentence], top: int) -> tuple[int, int]:
    """From the best sentence on both sides: the rest of its paragraph, the steps of its list, a list's introduction."""
    first = last = top
    section = lines[top].section

    def text(i: int) -> str:
        return page.text[lines[i].start : lines[i].end].strip()

    def same_paragraph(i: int) -> bool:
        return "\n" not in page.text[lines[i].start : lines[i].end]  # sentence i does not end its line

    def apart(i: int) -> bool:
        return lines[i].section != section or lines[i].heading or bool(CALLOUT.fullmatch(text(i)))

    while last + 1 < len(lines) and last - top < _AROUND and not apart(last + 1):
        if not (same_paragraph(last) or _STEP.match(text(last + 1)) or text(last).endswith(("：", ":"))):
            break
        last += 1
    while first > 0 and top - first < _AROUND and not apart(first - 1):
        if not (same_paragraph(first - 1) or _STEP.match(text(first))):
            break
        first -= 1
    return lines[first].start, lines[last].end
