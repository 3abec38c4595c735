"""Extractive answers: the sentences of the retrieved passages that answer a question, quoted verbatim.

This is the answer (mode "quoted") of models that are extractive only, and where no sentence of the model is supported
although the passages fit the question well: a small model's mistakes then cost the wording and not the answer.

A sentence is rated by its own words; at a discount by those around it (its heading, the head of its table, the sentence
that its pronoun refers to); and by whether it has the form of the answer that is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from egosrag.rag.answer.answer_types import Verdict, answer_patterns, asks_for_instructions, only_prohibits
from egosrag.rag.answer.citation_verifier import is_negated, join_sentences
from egosrag.rag.answer.decision import QUOTE_FROM
from egosrag.rag.documents.procedures import around, goes_on, procedures
from egosrag.rag.documents.splitting import CALLOUT, section_at
from egosrag.rag.index.manual_index import ManualIndex
from egosrag.rag.retrieval.evidence import RetrievedEvidence
from egosrag.rag.retrieval.lexical_overlap import Overlap
from egosrag.rag.retrieval.page_references import named_pages
from egosrag.rag.retrieval.search import ScoredPassage
from egosrag.schema import Answer, AttributedSentence, Citation, Page
from egosrag.text.sentences import Span, sentence_spans

# Chosen on the sample manuals: the excerpt contains the answer to 64 of 64 direct questions (59 without these) and 15
# of 16 follow-ups (11). Car manual, silver questions: ROUGE-1 F 0.252 (0.249), so there the retrieval decides.
_CONTEXT_WEIGHT = 0.5
_ANSWER_TYPE_BONUS = 0.15
_PROHIBITION_PENALTY = 0.25

_OPENING_SENTENCES = 6  # of a page, quoted where a question only names the page
_PARAGRAPH_SENTENCES = 2  # on either side of the best sentence that an excerpt may include
_TABLE_ROW_LINES = 3  # that a table row broken over lines may add
_AFTER_PASSAGE = 300  # characters after its end that are searched too
_LIST_ITEM = re.compile(r"\s*(?:[■□●○•\-*]|\d{1,2}[.、)\s]|0\d|[①-⑳]|[（(]\d)")
_REFERS_BACK = re.compile(r"(?:It|Its|They|Their|Them|This|These|That|The same)\b|[它其该此]|这")
_FINISHED = re.compile(r"[。！？!?.…：:；;，,][”’」』\"')）]*$")


class Excerpt(NamedTuple):
    """Consecutive sentences of one page, with the path of headings above them."""

    citation: Citation
    section: str

    def overlap(self, overlap: Overlap) -> float:
        """The overlap with the quote, with or without its headings, whichever is larger."""
        return _overlap_with_headings(overlap, self.citation.quote, self.section)


class _RatedSentence(NamedTuple):
    start: int
    end: int
    is_heading: bool
    section: str
    rating: float


def choose_excerpt(index: ManualIndex, evidence: RetrievedEvidence) -> Excerpt | None:
    """The excerpt that answers a question: of the page that the question names, else of any passage.

    Args:
        index: the index that was searched.
        evidence: what retrieval found.

    Returns:
        None where no passage has a fitting sentence, or none is on the named page.
    """
    pages = named_pages(evidence.standalone)
    if not pages:
        return best_excerpt(index, evidence.question, evidence.passages, evidence.question_overlap)
    hits = [hit for hit in evidence.passages if hit.passage.page in pages]
    if not hits:
        return None
    fitting = best_excerpt(index, evidence.standalone, hits, evidence.overlaps[0])
    return fitting if fitting and fitting.citation.score >= QUOTE_FROM else page_opening(index, hits)


def best_excerpt(index: ManualIndex, question: str, hits: Sequence[ScoredPassage], overlap: Overlap) -> Excerpt | None:
    """The sentences of the retrieved passages that answer a question best.

    Args:
        index: the index that was searched.
        question: the question as the user asked it; its form says which kind of answer is expected.
        hits: the retrieved passages, best first.
        overlap: measures sentences against the question.
    """
    best: tuple[float, Excerpt] | None = None
    for hit in hits:
        page = index.page(hit.passage.source, hit.passage.page)
        sentences = _rated_sentences(page, question, hit, overlap)
        if not sentences:
            continue
        top = max(range(len(sentences)), key=lambda i: (sentences[i].rating, -i))
        start, end = _with_lists(page, sentences[top], _extended(page, sentences, top), asks_for_instructions(question))
        text = page.text[start:end].strip()
        rating = sentences[top].rating * hit.score
        if text and (best is None or rating > best[0]):
            section = sentences[top].section
            score = round(min(1.0, _overlap_with_headings(overlap, text, section)), 3)
            best = rating, Excerpt(Citation(source=page.source, page=page.page, quote=text, score=score), section)
    return best[1] if best else None


def page_opening(index: ManualIndex, hits: Sequence[ScoredPassage]) -> Excerpt:
    """The first sentences of the first passage's page: an answer where a question only names the page."""
    passage = hits[0].passage
    page = index.page(passage.source, passage.page)
    spans = sentence_spans(page.text)[:_OPENING_SENTENCES]
    quote = page.text[spans[0][0] : spans[-1][1]].strip()
    section = section_at(page, spans[-1][0])
    return Excerpt(Citation(source=page.source, page=page.page, quote=quote, score=1.0), section)


