"""Questions about page numbers: those that name a page, and those that ask on which page something is."""

from __future__ import annotations

import re

_PAGE_NUMBER = re.compile(r"第\s*(\d{1,4})\s*页|\b(?:pages?|p\.)\s*(\d{1,4})\b", re.IGNORECASE)
_WHICH_PAGE = re.compile(
    r"[，,]?(?:的?相关(?:内容|信息))?(?:这[一]?[个项](?:操作|内容))?在?(?:手册的?)?(?:第几页|哪一?页|几页)(?:可以找到相关内容)?"
    r"|\b(?:on\s+)?(?:which|what)\s+page\b",
    re.IGNORECASE,
)


def named_pages(question: str) -> set[int]:
    """The page numbers that a question names, as in “第307页讲什么”."""
    return {int(chinese or latin) for chinese, latin in _PAGE_NUMBER.findall(question)}


def asks_for_page(question: str) -> bool:
    """Whether the answer to the question is a page number, as in “在第几页”."""
    return bool(_WHICH_PAGE.search(question))


def without_page_request(question: str) -> str:
    """``question`` without the words that ask for a page number: they match nothing in a manual."""
    return _WHICH_PAGE.sub(" ", question)
