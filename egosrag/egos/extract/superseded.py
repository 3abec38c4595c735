"""Statements that a later place of the sources supersedes: "lives in Hull", once she "moved to Skerry", was so before.

Only what somebody has one of at a time is compared (age, home, work, marriage), and what a later place says is no
longer so. Both statements are in the present tense: a novel looks back in the past tense, in any order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from egosrag.egos.extract.evidence import FoundStatement, content_terms
from egosrag.schema import Point
from egosrag.text.language import language_of
from egosrag.text.names import mention_pattern

_JOBS_ZH = "医生|老师|厨师|船长|水手|店主|掌柜|记者|律师|学生|军人|司机|农民|工人|护士|警察|经理|校长|队长|老板"
# What one has one of at a time: the pattern's first group is what is new of it.
_SINGLE = {
    "en": {
        "age": r"\b(?:is|turns|now)\s+(\d+|[a-z]+(?:-[a-z]+)?)(?:\s+years\s+old\b|-year-old\b)",
        "home": r"\b(?:lives?|is living|resides?)(?:\s+\w+){0,4}?\s+(?:in|at|on)\s+(.+)"
        r"|\b(?:moved|moves)\s+(?:in|to|into|back to)\s+(.+)",
        "work": r"\b(?:works?|is working|serves?|is employed)\s+(?:now\s+)?(?:as|for|at|in)\s+(.+)"
        r"|\b(?:becomes|has become|became|is now|now is)\s+(?:an?|the)\s+(.+)",
        "marriage": r"\bis\s+(?:now\s+)?(single|unmarried|engaged|married|divorced|(?:an?\s+)?widow(?:er|ed)?)\b",
    },
    "zh": {
        "age": r"(\d+|[一二三四五六七八九十百]+)岁",
        "home": r"(?:住在|住进|搬到|搬进|搬回|定居在?)(.+)",
        "work": rf"(?:如今是|现在是|成了|当上了?|做了|改行做|改做)(.+)|(?:是|当|做)(?:一名|一位|个)?({_JOBS_ZH})",
        "marriage": r"(单身|未婚|订婚|已婚|结婚|离婚|守寡|丧偶)",
    },
}
# Work that a present "is a cook" states: superseded by the work above, and by nothing else.
_WORK_BEFORE = re.compile(r"\bis\s+(?:an?|the)\s+(\w+(?:\s+\w+){0,3})")
_NO_LONGER = {
    "en": re.compile(r"\bno longer\b|\bnot .{0,20}any ?more\b|\bhas (?:given up|stopped|quit|left|lost|sold)\b"),
    "zh": re.compile("不再|戒了|放弃了|辞去|辞掉|离开了|丢了|卖掉"),
}


def mark_superseded(found: Sequence[FoundStatement], timeline: Sequence[Point], name: str) -> list[FoundStatement]:
    """The statements, those that a later one supersedes with its place as their ``until``.

    Args:
        found: statements with their places.
        timeline: the points of the sources; a later point, or a later place in it, is later.
        name: of the role, of which alone the statements are compared.
    """
    order: dict[str, int] = {}
    for point in timeline:
        order.setdefault(point.source, len(order))

    def position(item: FoundStatement) -> tuple[int, int]:
        place = item.statement.evidence[0]
        return order.get(place.source, len(order)), place.start

    placed = [item for item in found if item.statement.evidence]
    marked = {}
    for earlier in placed:
        later = [item for item in placed if position(item) > position(earlier) and supersedes(item, earlier, name)]
        if later:
            until = min(later, key=position).statement.evidence[0]
            marked[id(earlier)] = earlier.statement.model_copy(update={"until": until})
    return [FoundStatement(item.label, marked[id(item)], item.score) if id(item) in marked else item for item in found]


def supersedes(later: FoundStatement, earlier: FoundStatement, name: str) -> bool:
    """Whether a statement of a later place says that an earlier one about the role is so no longer.

    Args:
        later: the statement of the later place.
        earlier: the other one.
        name: of the role.
    """
    old, new = earlier.statement.text, later.statement.text
    language = language_of(old)
    if language_of(new) != language:
        return False
    shared = content_terms(old) & content_terms(new)
    if _NO_LONGER[language].search(new):
        return len(shared) >= max(2, len(content_terms(old)) // 2)
    named = mention_pattern(name)
    for kind, pattern in _SINGLE[language].items():
        new_value, old_value = _value(pattern, new, named), _value(pattern, old, named)
        if kind == "work" and language == "en" and re.search(r"\bnow\b|becom|became", new):
            old_value = old_value or _value(_WORK_BEFORE.pattern, old, named)
        if new_value and old_value and not _alike(new_value, old_value):
            return True
    return False


def _value(pattern: str, text: str, named: re.Pattern[str]) -> str | None:
    """What a statement says of the role by a pattern; None where it is said of somebody who is named before it."""
    match = re.search(pattern, text, re.IGNORECASE)
    if not match or (named.search(text) and not named.search(text[: match.start()])):
        return None
    return next(group for group in match.groups() if group)


def _alike(first: str, second: str) -> bool:
    """Whether two values are the same one, one of them perhaps in more words."""
    a, b = content_terms(first) or {first.casefold()}, content_terms(second) or {second.casefold()}
    return a <= b or b <= a
