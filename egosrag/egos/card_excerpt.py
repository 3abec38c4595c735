"""A card that is long for the model's window: what of it is in every prompt, and what is looked up for each line.

This is the dynamic Extract (report 7.2.2) with the card as its own source. The statements that say most about who
somebody is stay: the first sentences of the background, the personality, the way of speaking. The others are places in
the card that a line retrieves by the words that they share with it, so that no line is refused for a long card.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from egosrag.egos.extract.evidence import content_terms
from egosrag.schema import DialogueLine, Evidence, Role, Statement
from egosrag.text.language import one_line
from egosrag.text.sentences import sentence_spans

SOURCE = "role card"
"""The source of the places in a card."""
_FIRST = 3  # sentences of the background that come before everything else
_LONGEST = 60  # words or Chinese characters of a sentence that is a place of its own; a longer one is halved


class _Unit(NamedTuple):
    """A part of a card that stays or is looked up as a whole.

    Attributes:
        field: of the role.
        at: index of the statement, or of the line of dialogue.
        text: a sentence of the statement, or the lines of dialogue as they are read.
        lines: number of lines of dialogue.
    """

    field: str
    at: int
    text: str
    lines: int = 0


@dataclass(frozen=True)
class CardExcerpt:
    """The two parts of a long card.

    Attributes:
        role: the card with the statements that are in every prompt.
        places: the other statements, as places in the card.
    """

    role: Role
    places: tuple[Evidence, ...]

    def retrieve(self, line: str, budget: int, count: Callable[[str], int]) -> tuple[Evidence, ...]:
        """The places that share words with a line, the best first, for at most ``budget`` tokens."""
        terms = [content_terms(place.quote, self.role.name) for place in self.places]
        frequency = Counter(term for own in terms for term in own)
        wanted = content_terms(line, self.role.name)
        scores = [
            sum(math.log1p(len(terms) / frequency[term]) for term in sorted(own & wanted)) / (1 + 0.02 * len(own))
            for own in terms
        ]
        taken: list[Evidence] = []
        for score, number in sorted(zip(scores, range(len(scores)), strict=True), key=lambda pair: (-pair[0], pair[1])):
            size = count(f"- {one_line(self.places[number].quote)}\n")
            if score > 0 and size <= budget:
                budget -= size
                taken.append(self.places[number])
        return tuple(taken)


def excerpt_of(role: Role, budget: int, count: Callable[[str], int]) -> CardExcerpt:
    """Splits a card: the most important statements that fit the budget, and the others as places.

    Args:
        role: the card.
        budget: tokens of the statements that are in every prompt.
        count: number of tokens of a text.
    """
    kept: list[_Unit] = []
    rest: list[_Unit] = []
    for unit in _by_importance(list(_units(role))):
        size = count(f" {unit.text}")
        if size <= budget:
            budget -= size
            kept.append(unit)
        else:
            rest.append(unit)
    places: list[Evidence] = []
    offset = 0
    for unit in rest:
        places.append(Evidence(source=SOURCE, start=offset, end=offset + len(unit.text), quote=unit.text))
        offset += len(unit.text) + 1
    return CardExcerpt(_with_units(role, kept), tuple(places))


def _units(role: Role) -> Iterator[_Unit]:
    for field in ("background", "personality", "speaking_style", "relations"):
        for index, statement in enumerate(getattr(role, field)):
            for sentence in _sentences(statement.text):
                yield _Unit(field, index, sentence)
    start = 0
    lines = role.sample_dialogue
    for index, line in enumerate(lines):  # a dialogue is kept together up to a line of the role
        if line.speaker.casefold() not in ("{{user}}", "me", "我", "you") or index == len(lines) - 1:
            text = " ".join(f"{one.speaker}: {one_line(one.text)}" for one in lines[start : index + 1])
            yield _Unit("sample_dialogue", start, text, index + 1 - start)
            start = index + 1


def _sentences(text: str) -> Iterator[str]:
    """The sentences of a text, longer ones and lists without an end in pieces."""
    for paragraph in text.splitlines():
        for start, end in sentence_spans(paragraph):
            sentence = paragraph[start:end].strip()
            words = sentence.split(" ")
            while len(words) > _LONGEST and "{{" not in sentence:
                yield " ".join(words[:_LONGEST])
                words = words[_LONGEST:]
            if rest := " ".join(words).strip():
                yield rest


def _by_importance(units: Sequence[_Unit]) -> list[_Unit]:
    """The units, those first without which the role is not recognised."""
    background = [unit for unit in units if unit.field == "background"]
    first = background[:_FIRST]
    order = [first, *([u for u in units if u.field == field] for field in ("personality", "speaking_style"))]
    dialogue = [unit for unit in units if unit.field == "sample_dialogue"]
    order += [dialogue[:1], background[_FIRST:], [u for u in units if u.field == "relations"], dialogue[1:]]
    return [unit for part in order for unit in part]


def _with_units(role: Role, kept: Sequence[_Unit]) -> Role:
    """The role with only these units, in their order in the card."""
    update: dict[str, object] = {}
    order = {unit: number for number, unit in enumerate(_units(role))}
    ordered = sorted(kept, key=order.__getitem__)
    for field in ("background", "personality", "speaking_style", "relations"):
        statements: dict[int, list[str]] = {}
        for unit in ordered:
            if unit.field == field:
                statements.setdefault(unit.at, []).append(unit.text)
        update[field] = tuple(Statement(text=" ".join(sentences)) for sentences in statements.values())
    lines: list[DialogueLine] = []
    for unit in ordered:
        if unit.field == "sample_dialogue":
            lines += role.sample_dialogue[unit.at : unit.at + unit.lines]
    update["sample_dialogue"] = tuple(lines)
    return role.model_copy(update=update)
