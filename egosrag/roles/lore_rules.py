"""When an entry of a lorebook is activated: its keys, and the conditions beside them.

The rule of an entry is read from the fields of cards V2 and V3, from SillyTavern's settings (in ``extensions``, see
``lore_formats``) and from V3's decorators at the head of the content. A key matches whole words in scripts that put
spaces between words, and anywhere in Chinese, Japanese, Korean and Thai; apostrophes and quotation marks of all shapes
are the same. Keys can be regular expressions, and lorebooks come from strangers: each pattern has a length limit, and
all of them together a time limit for each reply (``egosrag.limits.REGEX_TIMEOUT_S``).
"""

from __future__ import annotations

import logging
import random
import re
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from egosrag.limits import REGEX_TIMEOUT_S
from egosrag.roles.lore_formats import flag
from egosrag.schema import LoreEntry
from egosrag.text import macros
from egosrag.text.language import one_line
from egosrag.text.macros import Scope

_log = logging.getLogger(__name__)
_AND_ANY, _NOT_ALL, _NOT_ANY, _AND_ALL = range(4)  # SillyTavern's selectiveLogic
_DECORATOR = re.compile(r"(@@@?)([a-z_]+)[ \t]*([^\n]*)(?:\n|$)")
_KNOWN_DECORATORS = frozenset({
    "activate", "dont_activate", "scan_depth", "additional_keys", "exclude_keys", "depth", "position",
    "activate_only_after", "activate_only_every", "keep_activate_after_match", "dont_activate_after_match",
})  # fmt: skip
_SLASHED_REGEX = re.compile(r"/(.+)/([dgimsuvy]*)", re.DOTALL)  # a regular expression as SillyTavern writes it
_MAX_PATTERN_LENGTH = 200  # characters
_FOREVER = 10**9  # lines
_SAME_MARKS = str.maketrans(
    dict.fromkeys("’‘ʼʹ´`＇", "'") | dict.fromkeys("“”„‟«»＂", '"') | dict.fromkeys("‐‑‒–—―", "-")
)
_AT_DEPTH = 4  # SillyTavern's position of an entry among the messages
_DEFAULT_DEPTH = 4
_POSITIONS = {"before_desc": 0, "after_desc": 1, "personality": 1, "scenario": 1, "before_char": 0, "after_char": 1}
_SOURCES = {  # settings of SillyTavern that scan a text of the card too
    "match_persona_description": "persona",
    "match_character_description": "description",
    "match_character_personality": "personality",
    "match_scenario": "scenario",
    "match_creator_notes": "creator_notes",
}


@dataclass(frozen=True)
class Lines:
    """The lines of a conversation in which keys are searched.

    Attributes:
        texts: the lines, the newest last.
        replies: which of them the role said; empty: every second one, the newest is the user's.
        scope: what macros in keys are replaced by, and the seed of probabilities.
    """

    texts: Sequence[str]
    replies: Sequence[bool] = ()
    scope: Scope = field(default_factory=lambda: Scope(char="", user=""))

    def said(self, count: int) -> int:
        """How many of the first ``count`` lines the role said."""
        return sum(self.replies[:count]) if self.replies else count // 2

    def answered(self) -> list[int]:
        """The numbers of lines of the conversation when a reply was generated: behind each line of the user."""
        if not self.replies:
            return list(range(len(self.texts) % 2 or 2, len(self.texts) + 1, 2))
        points = [n + 1 for n, reply in enumerate(self.replies) if not reply]
        return points if points and points[-1] == len(self.texts) else [*points, len(self.texts)]


@dataclass(frozen=True)
class ScanText:
    """Text in which keys are searched: as it is, and casefolded."""

    exact: str
    folded: str

    @classmethod
    def of(cls, lines: Sequence[str]) -> ScanText:
        """The text of several lines."""
        # No key contains a zero byte, so that no key matches across two lines.
        text = "\0".join(map(_same_marks, lines))
        return cls(text, text.casefold())


