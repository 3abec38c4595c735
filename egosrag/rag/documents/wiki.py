"""What the pages of wikis and encyclopedias carry around their text: edit links, footnote marks, boxes of links.

MediaWiki (Wikipedia, Fandom, Moegirl) names these parts by class; Baidu Baike hashes its class names, so there only
the shape of the tags is used. What is read of such a page is its text and its box of facts, a fact a line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bs4 import BeautifulSoup

_FURNITURE = (
    ".mw-editsection, .mw-jump-link, .mw-empty-elt, .navbox, .vertical-navbox, .navigation-not-searchable, .hatnote, "
    ".toc, #toc, .catlinks, #catlinks, .printfooter, .noprint, .reflist, ol.references, .mw-references-wrap, "
    ".pi-navigation, .page-header__languages, [role=navigation]"
)
_BLOCKS = ["p", "div", "ul", "ol", "dl", "table", "pre"]  # a value with these is a text, not a fact
_FOOTNOTE = re.compile(
    r"\s*[\[［](?:\d+(?:\s*[-–,、]\s*\d+)*|[a-z]|note \d+|注 ?\d+|来源请求|citation needed)[\]］]\s*"
)


def strip_furniture(soup: BeautifulSoup) -> None:
    """Takes out of a page what is not its text, and joins the label and value of each fact with `` | ``."""
    for tag in soup.select(_FURNITURE):
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