def extractive_answer(
    excerpt: Excerpt, language: str, *, page_number: bool = False, verdict: Verdict | None = None, note: str = ""
) -> Answer:
    """The excerpt as an answer.

    Args:
        excerpt: what is quoted.
        language: "zh" or "en".
        page_number: whether the question asks for a page: then the answer is the number, known from the document and
            not from the model, with the excerpt's heading.
        verdict: the yes or no of the model, which goes before the excerpt unless that says the opposite.
        note: a sentence that goes after the excerpt (see :func:`continuation`).
    """
    text = excerpt.citation.quote
    if page_number:
        number = f"第{excerpt.citation.page}页：" if language == "zh" else f"Page {excerpt.citation.page}: "
        text = number + (excerpt.section or text)
    sentences = tuple(
        AttributedSentence(text=text[start:end].strip(), citation=0) for start, end in sentence_spans(text)
    )
    if verdict and not (verdict.positive and is_negated(text)):
        sentences = (AttributedSentence(text=verdict.text, citation=0), *sentences)
        text = join_sentences([verdict.text, text])
    if note:
        sentences = (*sentences, AttributedSentence(text=note, citation=0))
        text = f"{text}\n{note}"
    return Answer(answer=text, refused=False, citations=(excerpt.citation,), mode="quoted", sentences=sentences)


def continuation(index: ManualIndex, excerpt: Excerpt, language: str) -> str:
    """A sentence that says on which page the steps of an excerpt go on or begin; empty where they are all in it."""
    page = index.page(excerpt.citation.source, excerpt.citation.page)
    steps = [p for p in procedures(page) if p.first and page.text[p.start : p.end].strip() in excerpt.citation.quote]
    if not steps:
        return ""
    notes = []
    if steps[0].first > 1 and steps[0].start == 0:
        number = page.page - 1
        notes.append(f"前面的步骤见第{number}页。" if language == "zh" else f"The steps before are on page {number}.")
    try:
        following = index.page(page.source, page.page + 1)
    except KeyError:
        following = None
    if page.text[steps[-1].end :].strip() == "" and goes_on(page, following):
        number = page.page + 1
        notes.append(f"续见第{number}页。" if language == "zh" else f"Continues on page {number}.")
    return join_sentences(notes)


def _overlap_with_headings(overlap: Overlap, text: str, section: str) -> float:
    return max(overlap.of(text), overlap.of(f"{section}\n{text}"))


