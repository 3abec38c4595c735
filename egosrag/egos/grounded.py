"""Speech of a model that reads worse than what it reads tells: the card's own sentence, in the first person.

As the manual is quoted where such a model answers from it, so is the card: the sentence that fits the question best, by
the words that both have, by what kind of thing is asked for, and by what the model itself would have said. The model's
own words stay where no sentence fits: small talk, what the user told, and that it does not know. A name or a number
that stands nowhere is not said.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from egosrag.egos.asked import ANIMAL, KIN, SAME, kinds_of
from egosrag.egos.evidence import content, direct
from egosrag.egos.person import first_person, gender_of, second_person
from egosrag.egos.pieces import mention, sentences
from egosrag.egos.retention import degenerate
from egosrag.prompts.render import card, filled, language_of
from egosrag.schema import Evidence, Role

_PARTS = ("background", "personality", "speaking_style", "relations")

# From FITS on a question is about the card: small talk shares less with it. A model that says it does not know is
# believed up to PLAIN, which a sentence of the right kind alone does not reach: some of the question's words must stand
# in it. Chosen on cards of the grammar's training words and on twenty cards written by hand (240 questions); what they
# reach elsewhere: the model card of pocket.
FITS = 0.15
PLAIN = 0.5
RECALLED = 0.45  # from which on a line of the user's is what they ask for
_OF_THE_KIND = 0.35  # what a sentence gains that looks like the kind of answer asked for
_SURELY = 0.5  # the same where this kind is hardly mistaken
_IN_ITS_PART = 0.1  # and one that stands where such answers stand, or has the form that they must have
_WITHOUT_FORM = 0.3  # what is left of one that lacks this form
_POINTED_AT = 0.2  # what a sentence gains that has all that the model would have said
_WHO = 2.0  # what persons and animals count for among a question's words
_LONGEST = 300  # characters of a sentence that is said
_FEW = 12  # sentences at least: in a card of three a word that stands in two may still be a rare one

_UNKNOWN = {"en": "That I do not know.", "zh": "这个我不知道。"}
_NOT_TOLD = {"en": "You have not told me.", "zh": "你还没有告诉我。"}
_DECLINES = {"en": r"\bI do not know\b|\bYou have not told me\b", "zh": r"我不知道|你还没有告诉我"}
_TO_THE_USER = {"en": r"(?:You|Your|So you)\b", "zh": r"(?:原来)?[你您]"}
_YOU = {"en": "you", "zh": "你"}
_TO_THE_ROLE = {"en": r"\b(?:you|your)\b", "zh": r"[你您]"}
_OF_THE_USER = {
    "en": r"(?<!tell )(?<!call )(?<!for )(?<!to )(?<!with )(?<!about )\b(?:my|mine|me|I)\b",
    "zh": r"(?<![叫诉呼跟对给和帮请陪骗问])我(?!们)",
}
_ASKING = re.compile(
    r"(?:什么|怎么?)样的?人|什么样?|怎么样?|怎样|为什么|哪[里儿些个位座条种年家只]?|谁|多少|多[大久长]|几"
    r"|是不是|有没有|可以|能不能|请问|告诉|说说|一下|一个|还有|[那这][条只个位匹头座家]|你们?|您|我们?|大家|[吗呢吧啊呀嘛啦的了么是有在那这会都也就和跟过着来去叫名字]"
)
_ASKING_WORDS = frozenset(
    """how why does did you your yours tell please about know can could should would will may might have has any some
    there here them they really actually ever again just then well hey hello what's who's where's that's i'm let's
    called name names say said more much many long old lot thing things got get
    kind sort person""".split()  # noqa: SIM905
)


class Line(NamedTuple):
    """A sentence of a card, the part that it stands in, and how well it fits the question, 0 to some 1.5."""

    text: str
    part: str
    fit: float


def grounded(
    draft: str, question: str, role: Role, language: str, user: str = "", told: Sequence[str] = (), heard: str = ""
) -> str:
    """What is said instead of ``draft``, or the draft itself where it may stay.

    Args:
        draft: what the model said.
        question: the line that it answers.
        role: whose card is spoken from.
        language: "en" or "zh".
        user: what {{user}} stands for in the card; "you" where nobody knows.
        told: what the user said before, line by line.
        heard: all that was said before, and the scenes: names and numbers of these may be said.
    """
    said, address = _parted(draft, role, language)
    declines = re.search(_DECLINES[language], said) is not None
    lines = lines_of(role, question, user or _YOU[language])
    of_user = re.search(_OF_THE_USER[language], question) is not None
    answer = _recalled(said, declines, question, told, role.name, language) if of_user else said
    asks_role = not declines and _fits(lines) and re.search(_TO_THE_ROLE[language], question)
    if answer == said and (not of_user or asks_role):
        answer = _answer(said, declines, question, role, lines, language, heard)
    if not address or address in answer:
        return answer
    return f"{address}，{answer}" if language == "zh" else f"{answer[:-1]}, {address}{answer[-1:]}"


def informed(role: Role, places: Sequence[Evidence]) -> Role:
    """The card with what ``places`` in the role's sources tell of it directly: they are found for one line alone."""
    found = direct([(place.source, place.quote) for place in places], role.name, 12, meant=True)
    parts = {part: getattr(role, part) + tuple(f.statement for f in found if f.label == part) for part in _PARTS}
    return role.model_copy(update=parts)


