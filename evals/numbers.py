"""The number check: how many sentences with a wrong number are caught, and how many true ones are lost.

    python -m evals.numbers --pages manual.pdf --json

Every sentence of the document that contains a number is verified against its own page: as it is, with its numbers
written in another way (both have to pass), and with one mutation each (has to fail): two numbers swapped, a range or a
tolerance cut, a sign dropped, a unit or a digit changed, a decimal mark dropped.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence

from egosrag.rag.answer.citation_verifier import answer_sentences
from egosrag.schema import Page
from egosrag.text.numbers import LIST_MARKER
from egosrag.text.quantities import Quantity, quantities
from evals.common.citation_check import Case, command_of
from evals.common.command import run

# For each unit one that it may be confused with.
_OTHER_UNITS = {
    **{"km": "m", "m": "cm", "cm": "mm", "mm": "cm", "s": "min", "min": "h", "h": "min", "day": "month", "week": "day"},
    **{"month": "year", "year": "month", "l": "ml", "ml": "l", "kg": "g", "g": "kg", "t": "kg", "°C": "°F", "°": "%"},
    **{"bar": "psi", "kPa": "bar", "V": "A", "A": "V", "W": "kW", "kW": "W", "Nm": "N", "%": "‰", "km/h": "m/s"},
    **{"time": "s", "Hz": "kHz", "MHz": "kHz", "mA": "A", "rpm": "Hz", "mph": "km/h", "psi": "bar"},
}
_RANGE_MARK = re.compile(r"\s*(?:[-–—~～]|至|到|\bto\b|±)\s*")
_SIGN = re.compile(r"^(?:[-−–]|零下|minus )\s*")


_LEAST_LETTERS = 6  # of a sentence, without those of its quantities


def cases(page: Page) -> Iterator[Case]:
    """The sentences of a page with numbers: as they are, rewritten, and with each mutation that applies."""
    chooser = random.Random(f"{page.source} {page.page}")
    for sentence, _ in answer_sentences(page.text):
        statement = LIST_MARKER.sub("", sentence)
        found = quantities(statement)
        letters = sum(map(str.isalpha, statement)) - sum(
            map(str.isalpha, "".join(_surface(statement, q) for q in found))
        )
        if not found or letters < _LEAST_LETTERS:  # a label of a picture, a cell
            continue
        yield Case(page, "true", sentence)
        if (rewritten := _rewritten(statement, found)) != statement:
            yield Case(page, "rewritten", rewritten)
        for kind, mutate in _MUTATIONS.items():
            mutated = [text for text in mutate(statement, found) if quantities(text) != found and text != statement]
            if mutated:
                yield Case(page, kind, chooser.choice(mutated))


def _surface(text: str, quantity: Quantity) -> str:
    return text[quantity.start : quantity.end]


def _replace(text: str, quantity: Quantity, new: str) -> str:
    return text[: quantity.start] + new + text[quantity.end :]


def _rewritten(text: str, found: Sequence[Quantity]) -> str:
    """The sentence with thousands marked, decimal commas and other marks of ranges."""
    for quantity in reversed(found):
        if quantity.kind == "code":
            continue
        old = _surface(text, quantity)
        new = re.sub(r"(?<![\d.,/:-])(\d{1,3})(\d{3})(?![\d.,/:-])", r"\1,\2", old)
        new = re.sub(r"(?<![\d.,/:-])(\d+)\.(\d{1,2})(?![\d.,/:-])", r"\1,\2", new)
        if quantity.kind == "range":
            new = _RANGE_MARK.sub("–", new, count=1)
        text = _replace(text, quantity, new)
    return text


def _swapped(text: str, found: Sequence[Quantity]) -> Iterator[str]:
    numbers = [q for q in found if q.kind != "code" and re.match(r"[^\u3400-\u9fff]*\d", _surface(text, q))]
    for n, one in enumerate(numbers):
        for other in numbers[n + 1 :]:
            if (one.values, one.kind) != (other.values, other.kind):
                yield _replace(
                    _replace(text, other, _with_number(text, other, one)), one, _with_number(text, one, other)
                )


def _with_number(text: str, quantity: Quantity, other: Quantity) -> str:
    """The surface of a quantity with the number of another one, and its own unit."""
    old, new = _surface(text, quantity), _surface(text, other)
    return _number_of(new) + old[len(_number_of(old)) :]


def _number_of(surface: str) -> str:
    digits = re.match(r".*\d", surface)
    return digits.group() if digits else surface


def _cut(text: str, found: Sequence[Quantity]) -> Iterator[str]:
    for quantity in found:
        if quantity.kind in ("range", "tolerance"):
            surface = _surface(text, quantity)
            first, *rest = _RANGE_MARK.split(surface[1:], maxsplit=1)
            yield _replace(text, quantity, surface[0] + first)
            if rest:
                yield _replace(text, quantity, rest[0])


def _unsigned(text: str, found: Sequence[Quantity]) -> Iterator[str]:
    for quantity in found:
        surface = _surface(text, quantity)
        if _SIGN.match(surface):
            yield _replace(text, quantity, _SIGN.sub("", surface))


def _other_unit(text: str, found: Sequence[Quantity]) -> Iterator[str]:
    for quantity in found:
        surface = _surface(text, quantity)
        if quantity.unit in _OTHER_UNITS and re.search(r"\d", surface):
            yield _replace(text, quantity, f"{_number_of(surface)} {_OTHER_UNITS[quantity.unit]}")


def _other_digit(text: str, found: Sequence[Quantity]) -> Iterator[str]:
    for quantity in found:
        surface = _surface(text, quantity)
        for match in re.finditer(r"\d", surface):
            digit = str((int(match.group()) + 1) % 10)
            yield _replace(text, quantity, surface[: match.start()] + digit + surface[match.end() :])


def _without_mark(text: str, found: Sequence[Quantity]) -> Iterator[str]:
    for quantity in found:
        surface = _surface(text, quantity)
        if quantity.kind != "code" and (match := re.search(r"(?<=\d)\.(?=\d)", surface)):
            yield _replace(text, quantity, surface[: match.start()] + surface[match.end() :])


_MUTATIONS = {
    "swapped": _swapped,
    "range or tolerance cut": _cut,
    "sign dropped": _unsigned,
    "unit changed": _other_unit,
    "digit changed": _other_digit,
    "decimal mark dropped": _without_mark,
}


command = command_of(cases, "the number check")

if __name__ == "__main__":
    run(command)
