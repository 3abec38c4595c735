"""Searched fields: the texts of pages and passages that each lexical index is built from."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from egosrag.rag.documents.cleaning import contents_entries
from egosrag.rag.documents.raw import Line
from egosrag.rag.index.bm25 import Bm25
from egosrag.schema import Page, Passage

#: called with (step, done, total)
Progress = Callable[[str, int, int], None]
# The analyzer of each lexical index: over windows with their headings, whole pages, the pages' headings alone, and
# single sentences.
LEXICAL = {
    "windows-words": "words",
    "windows-pairs": "pairs",
    "pages-words": "words",
    "pages-pairs": "pairs",
    "titles-pairs": "pairs",
    "sentences-words": "words",
}
# Coarser than text.sentences, whose spans are for reading: stored indexes and the measured figures depend on it.
_SENTENCE_END = re.compile(r"[。！？；!?\n]+|\.\s")
_MIN_SENTENCE = 5  # characters; a shorter one is not indexed


def no_progress(step: str, done: int, total: int) -> None:
    """A :data:`Progress` that reports nothing."""


def searched_pages(pages: Sequence[Page]) -> list[Page]:
    """The pages except tables of contents, which contain all titles and no answers; if there are no others, all."""
    return [p for p in pages if not contents_entries([Line(t) for t in p.text.split("\n")])] or list(pages)


def searched_text(passage: Passage) -> str:
    """The searched text of a passage: its headings and its text."""
    return f"{passage.section}\n{passage.text}" if passage.section else passage.text


def indexed_sentences(pages: Sequence[Page], passages: Sequence[Passage]) -> list[list[str]]:
    """The sentences of each page; one empty sentence for a page that has none or is not searched."""
    searched = {(p.source, p.page) for p in passages}
    return [
        ((p.source, p.page) in searched and [s for s in _SENTENCE_END.split(p.text) if len(s) > _MIN_SENTENCE]) or [""]
        for p in pages
    ]


def build_lexical(pages: Sequence[Page], passages: Sequence[Passage], progress: Progress) -> dict[str, Bm25]:
    """The lexical indexes of pages and their passages, by the names of ``LEXICAL``."""
    searched = {(p.source, p.page) for p in passages}
    whole = [page.text if (page.source, page.page) in searched else "" for page in pages]
    titles = [" ".join([*page.section.split(" > ")[1:], *(h.title for h in page.headings)]) for page in pages]
    sentences = [sentence for page in indexed_sentences(pages, passages) for sentence in page]
    texts = {"windows": [searched_text(p) for p in passages], "pages": whole, "titles": titles, "sentences": sentences}
    lexical = {}
    for done, (name, analyzer) in enumerate(LEXICAL.items()):
        progress("indexing words", done, len(LEXICAL))
        lexical[name] = Bm25.build(analyzer, texts[name.split("-")[0]])
    progress("indexing words", len(LEXICAL), len(LEXICAL))
    return lexical
