"""What is searched of pages and passages: the texts of each lexical index."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from egosrag.rag.documents.cleaning import contents
from egosrag.rag.documents.readers import Line
from egosrag.rag.index.bm25 import Bm25
from egosrag.schema import Page, Passage

Progress = Callable[[str, int, int], None]
# The lexical indexes: over windows with their headings, whole pages, the pages' headings alone, and single sentences.
LEXICAL = {
    "windows-words": "words",
    "windows-pairs": "pairs",
    "pages-words": "words",
    "pages-pairs": "pairs",
    "titles-pairs": "pairs",
    "sentences-words": "words",
}
_SENTENCE = re.compile(r"[。！？；!?\n]+|\.\s")


def silent(what: str, done: int, total: int) -> None:
    """The progress of a caller who does not want one."""


def searched_pages(pages: Sequence[Page]) -> list[Page]:
    """The pages but for tables of contents, which hold every title and tell nothing; all, where there are no others."""
    return [p for p in pages if not contents([Line(t) for t in p.text.split("\n")])] or list(pages)


def searched_text(passage: Passage) -> str:
    """What is searched of a passage: its headings and its text."""
    return f"{passage.section}\n{passage.text}" if passage.section else passage.text


def sentences_of(pages: Sequence[Page], passages: Sequence[Passage]) -> list[list[str]]:
    """The sentences of each page; one empty one where the page has none or is not searched."""
    searched = {(p.source, p.page) for p in passages}
    return [
        ((p.source, p.page) in searched and [s for s in _SENTENCE.split(p.text) if len(s) > 5]) or [""] for p in pages
    ]


def build_lexical(pages: Sequence[Page], passages: Sequence[Passage], report: Progress) -> dict[str, Bm25]:
    """All lexical indexes of pages and their passages, by name."""
    searched = {(p.source, p.page) for p in passages}
    whole = [page.text if (page.source, page.page) in searched else "" for page in pages]
    titles = [" ".join([*page.section.split(" > ")[1:], *(h.title for h in page.headings)]) for page in pages]
    sentences = [sentence for page in sentences_of(pages, passages) for sentence in page]
    texts = {"windows": [searched_text(p) for p in passages], "pages": whole, "titles": titles, "sentences": sentences}
    made = {}
    for done, (name, analyzer) in enumerate(LEXICAL.items()):
        report("indexing words", done, len(LEXICAL))
        made[name] = Bm25.build(analyzer, texts[name.split("-")[0]])
    report("indexing words", len(LEXICAL), len(LEXICAL))
    return made
