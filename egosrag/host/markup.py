"""Untrusted text with Markdown as HTML that is safe to show: emphasis, lists, code and quotes, nothing else.

HTML in the text stays text. Pictures and links are not made, so that nothing is loaded from elsewhere and no address
hides behind other words; both stay readable as they were written.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from html import escape

from markdown_it import MarkdownIt

_RULES = ["emphasis", "list", "fence", "code", "backticks", "blockquote", "newline", "escape", "hr", "strikethrough"]


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("zero", {"html": False, "breaks": True, "linkify": False}).enable(_RULES)


def markup(text: str, kind: str = "") -> str:
    """HTML of a text, in one ``<div class="said">``; ``*actions*`` are emphasized as in Markdown.

    Args:
        text: untrusted text.
        kind: a further CSS class of the element.
    """
    return f'<div class="{f"said {kind}".strip()}">{_parser().render(text)}</div>'


def cited_markup(parts: Sequence[tuple[str, str, str]]) -> str:
    """HTML of an answer in parts, each followed by a small button to the page that supports it.

    Args:
        parts: text, label of its button, and key of the page's own button that it presses; no button for an empty key.
    """
    pieces = []
    for text, label, key in parts:
        button = f' <button class="cite" data-press="{escape(key)}">{escape(label)}</button>' if key else ""
        pieces.append(f"<span>{escape(text)}</span>{button} ")
    return f'<div class="said answer">{"".join(pieces)}</div>'