class PatternTimer:
    """The time limit of all regular expressions together: once it is used up, they match nothing.

    It counts processor time, as the ``regex`` library does, so that a busy machine changes nothing.
    """

    def __init__(self, seconds: float = REGEX_TIMEOUT_S) -> None:
        self._remaining = seconds

    def search(self, pattern: Any, text: str) -> bool:
        """Whether a compiled pattern matches somewhere in ``text`` within the remaining time."""
        started = time.process_time()
        try:
            return self._remaining > 0 and pattern.search(text, timeout=self._remaining) is not None
        except TimeoutError:
            _log.warning("the lorebook key %s takes too long to match: it counts as not found", pattern.pattern)
            return False
        finally:
            self._remaining -= time.process_time() - started


@dataclass(frozen=True)
class Rule:
    """When an entry is activated.

    Args:
        entry: the entry as it was written.
        content: its content without decorators; empty if it is never activated.
        keys: one of them must match.
        secondary: secondary keys, combined by ``logic``.
        logic: 0 any of them must match, 1 not all may, 2 none may, 3 all must (SillyTavern's selectiveLogic).
        excluded: none of them may match.
        constant: always activated.
        case_sensitive: whether keys that are not regular expressions are case-sensitive.
        scan_depth: how many of the last lines are scanned; None: the book's scan depth.
        recursable: whether other entries may activate it.
        recurses: whether it may activate other entries.
        only_recursed: only other entries may activate it.
        whole_words: keys match whole words, in scripts that have them.
        sources: names of card texts that are scanned too.
        probability: in percent, that it is activated where it could be.
        sticky: for how many lines it stays active.
        cooldown: for how many lines after that it cannot be activated again.
        delay: how many lines the conversation needs.
        after: how many replies the conversation needs.
        every: it is activated only where the number of replies is a multiple of this.
        groups: of all activated entries of a group, one is taken.
        group_weight: its chance against the others of its group.
        group_first: of a group, the one of these with the highest order is taken.
        group_scoring: of a group, those with most matching keys are taken.
        depth: before which message from the end it is placed; None: before the last line.
        rank: 0 in front of the other entries, 1 among them, 2 behind them.
    """

    entry: LoreEntry
    content: str
    keys: tuple[str, ...]
    secondary: tuple[str, ...] = ()
    logic: int = _AND_ANY
    excluded: tuple[str, ...] = ()
    constant: bool = False
    case_sensitive: bool = False
    scan_depth: int | None = None
    recursable: bool = True
    recurses: bool = True
    only_recursed: bool = False
    whole_words: bool = True
    sources: tuple[str, ...] = ()
    probability: float = 100
    sticky: int = 0
    cooldown: int = 0
    delay: int = 0
    after: int = 0
    every: int = 1
    groups: tuple[str, ...] = ()
    group_weight: float = 100
    group_first: bool = False
    group_scoring: bool = False
    depth: int | None = None
    rank: int = 1

    def activated(self, lines: Lines, count: int, texts: ScanTexts, index: int) -> bool:
        """Whether the first ``count`` lines activate it, in spite of its probability and what it needs.

        Args:
            lines: the conversation.
            count: how many of its lines there are.
            texts: the scanned texts of the conversation.
            index: the entry's index, so that each has a chance of its own.
        """
        said = lines.said(count)
        if count < self.delay or said < self.after or said % self.every or self.only_recursed:
            return False
        if not (self.constant or self.matches(texts.of(self, count), texts.timer)):
            return False
        return self.chance(lines.scope.seed, count, index)

    def chance(self, seed: str, count: int, index: int) -> bool:
        """Whether the probability lets it be activated: the same for the same line of a conversation."""
        if self.probability >= 100:
            return True
        draw = random.Random(f"{seed}|lore|{index}|{count}")  # noqa: S311  (no secret)
        return draw.random() * 100 < self.probability

    def score(self, text: ScanText, timer: PatternTimer) -> int:
        """How many of its keys match."""
        return sum(self._found(key, text, timer) for key in (*self.keys, *self.secondary))

    def matches(self, text: ScanText, timer: PatternTimer) -> bool:
        """Whether the keys match a text."""

        def found(key: str) -> bool:
            return self._found(key, text, timer)

        if not any(map(found, self.keys)) or any(map(found, self.excluded)):
            return False
        if not self.secondary:
            return True
        second = [found(key) for key in self.secondary]
        return (any(second), not all(second), not any(second), all(second))[self.logic]

    def _found(self, key: str, text: ScanText, timer: PatternTimer) -> bool:
        pattern, flags = _as_regex(key, self.entry.use_regex)
        if pattern:
            compiled = _compiled(pattern, flags)
            return compiled is not None and timer.search(compiled, text.exact)
        words = _normalized(key, self.case_sensitive)
        scanned = text.exact if self.case_sensitive else text.folded
        return bool(words) and (_contains_word(scanned, words) if self.whole_words else words in scanned)


