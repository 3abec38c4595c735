"""Answers to questions for a place in the document: where the section about the subject begins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from egosrag.rag.answer.extractive import Excerpt
from egosrag.rag.documents.splitting import section_at
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.evidence import RetrievedEvidence
from egosrag.rag.retrieval.page_references import without_page_request
from egosrag.schema import Citation, Page
from egosrag.text.sentences import sentence_spans
from egosrag.text.words import without_question_words, words

# Least agreement of a title with the subject, the harmonic mean of the share of the subject's content in the title and
# of the title's words in the question.
_SAME_SUBJECT = 0.6
_SHORTEST_LINE, _LONGEST_LINE = 4, 80  # characters of a line that may be a heading
_LINE_WEIGHT = 0.9
_LONGEST_SECTION = 60  # pages before a passage on which the section that it is in may begin


class _Title(NamedTuple):
    """A title above a passage.

    Attributes:
        text: the title.
        page: of the passage.
        start: where the title is on the page; None where the page only continues its section.
        weight: less than 1 for a line that may be no heading.
    """

    text: str
    page: Page
    start: int | None
    weight: float = 1.0


def section_opening(index: ManualIndex, evidence: RetrievedEvidence) -> Excerpt | None:
    """The opening of the section that is titled with the subject of the question.

    A section goes on over many pages, and its passages are found on any of them; the place of it is where it begins.

    Args:
        index: the index that was searched.
        evidence: what retrieval found for the question.

    Returns:
        None where no title of the passages found is about the subject.
    """
    asked = set(words(without_question_words(without_page_request(evidence.standalone))))
    best: tuple[float, _Title] | None = None
    for hit in evidence.passages:
        for title in _titles(index.page(hit.passage.source, hit.passage.page)):
            own = set(words(without_question_words(title.text)))
            covered = evidence.overlaps[0].of(title.text)
            precise = len(own & asked) / len(own) if own else 0.0
            agreement = title.weight * 2 * covered * precise / (covered + precise) if covered and precise else 0.0
            if agreement >= _SAME_SUBJECT and (best is None or agreement > best[0] + 1e-6):
                best = agreement, title
    if best is None:
        return None
    page, start = _beginning(index, best[1])
    spans = [span for span in sentence_spans(page.text) if span[1] > start]
    quote = page.text[start : spans[min(1, len(spans) - 1)][1]].strip()
    section = section_at(page, start)
    return Excerpt(
        Citation(source=page.source, page=page.page, quote=quote, score=round(min(1.0, best[0]), 3)), section
    )


def _titles(page: Page) -> Iterator[_Title]:
    """The headings on a page, the lines that may be some, then the sections that it continues, the nearest first."""
    for heading in page.headings:
        yield _Title(heading.title, page, heading.start)
    at = 0
    for line in page.text.split("\n"):
        if _SHORTEST_LINE <= len(line) <= _LONGEST_LINE and "|" not in line and line[-1] not in ".。;；,，":
            yield _Title(line, page, at, _LINE_WEIGHT)
        at += len(line) + 1
    for text in reversed([text for text in page.section.split(" > ") if text]):
        yield _Title(text, page, None)


def _beginning(index: ManualIndex, title: _Title) -> tuple[Page, int]:
    """The page and the place on it where the section of a title begins."""
    page = title.page
    if title.start is not None:
        return page, title.start
    for number in range(page.page - 1, max(0, page.page - _LONGEST_SECTION), -1):
        try:
            previous = index.page(page.source, number)
        except KeyError:
            continue
        for heading in reversed(previous.headings):
            if heading.title == title.text:
                return previous, heading.start
        if title.text not in previous.section.split(" > "):
            break
        page = previous
    return page, 0
