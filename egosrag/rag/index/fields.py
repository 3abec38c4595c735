"""Searched fields: the texts of pages and passages that each lexical index is built from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from egosrag.rag.documents.cleaning import contents_entries
from egosrag.rag.documents.raw import Line
from egosrag.rag.index.bm25 import Bm25
from egosrag.schema import Page, Passage

#: called with (step, done, total)
Progress = Callable[[str, int, int], None]
# The analyzer of each lexical index: over windows with their headings, whole pages, the pages' headings alone, and
# single sentences.
LEXICAL = {
    "windows-pairs": "pairs",
    "pages-words": "words",
    "pages-pairs": "pairs",
    "titles-pairs": "pairs",
    "sentences-words": "words",
}
# Coarser than text.sentences, whose spans are for reading: stored indexes and the measured figures depend on it.
_SENTENCE_END = re.compile(r"[。！？；!?\n]+|\.\s")
# A short line that begins or ends with page numbers.
_DIRECTORY_ENTRY = re.compile(
    r"(?=[^|]{3,70}$)(?:\d{1,3}\s+\D.*|.*[^\W\d].*[\s,.…·]\d{1,3}(?:\s*[-–,、]\s*\d{1,3})*\s*)$"
)
_DIRECTORY_TITLE = re.compile(
    r"\W*(?:(?:table of )?contents|index|目\s*[录次]|索\s*引)\s*$", re.IGNORECASE | re.MULTILINE
)
_DIRECTORY_LINES = 6
_MIN_SENTENCE = 5  # characters; a shorter one is not indexed


def no_progress(step: str, done: int, total: int) -> None:
    """A :data:`Progress` that reports nothing."""


def searched_pages(pages: Sequence[Page]) -> list[Page]:
    """The pages except tables of contents and indexes, which contain all titles and no answers; else all."""
    return [page for page in pages if not is_directory(page.text)] or list(pages)


def is_directory(text: str) -> bool:
    """Whether a page is a table of contents, or the index at the end of a book: lines with page numbers."""
    lines = [line for line in text.split("\n") if line.strip()]
    if contents_entries([Line(line) for line in lines]):
        return True
    entries = [line for line in lines if _DIRECTORY_ENTRY.match(line)]
    if len(entries) < _DIRECTORY_LINES or len(entries) * 2 < len(lines):
        return False
    if _DIRECTORY_TITLE.match(text):
        return True
    initials = [line[0].casefold() for line in entries if line[0].isalpha() and line[0].isascii()]
    ordered = sum(one <= other for one, other in zip(initials, initials[1:], strict=False))
    return len(initials) * 2 >= len(entries) and len(set(initials)) > 2 and ordered >= 0.9 * (len(initials) - 1)


def searched_text(passage: Passage) -> str:
    """The searched text of a passage: its headings and its text."""
    return f"{passage.section}\n{passage.text}" if passage.section else passage.text


def indexed_sentences(pages: Sequence[Page], passages: Sequence[Passage]) -> list[list[str]]:
    """The sentences of each page; one empty sentence for a page that has none or is not searched."""
    searched = {(p.source, p.page) for p in passages}
    return [sentences_of(page) if (page.source, page.page) in searched else [""] for page in pages]


def sentences_of(page: Page) -> list[str]:
    """The sentences of a page that are indexed; one empty sentence for a page without any."""
    return [s for s in _SENTENCE_END.split(page.text) if len(s) > _MIN_SENTENCE] or [""]


def build_lexical(pages: Sequence[Page], passages: Sequence[Passage], progress: Progress) -> dict[str, Bm25]:
    """The lexical indexes of pages and their passages, by the names of ``LEXICAL``."""
    searched = {(p.source, p.page) for p in passages}

    # Generators, as the texts of a large document would be in memory a second time.
    def texts(field: str) -> Iterator[str]:
        if field == "windows":
            yield from map(searched_text, passages)
        elif field == "sentences":
            for page in pages:
                yield from sentences_of(page) if (page.source, page.page) in searched else [""]
        elif field == "pages":
            yield from (page.text if (page.source, page.page) in searched else "" for page in pages)
        else:
            yield from (" ".join([*p.section.split(" > ")[1:], *(h.title for h in p.headings)]) for p in pages)

    lexical: dict[str, Bm25] = {}
    counts = {"windows": len(passages), "pages": len(pages), "titles": len(pages)}
    counts["sentences"] = sum(len(sentences_of(p)) if (p.source, p.page) in searched else 1 for p in pages)
    total, done = sum(counts[name.split("-")[0]] for name in LEXICAL), 0
    # The largest first, while the others take no memory yet.
    for name in sorted(LEXICAL, key=lambda name: ("sentences", "windows", "pages", "titles").index(name.split("-")[0])):
        field = name.split("-")[0]
        count = counts[field]

        def report(documents: int, done: int = done, count: int = count) -> None:
            progress("indexing words", done + min(documents, count), total)

        progress("indexing words", done, total)
        lexical[name] = Bm25.build(LEXICAL[name], texts(field), report)
        done += count
    progress("indexing words", total, total)
    return {name: lexical[name] for name in LEXICAL}
