"""Split pages into passages at sentence punctuation, Chinese and English (report 6.2).

A passage is a window of whole sentences over one page: ``page.text[start:end] == text``. Sizes are counted in
Chinese characters; a page that is mostly Latin script counts 7 characters for 3, because a Latin letter tells
less: ``window=300, overlap=100`` is 700 and 233 characters there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from egosrag.errors import SettingsError
from egosrag.schema import Page, Passage
from egosrag.text.language import language_of
from egosrag.text.sentences import Span, sentence_spans

_SOFT = re.compile(r"[，、,：:]\s*|\s+")
LATIN_SCALE = 7 / 3
CALLOUT = re.compile(
    r"(?:警告|注意|说明|提示|危险|小心|WARNING|CAUTION|NOTE|NOTICE|DANGER|TIP)\s*[!！:：]?\s*", re.IGNORECASE
)


def split_pages(pages: Iterable[Page], *, window: int = 300, overlap: int = 100) -> list[Passage]:
    """Passages of at most ``window`` characters that share up to ``overlap`` with the one before.

    Args:
        pages: clean pages.
        window: longest passage, in Chinese characters (see the module's rule for Latin script).
        overlap: most that neighbouring passages of a page share, in the same unit.

    Raises:
        SettingsError: ``overlap`` is not smaller than ``window``, or either is out of range.
    """
    if not 0 <= overlap < window or window < 20:
        raise SettingsError(f"window {window}, overlap {overlap}: make window 20 or more and overlap smaller than it")
    return [passage for page in pages for passage in _windows(page, window, overlap)]


def _windows(page: Page, window: int, overlap: int) -> Iterator[Passage]:
    if language_of(page.text) == "en":
        window, overlap = int(window * LATIN_SCALE), int(overlap * LATIN_SCALE)
    pieces = [piece for span in sentence_spans(page.text) for piece in _cut(page.text, span, window)]
    pieces = _with_callouts(page.text, pieces, window)
    first = 0
    while first < len(pieces):
        last = first
        while last + 1 < len(pieces) and pieces[last + 1][1] - pieces[first][0] <= window:
            last += 1
        start, end = pieces[first][0], pieces[last][1]
        if page.text[start:end].strip():
            yield _passage(page, start, end)
        if last + 1 >= len(pieces):
            return
        # Step back over whole sentences, as far as the overlap and the need to go forward allow.
        first, next_end = last + 1, pieces[last + 1][1]
        while end - pieces[first - 1][0] <= overlap and next_end - pieces[first - 1][0] <= window:
            first -= 1


def _passage(page: Page, start: int, end: int) -> Passage:
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
    """The path of headings, joined by " > ", under which the character at ``offset`` of a page stands."""
    path = [(0, title) for title in page.section.split(" > ") if title]
    own = [h for h in page.headings if h.start <= offset]
    if own:
        # The headings that the page opens in keep no level of their own: a first heading of level n replaces
        # all of them from the n-th on.
        path = path[: min(own[0].level, len(path))] if page.section else []
        for heading in own:
            path = [(n, t) for n, t in path if n < heading.level] + [(heading.level, heading.title)]
    return " > ".join(title for _, title in path)


def _cut(text: str, span: Span, limit: int) -> Iterator[Span]:
    """A sentence in pieces of at most ``limit``: at the last comma or space that fits, else hard."""
    start, end = span
    while end - start > limit:
        cuts = [m.end() for m in _SOFT.finditer(text, start, start + limit) if m.end() - start >= limit // 3]
        cut = min(cuts[-1], start + limit) if cuts else start + limit
        yield start, cut
        start = cut
    yield start, end


def _with_callouts(text: str, pieces: Sequence[Span], limit: int) -> list[Span]:
    """A warning's head (警告！, NOTE:) and what follows it become one piece, so that no window parts them."""
    joined: list[Span] = []
    for piece in pieces:
        if joined and CALLOUT.fullmatch(text[slice(*joined[-1])]) and piece[1] - joined[-1][0] <= limit:
            joined[-1] = (joined[-1][0], piece[1])
        else:
            joined.append(piece)
    return joined