class ScanTexts:
    """The texts in which the keys of entries are searched, each made once.

    Args:
        lines: the conversation.
        scan_depth: how many of the last lines are scanned, for entries that state none.
    """

    def __init__(self, lines: Lines, scan_depth: int) -> None:
        self.lines = lines
        self.scan_depth = scan_depth
        self.timer = PatternTimer()
        self._texts: dict[tuple[object, ...], ScanText] = {}

    def of(self, rule: Rule, count: int) -> ScanText:
        """The last of the first ``count`` lines that a rule scans, and the texts of the card that it names."""
        depth = self.scan_depth if rule.scan_depth is None else rule.scan_depth
        key = (depth, count, rule.sources)
        if key not in self._texts:
            scanned = [*self.lines.texts[max(0, count - depth) : count]]
            fields = self.lines.scope.fields
            scanned += [macros.fill(fields[name], self.lines.scope) for name in rule.sources if fields.get(name)]
            self._texts[key] = ScanText.of(scanned)
        return self._texts[key]


def rule_of(entry: LoreEntry, scope: Scope | None = None) -> Rule:
    """The rule of an entry, from its V2 and V3 fields, SillyTavern's extensions and the decorators of V3.

    Args:
        entry: the entry.
        scope: what macros in its keys are replaced by.
    """
    extensions = entry.extensions
    decorators, content = _split_decorators(entry.content)
    never = not entry.enabled or ("dont_activate" in decorators and "activate" not in decorators)
    logic = _non_negative_int(extensions.get("selectiveLogic"))
    scan_depth = _non_negative_int(decorators.get("scan_depth"))
    probability = _number(extensions.get("probability"), 100)
    depth = _non_negative_int(decorators.get("depth"))
    position = _non_negative_int(extensions.get("position"))
    if depth is None and position == _AT_DEPTH:
        depth = _non_negative_int(extensions.get("depth", _DEFAULT_DEPTH))
    place = decorators.get("position") or (entry.model_extra or {}).get("position")
    rank = _POSITIONS.get(place, 1) if isinstance(place, str) else 1
    if position is not None and "position" not in decorators:
        rank = 0 if position == 0 else 2 if position in (2, 3) else 1
    group = extensions.get("group")

    def filled(keys: Sequence[str]) -> tuple[str, ...]:
        return tuple(macros.fill(key, scope) if scope else key for key in keys)

    return Rule(
        entry=entry,
        content="" if never else content,
        keys=filled((*entry.keys, *_split_keys(decorators.get("additional_keys", "")))),
        secondary=filled(entry.secondary_keys) if entry.selective else (),
        logic=logic if logic is not None and logic <= _AND_ALL else _AND_ANY,
        excluded=filled(_split_keys(decorators.get("exclude_keys", ""))),
        constant=entry.constant or "activate" in decorators,
        case_sensitive=entry.case_sensitive or bool(flag(extensions.get("case_sensitive"))),
        scan_depth=scan_depth if scan_depth is not None else _non_negative_int(extensions.get("scan_depth")),
        recursable=not flag(extensions.get("exclude_recursion")),
        recurses=not flag(extensions.get("prevent_recursion")),
        only_recursed=bool(flag(extensions.get("delay_until_recursion"))),
        whole_words=flag(extensions.get("match_whole_words")) is not False,
        sources=tuple(name for key, name in _SOURCES.items() if flag(extensions.get(key))),
        probability=100 if flag(extensions.get("useProbability")) is False else probability,
        sticky=_FOREVER if "keep_activate_after_match" in decorators else _lines(extensions.get("sticky")),
        cooldown=_FOREVER if "dont_activate_after_match" in decorators else _lines(extensions.get("cooldown")),
        delay=_lines(extensions.get("delay")),
        after=_lines(decorators.get("activate_only_after")),
        every=max(1, _lines(decorators.get("activate_only_every"))),
        groups=_split_keys(group) if isinstance(group, str) else (),
        group_weight=max(0.0, _number(extensions.get("group_weight"), 100)),
        group_first=bool(flag(extensions.get("group_override"))),
        group_scoring=bool(flag(extensions.get("use_group_scoring"))),
        depth=depth,
        rank=rank,
    )


