"""Styles and list numbers of a DOCX document: which paragraphs are headings, and which number a list item has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docx.document import Document

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_HEADING = re.compile(r"(?:heading|标题|überschrift|titre|título)\s*([1-9])", re.IGNORECASE)
_MAX_BASES = 20  # styles that one is based on
_ROMAN = ((10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))
_CHINESE = "零一二三四五六七八九"


class WordStyles:
    """The styles of a document by their ids."""

    def __init__(self, document: Document) -> None:
        self._styles = {style.get(f"{_W}styleId"): style for style in document.styles.element.iter(f"{_W}style")}

    def property(self, paragraph: Any, path: str) -> Any:
        """A property of a paragraph: its own, else of its style or of those that this is based on; None without one."""
        own = paragraph.find(f"{_W}pPr/{path}")
        return own if own is not None else self._of_style(_value(paragraph.find(f"{_W}pPr/{_W}pStyle")), path)

    def _of_style(self, style_id: str, path: str) -> Any:
        for _ in range(_MAX_BASES):
            style = self._styles.get(style_id)
            if style is None:
                return None
            if (found := style.find(f"{_W}pPr/{path}")) is not None:
                return found
            style_id = _value(style.find(f"{_W}basedOn"))
        return None

    def heading_level(self, paragraph: Any) -> int:
        """The level of a heading, from 1; 0 for any other paragraph."""
        style = self._styles.get(_value(paragraph.find(f"{_W}pPr/{_W}pStyle")))
        name = _value(style.find(f"{_W}name")) if style is not None else ""
        if match := _HEADING.fullmatch(name):
            return int(match.group(1))
        if name.casefold() in ("title", "标题"):
            return 1
        outline = _value(self.property(paragraph, f"{_W}outlineLvl"))
        return int(outline) + 1 if re.fullmatch("[0-8]", outline) else 0

    @staticmethod
    def is_hidden(run: Any) -> bool:
        """Whether a run is hidden text."""
        vanish = run.find(f"{_W}rPr/{_W}vanish")
        return vanish is not None and _value(vanish) not in ("0", "false", "off")


class ListNumbers:
    """Counts the items of a document's lists in reading order."""

    def __init__(self, document: Document, styles: WordStyles) -> None:
        self._styles = styles
        self._levels: dict[tuple[str, int], tuple[str, str, int]] = {}  # format, text and start of a list's level
        self._counts: dict[str, list[int]] = {}
        part = next((r.target_part for r in document.part.rels.values() if r.reltype.endswith("/numbering")), None)
        if part is not None:
            self._read(part.element)

    def _read(self, root: Any) -> None:
        abstract = {element.get(f"{_W}abstractNumId"): element for element in root.iter(f"{_W}abstractNum")}
        for number in root.iter(f"{_W}num"):
            list_id = number.get(f"{_W}numId")
            base = abstract.get(_value(number.find(f"{_W}abstractNumId")))
            for level in base.iter(f"{_W}lvl") if base is not None else ():
                start = _value(level.find(f"{_W}start"))
                self._levels[list_id, int(level.get(f"{_W}ilvl") or 0)] = (
                    _value(level.find(f"{_W}numFmt")) or "decimal",
                    _value(level.find(f"{_W}lvlText")),
                    int(start) if start.isdecimal() else 1,
                )

    def mark(self, paragraph: Any) -> str:
        """The mark before a list item, such as "2. " or "- "; empty for any other paragraph."""
        list_id = _value(self._styles.property(paragraph, f"{_W}numPr/{_W}numId"))
        level_text = _value(self._styles.property(paragraph, f"{_W}numPr/{_W}ilvl"))
        level = int(level_text) if level_text.isdecimal() else 0
        if (list_id, level) not in self._levels:
            return ""
        form, text, start = self._levels[list_id, level]
        if form == "bullet":
            return "- "
        if form == "none":
            return ""
        counts = self._counts.setdefault(list_id, [])
        while len(counts) <= level:
            counts.append(self._levels.get((list_id, len(counts)), ("", "", 1))[2] - 1)
        counts[level] += 1
        del counts[level + 1 :]

        def number(match: re.Match[str]) -> str:
            n = int(match.group(1)) - 1
            return _formatted(counts[n], self._levels.get((list_id, n), (form, "", 1))[0]) if n < len(counts) else ""

        return re.sub(r"%([1-9])", number, text).strip() + " "


def _formatted(number: int, form: str) -> str:
    if form.endswith("Letter") and 1 <= number <= 26:
        letter = chr(ord("a") + number - 1)
        return letter.upper() if form.startswith("upper") else letter
    if form.endswith("Roman") and 1 <= number < 40:
        roman, rest = "", number
        for value, digits in _ROMAN:
            roman, rest = roman + digits * (rest // value), rest % value
        return roman.upper() if form.startswith("upper") else roman
    if form.startswith(("chinese", "ideograph", "japanese")) and 1 <= number < 100:
        tens, ones = divmod(number, 10)
        return ("" if not tens else ("" if tens == 1 else _CHINESE[tens]) + "十") + (_CHINESE[ones] if ones else "")
    return str(number)


def _value(element: Any) -> str:
    return (element.get(f"{_W}val") or "") if element is not None else ""
