"""Profiles: sources of lines ``field: value`` about the role, as encyclopedias and character sheets have.

Their lines seldom name the role, and each is a statement as it is written, so they need no model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from egosrag.egos.extract.chunks import source_sentences
from egosrag.egos.extract.evidence import FoundStatement
from egosrag.schema import Evidence, Statement
from egosrag.text.language import one_line
from egosrag.text.names import names_of

_MARK = r"[ \t]*[:：]\**[ \t]*"
_FIELD = re.compile(
    rf"[ \t]*(?:[-*•]\s+)?\**(?P<name>[^\W\d_][^:：\n*“”\"「」,，.。!！?？;；]{{0,23}}?)\**{_MARK}(?P<value>.*)"
)
_ITEM = re.compile(r"[ \t]*[-*•][ \t]+(?P<value>\S.*)")
_MIN_FIELDS, _MIN_NAMED_FIELDS = 4, 3  # of a profile; of one with a field for the name
_FIELDS_SHARE = 0.6  # of the lines of a profile, and of the names of its fields that occur once
_LINE_CHARACTERS = 160  # a longer value is cut into sentences
_NAME = re.compile(
    r"(?:full |real |character )?name|character|姓名|名字|名称|中文名|本名|角色(?:名称?)?|人物(?:名称?)?", re.IGNORECASE
)
_OTHER_NAME = re.compile(r"nick ?names?|alias(?:es)?|also known as|aka|昵称|别名|别称|外号|绰号|字|号", re.IGNORECASE)
_HEADINGS = {  # by what the field's name contains; all others are background
    "speaking_style": r"口头禅|台词|名言|说话|语言风格|语气|speech|speaking|catchphrase|voice|quotes?\b",
    "relations": r"关系|亲属|家人|家庭|父亲|母亲|妻子|丈夫|配偶|子女|兄弟|姐妹|朋友"
    r"|relation|famil|father|mother|wife|husband|spouse|child|sibling|brother|sister|friend|enem|rival",
    "personality": r"性格|个性|喜[欢好]|爱好|兴趣|讨厌|厌恶|害怕|弱点"
    r"|personality|traits?\b|temper|likes?\b|hobb|fears?\b|habits?\b|quirks?\b",
}


class Field(NamedTuple):
    """A field of a profile: its name, and where its value is."""

    name: str
    start: int
    end: int


def profile_fields(text: str, name: str) -> list[Field]:
    """The fields of a profile of ``name``; none if the source is not one.

    A transcript has such lines too: its names are few and repeated. A profile of somebody else has another name in its
    field for it, or in its first line.
    """
    fields, lines = list(_fields(text)), sum(bool(line.strip()) for line in text.splitlines())
    names = [field.name for field in fields]
    if len(fields) < _FIELDS_SHARE * lines or len(set(names)) < _FIELDS_SHARE * len(names) or name in names:
        return []
    called = {field: text[field.start : field.end] for field in fields if _NAME.fullmatch(field.name)}
    others = [text[field.start : field.end] for field in fields if _OTHER_NAME.fullmatch(field.name)]
    first = text.strip().splitlines()[:1]
    about = any(_is_called(value, name) for value in ([*called.values(), *others] if called else [*first, *others]))
    if not about or len(fields) < (_MIN_NAMED_FIELDS if called else _MIN_FIELDS):
        return []
    return [field for field in fields if called.get(field) != name]


def _is_called(value: str, name: str) -> bool:
    """Whether a name, a list of names or a title is of the role: it has the whole name, or is a part of it."""
    whole = rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])" if name.isascii() else re.escape(name)
    value = value.strip(" \t#*")
    part = len(value) > 1 and not name.isascii() and value in name
    return bool(re.search(whole, value)) or value in names_of(name) or part


def _fields(text: str) -> Iterator[Field]:
    """The lines ``field: value``, and the items of a list below a line ``field:``."""
    above, at = "", 0
    for line in text.splitlines(keepends=True):
        field, item = _FIELD.match(line), _ITEM.match(line)
        value = field or (item if above else None)
        if field and not field["value"].strip():
            above, value = field["name"].strip(), None
        elif field or not item:
            above = ""
        if value:
            start, end = value.span("value")
            yield Field(
                field["name"].strip() if field else above, at + start, at + start + len(line[start:end].rstrip())
            )
        at += len(line)


def profile_statements(source: str, text: str, name: str) -> list[FoundStatement]:
    """The fields of a profile as statements; none if the source is not one.

    Args:
        source: the name of the source.
        text: its text.
        name: the role's name.
    """
    found = []
    for field in profile_fields(text, name):
        value = text[field.start : field.end]
        spans = [(0, len(value))] if len(value) <= _LINE_CHARACTERS else source_sentences(value)
        for start, end in spans:
            place = Evidence(source=source, start=field.start + start, end=field.start + end, quote=value[start:end])
            colon = ": " if field.name.isascii() else "："
            statement = Statement(text=f"{field.name}{colon}{one_line(place.quote)}", evidence=(place,))
            # Of a card that is too long the lowest scores are left out: many short fields say more than a long one.
            score = max(0.5, 0.9 - len(statement.text) / 1000)
            found.append(FoundStatement(_heading(field.name), statement, score))
    return found


def _heading(field: str) -> str:
    return next((key for key, names in _HEADINGS.items() if re.search(names, field, re.IGNORECASE)), "background")