def _lines(value: Any) -> int:
    return min(_non_negative_int(value) or 0, _FOREVER)


def _number(value: Any, otherwise: float) -> float:
    try:
        return otherwise if value is None or isinstance(value, bool) else float(value)
    except (ValueError, TypeError, OverflowError):
        return otherwise


def _split_decorators(content: str) -> tuple[dict[str, str], str]:
    """The known decorators at the head of a content, and the content without any decorators.

    ``@@@name`` is the fallback of the ``@@name`` before it: it applies where that one is unknown.
    """
    decorators: dict[str, str] = {}
    known, rest = True, content.lstrip()
    while match := _DECORATOR.match(rest):
        marker, name, value = match.groups()
        if marker == "@@" or not known:
            known = name in _KNOWN_DECORATORS
            if known:
                decorators.setdefault(name, value.strip())
        rest = rest[match.end() :]
    return decorators, rest.strip()


def _split_keys(keys: str) -> tuple[str, ...]:
    return tuple(key for part in re.split("[,，]", keys) if (key := part.strip()))


def _non_negative_int(value: Any) -> int | None:
    try:
        return None if value is None or isinstance(value, bool) else max(0, int(float(value)))
    except (ValueError, TypeError, OverflowError):
        return None


def _as_regex(key: str, is_regex: bool) -> tuple[str, str]:
    """The (pattern, flags) of a key that is a regular expression; an empty pattern for any other key."""
    key = key.translate(_SAME_MARKS)
    slashed = _SLASHED_REGEX.fullmatch(key)
    if slashed:
        return slashed.group(1), slashed.group(2)
    return (key, "") if is_regex else ("", "")


@lru_cache(maxsize=1024)
def _compiled(pattern: str, flags: str) -> Any:
    """The compiled pattern; None if it is too long or not a regular expression."""
    import regex  # unlike re it has a timeout

    try:
        if len(pattern) > _MAX_PATTERN_LENGTH:
            raise regex.error(f"more than {_MAX_PATTERN_LENGTH} characters")
        known = {"i": regex.IGNORECASE, "m": regex.MULTILINE, "s": regex.DOTALL}
        return regex.compile(pattern, sum({known[flag] for flag in flags if flag in known}))
    except (regex.error, OverflowError, RecursionError) as error:
        _log.warning("the lorebook key %.80s is not a valid regular expression (%s): it never matches", pattern, error)
        return None


def _same_marks(text: str) -> str:
    """A text on one line, with compatible characters, apostrophes, quotation marks and dashes of one shape."""
    return one_line(unicodedata.normalize("NFKC", text).translate(_SAME_MARKS))


@lru_cache(maxsize=8192)
def _normalized(key: str, case_sensitive: bool) -> str:
    words = _same_marks(key)
    return words if case_sensitive else words.casefold()


def _contains_word(text: str, words: str) -> bool:
    """Whether ``words`` occur in ``text`` other than as a part of a longer word."""
    at = text.find(words)
    while at >= 0:
        end = at + len(words)
        before = at > 0 and _in_spaced_word(words[0]) and _in_spaced_word(text[at - 1])
        after = end < len(text) and _in_spaced_word(words[-1]) and _in_spaced_word(text[end])
        if not before and not after:
            return True
        at = text.find(words, at + 1)
    return False


def _in_spaced_word(letter: str) -> bool:
    """Whether a letter belongs to a script that puts spaces between words; Thai, kana and Han do not."""
    return (letter.isalnum() or letter == "_") and (letter < "\u0e00" or "\u1e00" <= letter < "\u2000")
