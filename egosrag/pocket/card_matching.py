"""Retrieval from a role card without a model: scores the card's sentences against the user's line.

A sentence scores by the words that it shares with the line, weighted by their rarity in the card (as IDF), and by
whether it looks like an answer to this kind of question (``question_kinds``). All constants were chosen together with
the thresholds of ``grounding``, on the same cards.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from egosrag.egos.extract.chunks import source_sentences
from egosrag.egos.extract.evidence import LABELS, content_terms
from egosrag.pocket.question_kinds import ANIMAL, KIN, SYNONYMS, kinds_of
from egosrag.schema import Role
from egosrag.text import macros
from egosrag.text.macros import Scope
from egosrag.text.names import mention_pattern

PARTS = tuple(LABELS["en"])

_KIND_BONUS = 0.35  # for a sentence that looks like an answer to a question of this kind
_RELIABLE_KIND_BONUS = 0.5  # in its place where the kind is reliable
_PART_OR_FORM_BONUS = 0.1  # for a sentence in the part of the card where such answers are, or in the required form
_MISSING_FORM_FACTOR = 0.3  # multiplies the score of a sentence without the form that a strict kind requires
_SUBJECT_WEIGHT = 2.0  # weight of persons and animals among the terms of a line
_MIN_SENTENCES = 12  # for the rarity of terms: in a card of three sentences a term of two may still be a rare one
_MAX_CHARACTERS = 300  # of a sentence that can be spoken

_IS_QUESTION = (
    r"[?？]|\bwhat\b(?! an?\b)|\b(?:who|whom|whose|where|when|why|how|which|tell|about|describe)\b"
    r"|什么|谁|哪|几|多少|怎|[吗呢]|说说|讲讲|谈谈|介绍"
)
_CHINESE_FILLER = re.compile(
    r"(?:什么|怎么?)样的?人|什么样?|怎么样?|怎样|为什么|哪[里儿些个位座条种年家只]?|谁|多少|多[大久长]|几"
    r"|是不是|有没有|可以|能不能|请问|告诉|说说|一下|一个|还有|[那这][条只个位匹头座家]|你们?|您|我们?|大家"
    r"|[吗呢吧啊呀嘛啦的了么是有在那这会都也就和跟过着来去叫名字]"
)
_ENGLISH_FILLER = frozenset(
    """how why does did you your yours tell please about know can could should would will may might have has any some
    there here them they really actually ever again just then well hey hello what's who's where's that's i'm let's
    called name names say said more much many long old lot thing things got get kind sort person""".split()  # noqa: SIM905
)
# Capitalised words that are not names.
_NOT_NAMES = frozenset(
    """Mr Mrs Ms Miss Sir Madam Lady Lord Captain Doctor Dr Professor Monday Tuesday Wednesday Thursday Friday Saturday
    Sunday Mondays Tuesdays Wednesdays Thursdays Fridays Saturdays Sundays January February March April May June July
    August September October November December Christmas""".split()  # noqa: SIM905
)
_CHINESE_STOP_CHARACTERS = frozenset("好很不还人大小上下一最真能会要想得做干")  # as terms of a single character
_YOUR_RELATIVE_OR_ANIMAL = re.compile(
    rf"(?:\byour|\b(?:have|got) (?:an?|any)) (?:\w+ )?(?P<en>{KIN}|{ANIMAL})"
    rf"|[你您有](?:的|家|们|.)?(?P<zh>{KIN}|{ANIMAL})",
    re.IGNORECASE,
)


class ScoredSentence(NamedTuple):
    """A sentence, the part of the card that it is in, and its score for a line, from 0 to about 1.5."""

    text: str
    part: str
    score: float


class UserLine:
    """The line that a role has to answer, analysed by rules: whether it is a question, its kinds, terms and subjects.

    Args:
        text: the line.
        name: the role's name: in a line it only addresses the role, and is no term to search for.
    """

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name
        self.is_question = re.search(_IS_QUESTION, text, re.IGNORECASE) is not None
        self.kinds = kinds_of(text) if self.is_question else []

    @cached_property
    def terms(self) -> frozenset[str]:
        """The content terms of the line: word stems and pairs of Chinese characters, without question words."""
        return search_terms(self.text, self.name)

    @cached_property
    def subjects(self) -> list[str]:
        """The persons and animals that the line is about: names, and words such as "mother" or "dog" after "your"."""
        text = mention_pattern(self.name).sub(" ", self.text)
        names = [name for name in re.findall(r"(?<=[a-z] )[A-Z][a-z]+(?![A-Za-z])", text) if name not in _NOT_NAMES]
        return names + [(match["en"] or match["zh"]).lower() for match in _YOUR_RELATIVE_OR_ANIMAL.finditer(text)]

    def score(self, sentences: Sequence[tuple[str, str]]) -> list[ScoredSentence]:
        """Scores sentences by how well they answer the line.

        Args:
            sentences: (sentence, part of the card) pairs.

        Returns:
            The sentences in the same order, with their scores.
        """
        count = max(len(sentences), _MIN_SENTENCES)
        subjects = search_terms(" ".join(self.subjects), self.name)
        weights: dict[str, float] = {}
        for term in self.terms:
            matching = sum(contains_term(text, term) for text, _ in sentences)
            rarity = math.log1p((count - matching + 0.5) / (matching + 0.5))
            weights[term] = rarity * (_SUBJECT_WEIGHT if term in subjects else 1.0)
        total = sum(weights.values()) or 1.0
        scored = []
        for text, part in sentences:
            score = sum(weight for term, weight in weights.items() if contains_term(text, term)) / total
            matches = [(kind, bool(kind.answer.search(text))) for kind in self.kinds]
            bonus = sum(_RELIABLE_KIND_BONUS if kind.reliable else _KIND_BONUS for kind, match in matches if match)
            score += bonus / max(1, len(matches))
            score += _PART_OR_FORM_BONUS * any(kind.label == part or (kind.strict and match) for kind, match in matches)
            score *= _MISSING_FORM_FACTOR if any(kind.strict and not match for kind, match in matches) else 1.0
            scored.append(ScoredSentence(text, part, score))
        return scored


def card_sentences(role: Role, scope: Scope) -> list[tuple[str, str]]:
    """The speakable sentences of a card, each with its part of the card; ``scope`` replaces its macros."""
    statements = [(macros.fill(statement.text, scope), part) for part in PARTS for statement in getattr(role, part)]
    return [(sentence, part) for text, part in statements for sentence in speakable_sentences(text)]


def speakable_sentences(text: str) -> list[str]:
    """The sentences of a text that are short enough for a reply."""
    return [text[a:b] for a, b in source_sentences(text) if b - a <= _MAX_CHARACTERS]


def search_terms(text: str, name: str) -> frozenset[str]:
    """The content terms of a text, without ``name``, question words and other filler."""
    content = re.sub(r"['’]s\b", "", _CHINESE_FILLER.sub(" ", text))
    return content_terms(content, name) - _ENGLISH_FILLER - _CHINESE_STOP_CHARACTERS


def contains_term(text: str, term: str) -> bool:
    """Whether ``text`` contains a term, its singular or a synonym of it."""
    forms = {term, term.removesuffix("s")} if len(term) > 3 else {term}
    forms |= {synonym for group in SYNONYMS if forms & set(group) for synonym in group}
    return any(_contains(text, form) for form in forms)


def _contains(text: str, term: str) -> bool:
    if not term.isascii():
        return term in text
    end = r"(?!\d)" if term.isdigit() else ""  # a word may go on: terms are stems
    return re.search(rf"(?<![a-z0-9]){re.escape(term)}{end}", text.lower()) is not None
