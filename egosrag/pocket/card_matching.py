"""Which sentence tells what is asked: by the words that both have, and by what kind of thing is asked for."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from egosrag.egos.extract.chunks import mention_pattern, source_sentences
from egosrag.egos.extract.evidence import LABELS, content_terms
from egosrag.pocket.question_kinds import ANIMAL, KIN, SAME, kinds_of
from egosrag.prompts.render import fill_placeholders
from egosrag.schema import Role

PARTS = tuple(LABELS["en"])

_OF_THE_KIND = 0.35  # what a sentence gains that looks like the kind of answer asked for
_SURELY = 0.5  # the same where this kind is hardly mistaken
_IN_ITS_PART = 0.1  # and one that stands where such answers stand, or has the form that they must have
_WITHOUT_FORM = 0.3  # what is left of one that lacks this form
_WHO = 2.0  # what persons and animals count for among a question's words
_FEW = 12  # sentences at least: in a card of three a word that stands in two may still be a rare one
_LONGEST = 300  # characters of a sentence that can be said

_ASKS = (
    r"[?？]|\bwhat\b(?! an?\b)|\b(?:who|whom|whose|where|when|why|how|which|tell|about|describe)\b"
    r"|什么|谁|哪|几|多少|怎|[吗呢]|说说|讲讲|谈谈|介绍"
)
_ASKING = re.compile(
    r"(?:什么|怎么?)样的?人|什么样?|怎么样?|怎样|为什么|哪[里儿些个位座条种年家只]?|谁|多少|多[大久长]|几"
    r"|是不是|有没有|可以|能不能|请问|告诉|说说|一下|一个|还有|[那这][条只个位匹头座家]|你们?|您|我们?|大家"
    r"|[吗呢吧啊呀嘛啦的了么是有在那这会都也就和跟过着来去叫名字]"
)
_ASKING_WORDS = frozenset(
    """how why does did you your yours tell please about know can could should would will may might have has any some
    there here them they really actually ever again just then well hey hello what's who's where's that's i'm let's
    called name names say said more much many long old lot thing things got get kind sort person""".split()  # noqa: SIM905
)
# Capitalised words that name nobody.
_NOBODY = frozenset(
    """Mr Mrs Ms Miss Sir Madam Lady Lord Captain Doctor Dr Professor Monday Tuesday Wednesday Thursday Friday Saturday
    Sunday Mondays Tuesdays Wednesdays Thursdays Fridays Saturdays Sundays January February March April May June July
    August September October November December Christmas""".split()  # noqa: SIM905
)
_SLIGHT = frozenset("好很不还人大小上下一最真能会要想得做干")  # characters that say nothing where they stand alone
_WHOSE = re.compile(
    rf"(?:\byour|\b(?:have|got) (?:an?|any)) (?:\w+ )?(?P<en>{KIN}|{ANIMAL})"
    rf"|[你您有](?:的|家|们|.)?(?P<zh>{KIN}|{ANIMAL})",
    re.IGNORECASE,
)


class Line(NamedTuple):
    """A sentence, the part of a card that it stands in, and how well it fits a question, 0 to some 1.5."""

    text: str
    part: str
    fit: float


class Asked:
    """What somebody says to a role, and what it is about.

    Args:
        text: the line.
        name: the role's: who is spoken to is not what is asked for.
    """

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name
        self.asks = re.search(_ASKS, text, re.IGNORECASE) is not None
        self.kinds = kinds_of(text) if self.asks else []

    @cached_property
    def terms(self) -> frozenset[str]:
        """What the line is about: stems and pairs of characters, without what only asks."""
        return terms(self.text, self.name)

    @cached_property
    def whom(self) -> list[str]:
        """The persons and animals that it is about, by name or by what they are to the role."""
        about = mention_pattern(self.name).sub(" ", self.text)
        named = [name for name in re.findall(r"(?<=[a-z] )[A-Z][a-z]+(?![A-Za-z])", about) if name not in _NOBODY]
        return named + [(found["en"] or found["zh"]).lower() for found in _WHOSE.finditer(about)]

    def fits(self, told: Sequence[tuple[str, str]]) -> list[Line]:
        """Sentences, each given with the part that it stands in, and how well they fit."""
        count, who = max(len(told), _FEW), terms(" ".join(self.whom), self.name)
        weights: dict[str, float] = {}
        for term in self.terms:
            having = sum(has(text, term) for text, _ in told)
            weights[term] = math.log1p((count - having + 0.5) / (having + 0.5)) * (_WHO if term in who else 1.0)
        whole = sum(weights.values()) or 1.0
        found = []
        for text, part in told:
            fit = sum(weight for term, weight in weights.items() if has(text, term)) / whole
            looks = [(kind, bool(kind.told.search(text))) for kind in self.kinds]
            gain = sum(_SURELY if kind.sure else _OF_THE_KIND for kind, like in looks if like)
            fit += gain / max(1, len(looks))
            fit += _IN_ITS_PART * any(kind.label == part or (kind.strict and like) for kind, like in looks)
            fit *= _WITHOUT_FORM if any(kind.strict and not like for kind, like in looks) else 1.0
            found.append(Line(text, part, fit))
        return found


def card_lines(role: Role, user: str) -> list[tuple[str, str]]:
    """The sentences of a card that can be said as they are, each with its part; ``user`` stands for {{user}}."""
    told = [
        (fill_placeholders(statement.text, role, user), part) for part in PARTS for statement in getattr(role, part)
    ]
    return [(sentence, part) for text, part in told for sentence in sayable(text)]


def sayable(text: str) -> list[str]:
    """The sentences of a text that are short enough to be said."""
    return [text[a:b] for a, b in source_sentences(text) if b - a <= _LONGEST]


def terms(text: str, name: str) -> frozenset[str]:
    """What a text is about, without ``name`` and without what only asks."""
    plain = re.sub(r"['’]s\b", "", _ASKING.sub(" ", text))
    return content_terms(plain, name) - _ASKING_WORDS - _SLIGHT


def has(text: str, term: str) -> bool:
    """Whether a term, or one that means the same, stands in ``text``."""
    alike = {term, term.removesuffix("s")} if len(term) > 3 else {term}
    alike |= {other for group in SAME if alike & set(group) for other in group}
    return any(_stands(text, other) for other in alike)


def _stands(text: str, term: str) -> bool:
    if not term.isascii():
        return term in text
    end = r"(?!\d)" if term.isdigit() else ""  # of words the stem is enough
    return re.search(rf"(?<![a-z0-9]){re.escape(term)}{end}", text.lower()) is not None
