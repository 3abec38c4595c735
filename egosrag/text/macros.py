"""Macros of character cards, such as ``{{user}}`` and ``{{random:a,b}}``, as V3 and SillyTavern define them.

Specifications: kwaroran/character-card-spec-v3 (SPEC_V3.md, "Curly Braced Syntaxes") and SillyTavern's macro engine
(public/scripts/macros/definitions). Names match in any case, macros nest, and what a macro inserts is never searched
for macros again, so that a name that is itself written like a macro stays as it is.

``{{random}}``, ``{{pick}}`` and ``{{roll}}`` draw from a generator with the seed of the conversation: a text is filled
the same way whenever it is rendered again. Macros that are not known stay as they are: ``unknown_macros`` names them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple

_MAX_DEPTH = 40  # of nested macros; deeper braces are text
_MAX_REPEATS = 100  # of {{space::N}} and {{newline::N}}, and dice of one {{roll}}
_MAX_INSERTED = 200_000  # characters of card fields that macros insert into one text
_LONG_TEXT = 10_000  # characters
# The name of a macro; what follows the slashes of a comment needs no space.
_HEAD = re.compile(r"\s*(///(?=\s*$)|//|(?:time_utc[+-]\d+|[#/]?[a-z_][\w-]*)(?=\s|:|$))(?:\s*::?)?", re.IGNORECASE)
_LEGACY = re.compile(r"<(user|bot|char|charifnotgroup|group)>", re.IGNORECASE)
_DICE = re.compile(r"(\d*)d?(\d+)\s*([+-]\s*\d+)?", re.IGNORECASE)
_FORMAT = re.compile(r"\[([^\]]*)\]|YYYY|YY|MMMM|MMM|MM|M|DD|D|dddd|ddd|HH|H|hh|h|mm|m|ss|s|A|a|LL|LT|L")
_CLOCK = re.compile(r"\{\{\s*(?:time|date|weekday|iso(?:time|date)|datetimeformat)", re.IGNORECASE)
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_NOTHING = frozenset({"comment", "//", "///", "noop", "original", "input", "banned", "outlet", "else"})
_FALSE = frozenset({"", "false", "off", "0", "no"})


@dataclass(frozen=True)
class Scope:
    """What macros are replaced by.

    Attributes:
        char: ``{{char}}``.
        user: ``{{user}}``.
        others: the other characters of a scene, of whom ``{{group}}`` and ``{{notChar}}`` are lists too.
        language: "en" or "zh", for dates.
        fields: texts of further macros by their names in lower case, such as "description"; macros in them are filled.
        seed: of the random choices, the same for a whole conversation.
        turn: what ``{{random}}`` and ``{{roll}}`` draw anew for; ``{{pick}}`` does not.
        at: the time of ``{{time}}`` and the like; now when absent.
        hidden_keys: ``{{hidden_key:A}}`` is A, to search for keys; otherwise nothing.
    """

    char: str
    user: str
    language: str = "en"
    fields: Mapping[str, str] = field(default_factory=dict)
    seed: str = ""
    turn: str = ""
    at: datetime | None = None
    hidden_keys: bool = False
    others: tuple[str, ...] = ()


def fill(text: str, scope: Scope) -> str:
    """``text`` with its macros replaced."""
    if "{{" not in text and "<" not in text:
        return text
    return _Filler(text, scope).run(_parsed(text))


def unknown_macros(text: str) -> list[str]:
    """The macros of ``text`` that are not known, each once, as they are written: ``{{getvar::x}}``."""
    found: dict[str, None] = {}
    for node in _macros(_parsed(text)):
        name, _ = node.head
        if name not in _KNOWN and not name.startswith("time_utc") and node.raw.strip("{} "):
            found[node.raw[:60]] = None
    return list(found)


def uses_clock(text: str) -> bool:
    """Whether a macro of ``text`` depends on the time."""
    return _CLOCK.search(text) is not None


# --- parsing ---------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Macro:
    """A macro: what is between its braces, the offset of the first brace, and its text."""

    parts: list[_Node]
    start: int
    raw: str = ""

    @cached_property
    def head(self) -> tuple[str, list[_Node]]:
        """The name in lower case, and the parts after it; the name is empty where there is none."""
        first = self.parts[0] if self.parts else ""
        match = _HEAD.match(first) if isinstance(first, str) else None
        if match is None or not isinstance(first, str):
            return "", self.parts
        rest = [first[match.end() :], *self.parts[1:]] if first[match.end() :] else self.parts[1:]
        blank = len(rest) == 1 and isinstance(rest[0], str) and not rest[0].strip()
        return match.group(1).lower(), [] if blank else rest


_Node = str | _Macro


def _parsed(text: str) -> list[_Node]:
    """The text as strings and macros; braces that do not close are text."""
    root: list[_Node] = []
    open_macros: list[_Macro] = []
    at = 0
    for match in re.finditer(r"\{\{+|\}\}", text):
        if match.start() < at:
            continue
        parts = open_macros[-1].parts if open_macros else root
        parts.append(text[at : match.start()])
        at = match.end()
        if match.group() == "}}":
            if not open_macros:
                root.append("}}")
                continue
            macro = open_macros.pop()
            macro.raw = text[macro.start : at]
            macro.parts = _merged(macro.parts)
            (open_macros[-1].parts if open_macros else root).append(macro)
        elif len(open_macros) >= _MAX_DEPTH:
            parts.append(match.group())
        else:  # of three braces the first one is text; of four the first two open another macro
            braces = len(match.group())
            if braces % 2:
                parts.append("{")
            for n in range(braces // 2):
                start = match.start() + braces % 2 + 2 * n
                if len(open_macros) < _MAX_DEPTH:
                    open_macros.append(_Macro([], start))
    while open_macros:
        unclosed = open_macros.pop()
        parts = open_macros[-1].parts if open_macros else root
        parts += ["{{", *unclosed.parts]
    root.append(text[at:])
    return _merged(root)


def _merged(parts: Sequence[_Node]) -> list[_Node]:
    """The parts with the strings that follow each other joined, and no empty ones."""
    merged: list[_Node] = []
    strings: list[str] = []
    for part in parts:
        if isinstance(part, str):
            strings.append(part)
            continue
        merged += filter(None, ["".join(strings)])
        strings.clear()
        merged.append(part)
    return [*merged, *filter(None, ["".join(strings)])]


def _macros(nodes: Sequence[_Node]) -> Iterator[_Macro]:
    for node in nodes:
        if isinstance(node, _Macro):
            yield node
            yield from _macros(node.parts)


# --- filling ---------------------------------------------------------------------------------------------------------


class _Trim:
    """The mark of ``{{trim}}``: the line breaks around it are removed."""


class _Block(NamedTuple):
    """A scoped macro such as ``{{#if}}``: the index of ``{{else}}`` or of its end, and that of the node after it."""

    middle: int
    end: int


class _Filler:
    """Fills the macros of one text."""

    def __init__(self, text: str, scope: Scope, inserted: list[int] | None = None) -> None:
        self.text = text
        self.scope = scope
        self.depth = 0  # of nested {{#if}}
        self.inserted = [0] if inserted is None else inserted

    def run(self, nodes: Sequence[_Node]) -> str:
        """The text of ``nodes``."""
        out, trims = "", False
        for piece in self._pieces(nodes):
            if isinstance(piece, _Trim):
                out, trims = out.rstrip("\r\n"), True
            elif piece:
                piece = piece.lstrip("\r\n") if trims else piece
                trims = trims and not piece
                out += piece
        return out

    def _pieces(self, nodes: Sequence[_Node]) -> Iterator[str | _Trim]:
        at = 0
        blocks = _blocks(nodes) if self.depth < _MAX_DEPTH else {}
        while at < len(nodes):
            node = nodes[at]
            at += 1
            if isinstance(node, str):
                yield _LEGACY.sub(self._legacy, node)
                continue
            name, rest = node.head
            if block := blocks.get(at):
                self.depth += 1
                if name in ("//", "comment", "trim"):
                    yield self.run(nodes[at : block.end - 1]).strip() if name == "trim" else ""
                else:
                    holds = self._holds(rest) != (name == "#unless")
                    branch = self.run(nodes[at : block.middle] if holds else nodes[block.middle + 1 : block.end - 1])
                    yield branch if name.startswith("#") else branch.strip()
                self.depth -= 1
                at = block.end
            elif name == "trim":
                yield _Trim()
            else:
                yield self._value(node, name, rest)

    def _value(self, node: _Macro, name: str, rest: Sequence[_Node]) -> str:
        """What one macro is replaced by; the macro itself where it is not known."""
        if name in _NOTHING:
            return ""
        if name == "hidden_key":
            return self.run(rest).strip() if self.scope.hidden_keys else ""
        if name == "if":  # {{if condition::text}}
            condition, *then = _arguments(rest)
            return self.run(then[0]).strip() if then and self._holds(condition) else ""
        if name in _NAMES and not rest:
            return self._named(name)
        if name.startswith("time_utc"):
            return self._time(name[5:])
        if (handler := _HANDLERS.get(name)) is not None:
            value = handler(self, node, rest)
            if value is not None:
                return value
        return "{{" + self.run(node.parts) + "}}"

    def _legacy(self, match: re.Match[str]) -> str:
        return self._named(match.group(1).lower())

    def _named(self, name: str) -> str:
        if name in ("user", "notchar"):
            return ", ".join((self.scope.user, *(self.scope.others if name == "notchar" else ())))
        if name in ("char", "bot", "group", "charifnotgroup", "groupnotmuted"):
            return ", ".join((self.scope.char, *(self.scope.others if name not in ("char", "bot") else ())))
        text = self.scope.fields.get(_FIELD_ALIASES.get(name, name), "")
        self.inserted[0] += len(text)
        if self.inserted[0] > _MAX_INSERTED:
            return ""
        inner = replace(self.scope, fields={})
        return _Filler(text, inner, self.inserted).run(_parsed(text))

    def _holds(self, condition: Sequence[_Node]) -> bool:
        """Whether a condition holds: the name of a macro that is not empty, or a text that is not false."""
        text = self.run(condition).strip()
        inverted = text.startswith("!")
        text = text.lstrip("! ")
        if text.lower() in _NAMES:
            text = self._named(text.lower())
        return (text.strip().lower() not in _FALSE) != inverted

    def _random(self, node: _Macro, turn: str) -> random.Random:
        return random.Random(f"{self.scope.seed}|{turn}|{node.start}|{self._name}")  # noqa: S311  (no secret)

    @cached_property
    def _name(self) -> str:
        """The text, or of a long one its hash: a generator reads its whole seed, and each macro has one of its own."""
        return self.text if len(self.text) <= _LONG_TEXT else sha256(self.text.encode("utf-8", "replace")).hexdigest()

    def _choice(self, node: _Macro, rest: Sequence[_Node], turn: str) -> str:
        options = _arguments(rest)
        return self.run(self._random(node, turn).choice(options)).strip()

    def _roll(self, node: _Macro, rest: Sequence[_Node]) -> str | None:
        match = _DICE.fullmatch(self.run(rest).strip())
        if match is None:
            return None
        dice, sides = int((match.group(1) or "1")[:9]), int(match.group(2)[:9])
        if "d" not in match.group().lower():  # a number alone is that of the sides
            dice, sides = 1, int((match.group(1) + match.group(2))[:9])
        if not (1 <= dice <= _MAX_REPEATS and sides >= 1):
            return None
        draw = self._random(node, self.scope.turn)
        plus = int((match.group(3) or "0").replace(" ", "")[:9])
        return str(sum(draw.randint(1, sides) for _ in range(dice)) + plus)

    def _repeated(self, text: str, rest: Sequence[_Node]) -> str:
        count = self.run(rest).strip()
        return text * (min(int(count[:6]), _MAX_REPEATS) if count.isdecimal() else 1)

    # --- time

    @property
    def _now(self) -> datetime:
        return (self.scope.at or datetime.now(UTC)).astimezone()

    def _time(self, zone: str = "") -> str:
        """The time of day, in the time zone "UTC+2" where one is given."""
        match = re.fullmatch(r"utc([+-]\d{1,2})", zone.strip().lower())
        now = self._now.astimezone(UTC) + timedelta(hours=int(match.group(1))) if match else self._now
        return self._formatted(now, "LT")

    def _formatted(self, now: datetime, form: str) -> str:
        """A time in a format of moment.js."""
        zh = self.scope.language == "zh"
        month, day = _MONTHS[now.month - 1], _WEEKDAYS[now.weekday()]
        if zh:
            month, day = f"{now.month}月", "星期" + "一二三四五六日"[now.weekday()]
        hour = now.hour % 12 or 12
        half = "AM" if now.hour < 12 else "PM"
        values = {
            "YYYY": f"{now.year:04}", "YY": f"{now.year % 100:02}", "MMMM": month, "MMM": month if zh else month[:3],
            "MM": f"{now.month:02}", "M": str(now.month), "DD": f"{now.day:02}", "D": str(now.day),
            "dddd": day, "ddd": day if zh else day[:3], "HH": f"{now.hour:02}", "H": str(now.hour),
            "hh": f"{hour:02}", "h": str(hour), "mm": f"{now.minute:02}", "m": str(now.minute),
            "ss": f"{now.second:02}", "s": str(now.second), "A": half, "a": half.lower(),
            "LT": f"{now.hour:02}:{now.minute:02}" if zh else f"{hour}:{now.minute:02} {half}",
            "LL": f"{now.year}年{now.month}月{now.day}日" if zh else f"{month} {now.day}, {now.year}",
            "L": f"{now.year}/{now.month:02}/{now.day:02}" if zh else f"{now.month:02}/{now.day:02}/{now.year}",
        }  # fmt: skip
        return _FORMAT.sub(lambda match: match.group(1) if match.group(1) is not None else values[match.group()], form)


def _arguments(rest: Sequence[_Node]) -> list[list[_Node]]:
    """The arguments of a macro, separated by ``::``, else by commas; one behind a backslash is text."""
    doubled = any(isinstance(part, str) and "::" in part for part in rest)
    separator = re.compile("::" if doubled else r"(?<!\\),")
    arguments: list[list[_Node]] = [[]]
    for part in rest:
        if not isinstance(part, str):
            arguments[-1].append(part)
            continue
        first, *others = separator.split(part)
        arguments[-1].append(first.replace("\\,", ","))
        arguments += [[text.replace("\\,", ",")] for text in others]
    return arguments


def _blocks(nodes: Sequence[_Node]) -> dict[int, _Block]:
    """The scoped macros among ``nodes`` that have an end, by the index of the node after their beginning."""
    found: dict[int, _Block] = {}
    beginnings: list[tuple[str, int, int]] = []  # name, index of the node after it, index of {{else}}
    for at, node in enumerate(nodes):
        name, rest = node.head if isinstance(node, _Macro) else ("", [])
        if name in ("#if", "#unless") or (name == "if" and len(_arguments(rest)) == 1):
            beginnings.append((name.lstrip("#"), at + 1, 0))
        elif name in ("//", "comment", "trim") and not rest:
            beginnings.append((name, at + 1, 0))
        elif name == "else":
            n = next((n for n in range(len(beginnings) - 1, -1, -1) if beginnings[n][0] in ("if", "unless")), None)
            if n is not None and not beginnings[n][2]:
                beginnings[n] = (*beginnings[n][:2], at)
        elif name in _ENDS:
            while beginnings:
                begun, start, middle = beginnings.pop()
                if begun in _ENDS[name]:
                    found[start] = _Block(middle or at, at + 1)
                    break
    return found


_ENDS = {"/if": ("if", "unless"), "/unless": ("if", "unless"), "///": ("//",), "/comment": ("comment",)}
_ENDS |= {"/trim": ("trim",)}
_FIELD_ALIASES = {
    "chardescription": "description",
    "charpersonality": "personality",
    "charscenario": "scenario",
    "mesexamples": "mes_example",
    "mesexamplesraw": "mes_example",
    "charversion": "character_version",
    "char_version": "character_version",
    "version": "character_version",
    "charcreatornotes": "creator_notes",
    "creatornotes": "creator_notes",
}
_NAMES = frozenset({
    "char", "user", "bot", "group", "charifnotgroup", "groupnotmuted", "notchar", "persona", "description",
    "personality", "scenario", *_FIELD_ALIASES,
})  # fmt: skip
_HANDLERS: dict[str, Callable[[_Filler, _Macro, Sequence[_Node]], str | None]] = {
    "random": lambda filler, node, rest: filler._choice(node, rest, filler.scope.turn),
    "pick": lambda filler, node, rest: filler._choice(node, rest, ""),
    "roll": lambda filler, node, rest: filler._roll(node, rest),
    "reverse": lambda filler, node, rest: filler.run(rest).strip()[::-1],
    "newline": lambda filler, node, rest: filler._repeated("\n", rest),
    "space": lambda filler, node, rest: filler._repeated(" ", rest),
    "time": lambda filler, node, rest: filler._time(filler.run(rest)),
    "date": lambda filler, node, rest: filler._formatted(filler._now, "LL"),
    "weekday": lambda filler, node, rest: filler._formatted(filler._now, "dddd"),
    "isotime": lambda filler, node, rest: filler._formatted(filler._now, "HH:mm"),
    "isodate": lambda filler, node, rest: filler._formatted(filler._now, "YYYY-MM-DD"),
    "datetimeformat": lambda filler, node, rest: filler._formatted(filler._now, filler.run(rest).strip()),
}
_KNOWN = _NAMES | _NOTHING | _HANDLERS.keys() | {"#if", "if", "#unless", "/if", "/unless", "trim", "/trim", "/comment"}
_KNOWN |= {"hidden_key"}
