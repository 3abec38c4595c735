"""The manual in its own words: the sentences of the found passages that answer a question, taken verbatim.

This is what the engine says when the model's own words are not told by the manual but the passages fit the
question well (mode "quoted"): a small model's mistakes cost the wording then, never the answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from egosrag.rag.answer.answer_types import kinds_told, only_forbids
from egosrag.rag.documents.splitting import CALLOUT, section_at
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.search import ScoredPassage
from egosrag.schema import Citation, Page
from egosrag.text.sentences import sentence_spans

_STEP = re.compile(r"\s*(?:[■□●○•\-*]|\d{1,2}[.、)\s]|0\d|[①-⑳]|[（(]\d)")
_LONGEST = 6  # sentences of a page's opening
_AROUND = 2  # sentences that a quote may have on either side of the best one
_ROW = 3  # further lines that a table's row, broken over lines, may take

# A sentence is judged by its own words; at a share by those around it: its heading, the head of its table, the
# sentence that its pronoun points back to; and by whether it looks like the kind of answer that is asked for.
# Chosen on the sample manuals: the sentence taken tells the answer to 64 of 64 direct questions (59 before) and 15 of
# 16 follow-ups (11). Car manual, silver questions: ROUGE-1 F 0.252 (0.249), so there the retrieval decides.
_CONTEXT_SHARE = 0.5
_KIND_BONUS = 0.15
_FORBIDS_MALUS = 0.25

_POINTS_BACK = re.compile(r"(?:It|Its|They|Their|Them|This|These|That|The same)\b|[它其该此]|这")
_ENDS = re.compile(r"[。！？!?.…：:；;，,][”’」』\"')）]*$")


class Covers(Protocol):
    """How much of a question some text covers, 0 to 1."""

    def of(self, text: str) -> float:
        """The share of the question's content that stands in ``text``."""


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


def best_block(index: ManualIndex, question: str, found: Sequence[ScoredPassage], coverage: Covers) -> Block | None:
    """The sentences that tell most of what the question asks, from the best passages.

    Args:
        index: the index that the passages are from.
        question: what is asked.
        found: what retrieval gave, best first.
        coverage: of the question.
    """
    best: tuple[float, Block] | None = None
    for hit in found:
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
    spans = sentence_spans(page.text)[:_LONGEST]
    quote = page.text[spans[0][0] : spans[-1][1]].strip()
    section = section_at(page, spans[-1][0])
    return Block(Citation(source=page.source, page=page.page, quote=quote, score=1.0), section)


def _scored(page: Page, question: str, hit: ScoredPassage, coverage: Covers) -> list[_Sentence]:
    """The sentences of the passage's page from its start to the end of the section that its end stands in."""
    titles = {h.start for h in page.headings}
    following = [h.start for h in page.headings if h.start >= hit.passage.end]
    stop = min(following[0] if following else len(page.text), hit.passage.end + 300)
    wanted = kinds_told(question)
    made, before, rows = list[_Sentence](), "", ""
    for start, end in sentence_spans(page.text):
        text = page.text[start:end].strip()
        if end > hit.passage.start and start < stop and text:
            section = section_at(page, start)
            heading = start in titles
            # A warning's head tells nothing by itself; a sentence under a fitting heading does, repeating no word.
            fit = 0.0
            if not heading and not CALLOUT.fullmatch(text):
                around = "\n".join([section.rsplit(" > ", 1)[-1], before * bool(_POINTS_BACK.match(text)), rows])
                own = coverage.of(text)
                fit = own + _CONTEXT_SHARE * (coverage.of(f"{around}\n{text}") - own)
                if fit > 0:
                    fit += _KIND_BONUS * sum(bool(told.search(text)) for told in wanted)
                    fit -= _FORBIDS_MALUS * fit * only_forbids(question, text)
            made.append(_Sentence(start, end, heading, section, fit))
        before, rows = text, "" if start in titles or _ENDS.search(text) else rows or text
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

    def unfinished(i: int) -> bool:
        return not _ENDS.search(text(i)) and not any(c.isdigit() for c in text(i))

    while last + 1 < len(lines) and last - top < _AROUND and not apart(last + 1):
        if not (same_paragraph(last) or _STEP.match(text(last + 1)) or text(last).endswith(("：", ":"))):
            break
        last += 1
    row = last
    while last + 1 < len(lines) and last - row < _ROW and not apart(last + 1) and unfinished(last):
        last += 1
    while first > 0 and top - first < _AROUND and not apart(first - 1):
        if not (same_paragraph(first - 1) or _STEP.match(text(first))):
            break
        first -= 1
    return lines[first].start, lines[last].end
