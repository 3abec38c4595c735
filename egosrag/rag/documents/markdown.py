"""Markdown: CommonMark with tables, front matter, and ``<!-- page 7 -->`` where page 7 of a printed document starts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from egosrag.rag.documents.html import escape_unknown_tags, html_lines
from egosrag.rag.documents.raw import Line, RawDocument, RawPage
from egosrag.rag.documents.tables import table_lines
from egosrag.text.encoding import decode

if TYPE_CHECKING:
    from markdown_it.token import Token

_PAGE_MARK = re.compile(r"<!--\s*page\s+(\d{1,9})\s*-->")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_FRONT_MATTER = re.compile(r"\A\ufeff?(---|\+\+\+)[ \t]*\n(.*?\n)?(?:\1|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"^title\s*[:=]\s*(.+?)\s*$", re.MULTILINE | re.IGNORECASE)
_ENTRY = re.compile(r"^(?:[\w.-]+\s*[:=].*|\s*#.*|\s*-\s.*|\s+.*|\s*|\[[\w.]+\])$")


def read_markdown(path: Path) -> RawDocument:
    """The lines of a Markdown file, in pages where it has marks of pages.

    Raises:
        SourceError: the file is not text.
    """
    title, source = _without_front_matter(re.sub(r"\r\n?", "\n", decode(path)))
    parts = _PAGE_MARK.split(source)
    pages: dict[int, list[Line]] = {}
    for number, text in zip(("1", *parts[1::2]), parts[::2], strict=True):
        pages.setdefault(int(number), []).extend(markdown_lines(_COMMENT.sub("", text)))
    filled = [RawPage(n, lines) for n, lines in pages.items() if any(line.text.strip() for line in lines)]
    if title and filled and not any(line.text == title for line in filled[0].lines[:3]):
        filled[0].lines.insert(0, Line(title, 1))
    return RawDocument(filled, "flow")


def _without_front_matter(source: str) -> tuple[str, str]:
    """The title of the front matter, if there is one, and the rest of the source."""
    match = _FRONT_MATTER.match(source)
    if not match or not all(map(_ENTRY.match, (match.group(2) or "").splitlines())):
        return "", source
    title = _TITLE.search(match.group(2) or "")
    return title.group(1).strip("\"'") if title else "", source[match.end() :]


def markdown_lines(source: str) -> list[Line]:
    """The lines of Markdown source: headings, paragraphs, list items with their marks, and table rows."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    lines = list[Line]()
    marks = list[list[str | int]]()  # of the lists that are open: a bullet, or the next number and its delimiter
    item = ""  # the mark of a list item that has no text yet
    tokens = parser.parse(source)
    n = 0
    while n < len(tokens):
        token = tokens[n]
        if token.type == "heading_open":
            lines.append(Line(inline_text(tokens[n + 1]), int(token.tag[1])))
            n += 1
        elif token.type == "table_open":
            end = next(i for i in range(n, len(tokens)) if tokens[i].type == "table_close")
            lines += [Line(row) for row in table_lines(_rows(tokens[n:end]), 1)]
            n = end
        elif token.type in ("bullet_list_open", "ordered_list_open"):
            marks.append([int(token.attrGet("start") or 1), token.markup] if token.tag == "ol" else [token.markup])
        elif token.type in ("bullet_list_close", "ordered_list_close"):
            marks.pop()
        elif token.type == "list_item_open":
            mark = marks[-1]
            item = f"{mark[0]}{mark[1]} " if len(mark) > 1 else f"{mark[0]} "
            if len(mark) > 1:
                mark[0] = int(mark[0]) + 1
        elif token.type == "inline":
            lines.append(Line(item + inline_text(token)))
            item = ""
        elif token.type in ("fence", "code_block"):
            lines += [Line(item + line) for line in token.content.splitlines() if line.strip()]
            item = ""
        elif token.type == "html_block":
            lines += html_lines(escape_unknown_tags(token.content))
        n += 1
    return lines


def inline_text(token: Token) -> str:
    """The text of a paragraph, a heading or a cell without its markup; soft and hard breaks are line breaks."""
    parts: list[str] = []
    has_html = any(child.type == "html_inline" for child in token.children or [])
    for child in token.children or []:
        if child.type in ("text", "code_inline", "image"):
            parts.append(escape(child.content, quote=False) if has_html else child.content)
        elif child.type in ("softbreak", "hardbreak"):
            parts.append("\n")
        elif child.type == "html_inline":
            parts.append(escape_unknown_tags(child.content))
    text = "".join(parts)
    if not has_html:
        return text
    return "\n".join(" ".join(line.text for line in html_lines(part)) for part in text.split("\n"))


def _rows(tokens: Sequence[Token]) -> list[list[str]]:
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(inline_text(token))
    return rows