def _answer(
    said: str, declines: bool, question: str, role: Role, lines: Sequence[Line], language: str, heard: str
) -> str:
    """The card's sentence, what the model said, or that it is not known."""
    to_the_user = not declines and re.match(_TO_THE_USER[language], said)
    if not lines or to_the_user:
        return said
    known = f"{heard}\n{card(role, language)}"
    unknown = said if declines else _UNKNOWN[language]
    if _strangers(question, lines, role.name, known):
        return unknown
    if not _fits(lines, PLAIN if declines else FITS):
        return unknown if declines or _is_wrong(said, question, lines, language, f"{known}\n{question}") else said
    terms = frozenset() if declines else _terms(said, role.name) - _terms(question, role.name)
    shares = [sum(_has(line.text, t) for t in terms) / len(terms) if terms else 0.0 for line in lines]
    best = max(range(len(lines)), key=lambda n: lines[n].fit + _POINTED_AT * shares[n])
    if shares[best] == 1.0:
        return said
    text, part, _ = lines[best]
    gender = gender_of([line.text for line in lines])
    return first_person(text, role.name, gender, language, of_others=part == "relations")


def _recalled(said: str, declines: bool, question: str, told: Sequence[str], name: str, language: str) -> str:
    """What the user said of what they ask for now, where the model did not find it."""
    lines = _fitting(question, [(text[a:b], "") for text in told for a, b in sentences(text)], name)
    best = max(lines, key=lambda line: line.fit, default=None)
    terms = frozenset() if declines else _terms(said, name) - _terms(question, name)
    if degenerate(said):
        said, terms = _NOT_TOLD[language], frozenset()
    if (
        not best
        or best.fit < RECALLED
        or best.text[-1] in "?？"
        or any(_has(line.text, t) for t in terms for line in lines)
    ):
        return said
    return second_person(best.text, language)


def lines_of(role: Role, question: str, user: str = "") -> list[Line]:
    """The sentences of a card that can be said as they are, and how well each fits ``question``."""
    filled_in = [(filled(s.text, role, user), part) for part in _PARTS for s in getattr(role, part)]
    told = [(text[a:b], part) for text, part in filled_in for a, b in sentences(text) if b - a <= _LONGEST]
    return _fitting(question, told, role.name)


def _fits(lines: Sequence[Line], least: float = PLAIN) -> bool:
    return any(line.fit >= least for line in lines)


