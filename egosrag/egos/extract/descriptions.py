"""The sentences of sources that describe a role in so many words: these need no model, and a small one would skip some.

On a page about the role that is nearly every sentence whose subject it is; of a story only those that say something
lasting, not what it did at a moment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from egosrag.egos.extract.chunks import source_sentences
from egosrag.egos.extract.claims import OPENERS
from egosrag.egos.extract.evidence import FoundStatement, content_terms
from egosrag.egos.extract.headings import cued_headings, fitting_heading
from egosrag.egos.extract.mentions import Mentions
from egosrag.schema import Evidence, Statement
from egosrag.text.language import one_line
from egosrag.text.named_items import chinese_names
from egosrag.text.names import mention_pattern

# A source is a page about the role, and no story, up to this share of paragraphs with speech, and from this share of
# sentences about the role.
_STORY = 0.5
_ABOUT = 0.3
_LENGTHS = range(4, 241)  # characters of a sentence that is quoted
_SPEECH = re.compile(r"[\"“”「」『』]")
_LONG_SPEECH = re.compile(r"“[^”]{24,}|\"[^\"\n]{24,}|「[^」]{12,}|[:：]\s*[“「\"]")  # a quoted word is no speech
_PRONOUN = re.compile(r"(?:(?P<he>He|She|They)\b|(?P<his>His|Her|Their)\b|(?P<zh>[他她](?!们)))")
_THIRD_PERSON = re.compile(r"(?:is|has|does|\w{2,}[^su]s)\b")  # a verb in the present, as stories in the past have none
_END = re.compile(r"[.!?。！？;；…][\"”’」』)）]*$")
_DEFINES = re.compile(r"(?:is|was)\s+(?:an?|the|one)\b|(?:本|原|又|也|就)?[是乃]")
_ROW = re.compile(r"\s*\|\s*([^|\n]+?)\s*\|\s*([^|\n]+?)\s*\|\s*")


def descriptions(sources: Sequence[tuple[str, str]], name: str, limit: int = 48) -> list[FoundStatement]:
    """The describing sentences as statements with the role's name, each under the heading that its words fit.

    Args:
        sources: (name, text) pairs.
        name: the role's name.
        limit: most statements; of more, they are taken evenly from the sources.
    """
    found = [item for source in sources for item in _described(*source, name)]
    return found if len(found) <= limit else [found[len(found) * n // limit] for n in range(limit)]


def is_story(text: str, name: str) -> bool:
    """Whether a source is a story, and no page about ``name``."""
    return _is_story(text, _places(text, name))


def _is_story(text: str, about: set[tuple[int, int]]) -> bool:
    return _has_speech(text) or len(about) < _ABOUT * len(source_sentences(text))


def _places(text: str, name: str) -> set[tuple[int, int]]:
    """The sentences that are about ``name``."""
    mentions = Mentions(text, name)
    return {span for span in source_sentences(text) if mentions.about(*span)}


def _described(source: str, text: str, name: str) -> Iterator[FoundStatement]:
    named = mention_pattern(name)
    paragraphs, about = list(_paragraphs(text)), _places(text, name)
    story = _is_story(text, about)
    for paragraph in paragraphs:
        continues = not story  # whether a pronoun at the beginning means the role: a section of a page is about it
        for start, end in paragraph:
            said = text[start:end]
            statement = _statement(said, name, named)
            pronoun = _PRONOUN.match(said)
            is_subject = bool(named.match(said)) or bool(pronoun and (continues or pronoun.group("his")))
            relation = "relations" in cued_headings(statement, name)
            if not pronoun and not relation:
                continues = is_subject or (not story and not _begins_with_a_name(said))
            if (
                len(said) in _LENGTHS
                and (start, end) in about
                and _is_sentence(said)
                and (is_subject or relation or (not story and not pronoun and not _begins_with_a_name(said)))
                and _describes(statement, name, is_story=story)
            ):
                place = Evidence(source=source, start=start, end=end, quote=said)
                heading = fitting_heading("background", statement, name)
                yield FoundStatement(heading, Statement(text=statement, evidence=(place,)), 0.9)


def _is_sentence(said: str) -> bool:
    """Whether it is a whole sentence without speech, or a row of a table."""
    if "|" in said:
        return bool(_ROW.fullmatch(said))
    return bool(_END.search(said)) and not _SPEECH.match(said) and not _LONG_SPEECH.search(said)


def _begins_with_a_name(said: str) -> bool:
    first = re.match(r"[A-Z][\w'’]+(?: [A-Z][\w'’]+)*", said)
    if first and first.group().split()[0].lower() not in OPENERS:
        return True
    return any(said.startswith(name) for name in chinese_names(said[:4]))


def _has_speech(text: str) -> bool:
    paragraphs = [line for line in text.split("\n") if len(line.strip()) > 8]
    return sum(bool(_SPEECH.search(line)) for line in paragraphs) > _STORY * len(paragraphs)


def _paragraphs(text: str) -> Iterator[list[tuple[int, int]]]:
    spans = source_sentences(text)
    breaks = [n for n in range(1, len(spans)) if "\n" in text[spans[n - 1][1] : spans[n][0]]]
    for first, end in pairwise((0, *breaks, len(spans))):
        yield spans[first:end]


def _describes(statement: str, name: str, *, is_story: bool) -> bool:
    """Whether a statement says something lasting about the role: on a page whatever it says."""
    if len(content_terms(statement, name)) < 1:
        return False
    rest = mention_pattern(name).sub("", statement, count=1).lstrip(" ,，")
    return not is_story or bool(cued_headings(statement, name) or _DEFINES.match(rest) or _THIRD_PERSON.match(rest))


def _statement(said: str, name: str, named: re.Pattern[str]) -> str:
    """A sentence of a source as a statement: with the name in place of a pronoun; a row of a table in words."""
    said = one_line(said)
    if "|" in said:
        row = _ROW.fullmatch(said)
        if not row or set(row.group(1)) <= {"-", ":", " "}:
            return ""
        return f"{row.group(1)}: {row.group(2)}" if said.isascii() else f"{row.group(1)}：{row.group(2)}"
    pronoun = _PRONOUN.match(said)
    if pronoun and not named.search(said):
        return name + ("'s" if pronoun.group("his") else "") + said[pronoun.end() :]
    return said
