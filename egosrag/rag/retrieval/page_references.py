"""Questions about places in a document: those that name a page, and those that ask for a page, chapter or section."""

from __future__ import annotations

import re

from egosrag.text.quantities import chinese_number

_LONGEST_RANGE = 20  # pages that a question names by the first and the last of them
_SPAN = r"(\d{1,4})(?:\s*(?:[-–—~～至到和与及、]|to|and|or)\s*(?:第\s*)?(\d{1,4}))?"
_PAGE_NUMBER = re.compile(
    rf"第\s*{_SPAN}\s*页|第\s*([一二三四五六七八九十百零〇]{{1,7}})\s*页|\b(?:pages?|pp?\.)\s*{_SPAN}\b", re.IGNORECASE
)

_BOOK_ZH = r"(?:用户|车主|使用|产品|操作)*(?:手册|说明书|文档|文件|指南)(?:的|里面?|中)?"
_BOOK_EN = r"(?:the|this|your|my|our)\s+(?:[\w'’-]+\s+)?(?:manual|guide|book|booklet|document|handbook)"
_SAYS_EN = r"(?:describ|explain|cover|mention|discuss|list|introduc|address|contain)(?:es|s|e)|deals? with|is about"
_SAID_EN = r"(?:described|explained|covered|mentioned|discussed|listed|introduced|found|located)"
_FIND_EN = r"(?:can|could|do|would|should|will|may)\s+(?:i|we|you|one)\s+(?:find|read|see|learn|look\s+up)"
# A section is also a part of a thing, and 节 the counter of batteries.
_REQUEST = re.compile(
    r"[，,]?(?:的?(?:相关)?(?:内容|信息|说明)|这(?:一?[个项]|一)?(?:操作|内容|功能))*(?:是|位于)?在?"
    rf"(?:{_BOOK_ZH})?在?(?:(?:第几|哪一?|(?<=在)几)页|(?:第几|哪一?|哪个)章节?|(?:第几|哪一)节(?!电池|课|车厢)|页码(?:是多少)?)"
    r"(?:里|中|上)?(?:可以|能)?(?:介绍|讲|说明|描述|解释|提到|涉及|找到|查到|看到)?(?:了|到|的是)?(?:相关(?:内容|信息))?"
    r"|\b(?:(?:on|in|at|under)\s+)?(?:which|what)\s+"
    rf"(?:(?:pages?|chapters?)(?:\s+numbers?)?|sections?(?=\s+(?:of|in)\s+{_BOOK_EN}\b|.*\b(?:{_SAYS_EN}|{_SAID_EN}|{_FIND_EN})\b))"
    rf"|\bwhere(?=\s+in\s+{_BOOK_EN}\b)|\bpage\s+numbers?\s+(?:of|for)\b",
    re.IGNORECASE,
)
# What goes with such a request and does not name what is looked for.
_PHRASING = re.compile(
    rf"^\s*(?:请问)?(?:在?{_BOOK_ZH})?(?:关于|有关)?"
    rf"|\b(?:of|in|from)\s+{_BOOK_EN}\b|\b{_FIND_EN}(?:\s+(?:(?:more\s+)?information|instructions?))?(?:\s+(?:about|on|for))?\b"
    rf"|\b(?:{_SAYS_EN}|{_SAID_EN})\b|\bon(?=\W*$)",
    re.IGNORECASE,
)


def named_pages(question: str) -> set[int]:
    """The page numbers that a question names, as in “第307页讲什么” or "pages 3 to 5"."""
    pages = set[int]()
    for first, last, chinese, latin_first, latin_last in _PAGE_NUMBER.findall(question):
        one = int(chinese_number(chinese)) if chinese else int(first or latin_first)
        other = int(last or latin_last or one)
        pages |= set(range(one, other + 1)) if one <= other <= one + _LONGEST_RANGE else {one, other}
    return pages


def asks_for_page(question: str) -> bool:
    """Whether the answer is a place in the document, as in “在第几页” or "which chapter covers"."""
    return bool(_REQUEST.search(question))


def without_page_request(question: str) -> str:
    """``question`` without the words that ask for a place in the document: they match nothing in it."""
    if not asks_for_page(question):
        return question
    return _PHRASING.sub(" ", _REQUEST.sub(" ", question)).strip()
