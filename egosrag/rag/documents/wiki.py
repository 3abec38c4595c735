"""Boilerplate of wiki and encyclopedia pages: edit links, footnote marks, navigation boxes.

MediaWiki (Wikipedia, Fandom, Moegirl) marks these parts by class; Baidu Baike hashes its class names, so there only the
structure of the tags is used. The text is kept, and of an infobox each fact as one line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bs4 import BeautifulSoup

_BOILERPLATE = (
    ".mw-editsection, .mw-jump-link, .mw-empty-elt, .navbox, .vertical-navbox, .navigation-not-searchable, .hatnote, "
    ".toc, #toc, .catlinks, #catlinks, .printfooter, .noprint, .reflist, ol.references, .mw-references-wrap, "
    ".pi-navigation, .page-header__languages, [role=navigation]"
)
_BLOCKS = ["p", "div", "ul", "ol", "dl", "table", "pre"]  # a value with these tags is text and not a fact
_FOOTNOTE = re.compile(
    r"\s*[\[［](?:\d+(?:\s*[-–,、]\s*\d+)*|[a-z]|note \d+|注 ?\d+|来源请求|citation needed)[\]］]\s*"
)


def strip_boilerplate(soup: BeautifulSoup) -> None:
    """Remove the boilerplate of a page, and join the label and the value of each infobox fact with `` | ``."""
    for tag in soup.select(_BOILERPLATE):
        if not tag.decomposed:
            tag.decompose()
    for tag in soup("sup"):
        if _FOOTNOTE.fullmatch(tag.get_text()):
            tag.decompose()
    for label, value in [(tag, tag.find_next_sibling()) for tag in soup.select("dt, .pi-data-label")]:
        after = value.find_next_sibling() if value else None
        is_pair = value is not None and (value.name == "dd" or "pi-data-value" in (value.get("class") or ()))
        if value is not None and is_pair and (after is None or after.name != "dd") and not value(_BLOCKS):
            label.append(" | ")
            label.extend(list(value.contents))
            value.decompose()
            label.name = "div"