def _rated_sentences(page: Page, question: str, hit: ScoredPassage, overlap: Overlap) -> list[_RatedSentence]:
    """The sentences of the page from the start of the passage to the end of the section in which it ends."""
    titles = {h.start for h in page.headings}
    next_headings = [h.start for h in page.headings if h.start >= hit.passage.end]
    stop = min(next_headings[0] if next_headings else len(page.text), hit.passage.end + _AFTER_PASSAGE)
    patterns = answer_patterns(question)
    rated, before, table_head = list[_RatedSentence](), "", ""
    for start, end in sentence_spans(page.text):
        text = page.text[start:end].strip()
        if end > hit.passage.start and start < stop and text:
            section = section_at(page, start)
            is_heading = start in titles
            rating = 0.0
            # Headings and the heads of warnings answer nothing, but lend their words to the sentences below them.
            if not is_heading and not CALLOUT.fullmatch(text):
                referent = before if _REFERS_BACK.match(text) else ""
                context = "\n".join([section.rsplit(" > ", 1)[-1], referent, table_head])
                own = overlap.of(text)
                rating = own + _CONTEXT_WEIGHT * (overlap.of(f"{context}\n{text}") - own)
                if rating > 0:
                    rating += _ANSWER_TYPE_BONUS * sum(bool(pattern.search(text)) for pattern in patterns)
                    rating -= _PROHIBITION_PENALTY * rating * only_prohibits(question, text)
            rated.append(_RatedSentence(start, end, is_heading, section, rating))
        before, table_head = text, "" if start in titles or _FINISHED.search(text) else table_head or text
    return rated


def _extended(page: Page, sentences: Sequence[_RatedSentence], top: int) -> tuple[int, int]:
    """The span of the best sentence with the rest of its paragraph, list or table row, and a list's introduction."""
    first = last = top
    section = sentences[top].section

    def text(i: int) -> str:
        return page.text[sentences[i].start : sentences[i].end].strip()

    def in_paragraph(i: int) -> bool:
        return "\n" not in page.text[sentences[i].start : sentences[i].end]  # the line continues after sentence i

    def is_apart(i: int) -> bool:
        return sentences[i].section != section or sentences[i].is_heading or bool(CALLOUT.fullmatch(text(i)))

    def is_unfinished(i: int) -> bool:
        is_row = "|" in text(i)  # rows of tables are whole lines
        return not is_row and not _FINISHED.search(text(i)) and not any(c.isdigit() for c in text(i))

    while last + 1 < len(sentences) and last - top < _PARAGRAPH_SENTENCES and not is_apart(last + 1):
        if not (in_paragraph(last) or _LIST_ITEM.match(text(last + 1)) or text(last).endswith(("：", ":"))):
            break
        last += 1
    row = last
    while (
        last + 1 < len(sentences) and last - row < _TABLE_ROW_LINES and not is_apart(last + 1) and is_unfinished(last)
    ):
        last += 1
    while first > 0 and top - first < _PARAGRAPH_SENTENCES and not is_apart(first - 1):
        if not (in_paragraph(first - 1) or _LIST_ITEM.match(text(first))):
            break
        first -= 1
    return sentences[first].start, sentences[last].end


def _with_lists(page: Page, best: _RatedSentence, span: Span, instructions: bool) -> Span:
    """A span with each list that it contains a part of as a whole, or without it.

    Args:
        page: the page.
        best: the sentence that answers best; the list that it is in is always part of the answer.
        span: the sentences around it.
        instructions: whether the question asks how something is done: then so is any other list.
    """
    if instructions:
        return around(page, *span)
    start, end = span
    for procedure in procedures(page):
        if procedure.start < best.end and best.start < procedure.end:
            start, end = min(start, procedure.start), max(end, procedure.end)
        elif best.end <= procedure.start < end:
            end = procedure.start
        elif start < procedure.end <= best.start:
            start = procedure.end
    return start, end
