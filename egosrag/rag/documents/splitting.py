"""Split pages into passages at sentence punctuation, Chinese and English (report 6.2).

A passage is a window of whole sentences on one page: ``page.text[start:end] == text``. Sizes are in Chinese
characters; on a page in mostly Latin script 7 characters count as 3, because a Latin letter carries less information:
``window=300, overlap=100`` is 700 and 233 characters there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from egosrag.errors import SettingsError
from egosrag.rag.documents.procedures import procedures
from egosrag.schema import Page, Passage
from egosrag.text.language import language_of
from egosrag.text.sentences import Span, sentence_spans

_SOFT_BREAK = re.compile(r"[，、,：:]\s*|\s+")
_PROGRESS_STEP = 50  # pages
LATIN_SCALE = 7 / 3
#: the head of a warning or note, such as 警告！ or NOTE:
CALLOUT = re.compile(
    r"(?:警告|注意|说明|提示|危险|小心|WARNING|CAUTION|NOTE|NOTICE|DANGER|TIP)\s*[!！:：]?\s*", re.IGNORECASE
)


def split_pages(
    pages: Sequence[Page],
    *,
    window: int = 300,
    overlap: int = 100,
    progress: Callable[[int, int], None] | None = None,
) -> list[Passage]:
    """Passages of at most ``window`` characters that overlap with the previous one by at most ``overlap``.

    Args:
        pages: clean pages.
        window: maximum length of a passage, in Chinese characters (see the module's rule for Latin script).
        overlap: maximum overlap of neighbouring passages of a page, in the same unit.
        progress: called with (done, total) pages.

    Raises:
        SettingsError: ``overlap`` is not smaller than ``window``, or either is out of range.
    """
    if not 0 <= overlap < window or window < 20:
        raise SettingsError(f"window {window}, overlap {overlap}: make window 20 or more and overlap smaller than it")
    passages: list[Passage] = []
    for n, page in enumerate(pages):
        if progress and n % _PROGRESS_STEP == 0:
            progress(n, len(pages))
        passages += _windows(page, window, overlap)
    return passages


def _windows(page: Page, window: int, overlap: int) -> Iterator[Passage]:
    if language_of(page.text) == "en":
        window, overlap = int(window * LATIN_SCALE), int(overlap * LATIN_SCALE)
    spans = [part for span in sentence_spans(page.text) for part in _split_long(page.text, span, window)]
    spans = _join_lists(page, _join_callouts(page.text, spans, window), window)
    first = 0
    while first < len(spans):
        last = first
        while last + 1 < len(spans) and spans[last + 1][1] - spans[first][0] <= window:
            last += 1
        start, end = spans[first][0], spans[last][1]
        if page.text[start:end].strip():
            yield passage_at(page, start, end)
        if last + 1 >= len(spans):
            return
        # Step back over whole sentences as far as the overlap allows and the next window still contains a new one.
        first, next_end = last + 1, spans[last + 1][1]
        while end - spans[first - 1][0] <= overlap and next_end - spans[first - 1][0] <= window:
            first -= 1


def passage_at(page: Page, start: int, end: int) -> Passage:
    """The characters ``start`` to ``end`` of a page as a passage, without white space around them."""
    text = page.text[start:end]
    start, end = start + len(text) - len(text.lstrip()), end - (len(text) - len(text.rstrip()))
    return Passage(
        id=f"{page.source}#{page.page}:{start}-{end}",
        source=page.source,
        page=page.page,
        start=start,
        end=end,
        text=page.text[start:end],
        section=section_at(page, start),
    )


def section_at(page: Page, offset: int) -> str:
    """The path of headings, joined by " > ", above the character at ``offset`` of a page."""
    path = [(0, title) for title in page.section.split(" > ") if title]
    own = [h for h in page.headings if h.start <= offset]
    if own:
        # The levels of the headings in page.section are not known: a first heading of level n on the page replaces
        # them from the n-th on.
        path = path[: min(own[0].level, len(path))] if page.section else []
        for heading in own:
            path = [(n, t) for n, t in path if n < heading.level] + [(heading.level, heading.title)]
    return " > ".join(title for _, title in path)


def _split_long(text: str, span: Span, limit: int) -> Iterator[Span]:
    """A sentence in parts of at most ``limit`` characters: split at the last comma or space, or anywhere."""
    start, end = span
    while end - start > limit:
        cuts = [m.end() for m in _SOFT_BREAK.finditer(text, start, start + limit) if m.end() - start >= limit // 3]
        cut = min(cuts[-1], start + limit) if cuts else start + limit
        yield start, cut
        start = cut
    yield start, end


def _join_lists(page: Page, spans: Sequence[Span], limit: int) -> list[Span]:
    """The spans with those of each list joined, so that no window separates its items, if one has room for them."""
    lists = [(p.start, p.end) for p in procedures(page) if p.end - p.start <= limit]
    joined: list[Span] = []
    for span in spans:
        inside = joined and any(start <= joined[-1][0] and span[0] < end for start, end in lists)
        if inside and span[1] - joined[-1][0] <= limit:
            joined[-1] = (joined[-1][0], span[1])
        else:
            joined.append(span)
    return joined


def _join_callouts(text: str, spans: Sequence[Span], limit: int) -> list[Span]:
    """The spans with each head of a warning joined to the sentence after it, so that no window separates them."""
    joined: list[Span] = []
    for span in spans:
        if joined and CALLOUT.fullmatch(text[slice(*joined[-1])]) and span[1] - joined[-1][0] <= limit:
            joined[-1] = (joined[-1][0], span[1])
        else:
            joined.append(span)
    return joined