def _fitting(question: str, told: Sequence[tuple[str, str]], name: str) -> list[Line]:
    """Sentences, each with the part that it stands in, and how well they fit ``question``."""
    count = max(len(told), _FEW)
    weights: dict[str, float] = {}
    who = _terms(" ".join(_whom(question, name)), name)
    for term in _terms(question, name):
        having = sum(_has(text, term) for text, _ in told)
        weights[term] = math.log1p((count - having + 0.5) / (having + 0.5)) * (_WHO if term in who else 1.0)
    whole, kinds = sum(weights.values()) or 1.0, kinds_of(question)
    found = []
    for text, part in told:
        fit = sum(weight for term, weight in weights.items() if _has(text, term)) / whole
        looks = [bool(kind.told.search(text)) for kind in kinds]
        gains = [_SURELY if kind.sure else _OF_THE_KIND for kind in kinds]
        fit += sum(gain for gain, has in zip(gains, looks, strict=True) if has) / max(1, len(kinds))
        fit += _IN_ITS_PART * any(k.label == part or (k.strict and has) for k, has in zip(kinds, looks, strict=True))
        if any(k.strict and not has for k, has in zip(kinds, looks, strict=True)):
            fit *= _WITHOUT_FORM
        found.append(Line(text, part, fit))
    return found


def _terms(text: str, name: str) -> frozenset[str]:
    """What a question or an answer is about: stems and pairs of characters, without what only asks."""
    plain = re.sub(r"['’]s\b", "", _ASKING.sub(" ", text))
    return frozenset(term for term in content(plain, name) if term not in _ASKING_WORDS)


def _has(text: str, term: str) -> bool:
    same = {other for group in SAME if term in group for other in group}
    return any(_stands(text, other) for other in same | {term})


def _stands(text: str, term: str) -> bool:
    if not term.isascii():
        return term in text
    return re.search(rf"(?<![a-z0-9]){re.escape(term)}", text.lower()) is not None


_WHOSE = re.compile(
    rf"(?:\byour|\b(?:have|got) (?:an?|any)) (?:\w+ )?(?P<en>{KIN}|{ANIMAL})"
    rf"|[你您有](?:的|家|们|.)?(?P<zh>{KIN}|{ANIMAL})",
    re.IGNORECASE,
)


def _whom(question: str, name: str) -> list[str]:
    """The persons and animals that a question is about, by name or by what they are to the role."""
    about = mention(name).sub(" ", question)
    named = re.findall(r"(?<=[a-z,] )[A-Z][a-z]+(?![A-Za-z])", about)
    return named + [found["en"] or found["zh"] for found in _WHOSE.finditer(about)]


def _strangers(question: str, lines: Sequence[Line], name: str, known: str) -> bool:
    """Whether the question is about somebody, or an animal, of whom nothing is told."""
    return any(
        who not in known if who[0].isupper() else not any(_has(line.text, who.lower()) for line in lines)
        for who in _whom(question, name)
    )


def _is_wrong(said: str, question: str, lines: Sequence[Line], language: str, known: str) -> bool:
    """Whether ``said`` cannot be right: it lost the thread, has what stands nowhere, or tells what no line can."""
    stray = [item for item in re.findall(r"(?<=[a-z,] )[A-Z]\w+|\d+", said) if item != "I" and item not in known]
    foreign = language_of(said) != language or (language == "en" and not said.isascii())
    formless = any(k.strict and not any(k.told.search(line.text) for line in lines) for k in kinds_of(question))
    return bool(stray) or foreign or formless or degenerate(said)


def _parted(draft: str, role: Role, language: str) -> tuple[str, str]:
    """A draft without the word that it calls the user by, and that word where the card has it."""
    pattern = (
        r"(?P<a>[^，。！？]{1,6})，(?P<said>.+)" if language == "zh" else r"(?P<said>.+), (?P<a>[^,.!?]+)(?P<end>[.!?])"
    )
    found = re.fullmatch(pattern, draft)
    if not found:
        return draft, ""
    said = found["said"] + ("" if language == "zh" else found["end"])
    told = " ".join(statement.text for part in _PARTS for statement in getattr(role, part))
    if re.search(rf"(?:call|address|称|叫|喊|管).*{re.escape(found['a'])}(?![a-z])", told, re.IGNORECASE):
        return said, found["a"]
    return (said if re.search(_DECLINES[language], said) else draft), ""
