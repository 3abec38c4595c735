"""When an entry of a lorebook is told: its keys, its conditions, and the regular expressions of strangers."""

from __future__ import annotations

import logging
import re
import time
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from egosrag.limits import REGEX_TIMEOUT_S
from egosrag.lore import LoreEntry
from egosrag.text.language import one_line

_log = logging.getLogger(__name__)
_LONGEST_PATTERN = 200
_DECORATOR = re.compile(r"(@@@?)([a-z_]+)[ \t]*([^\n]*)(?:\n|$)")
_DECORATORS = ("activate", "dont_activate", "scan_depth", "additional_keys", "exclude_keys")
_SLASHED = re.compile(r"/(.+)/([dgimsuvy]*)", re.DOTALL)  # a regular expression as SillyTavern writes it
_ANY, _NOT_ALL, _NOT_ANY, _ALL = range(4)  # SillyTavern's selectiveLogic


class Watch:
    """How long regular expressions may still run: those that come after the time is up find nothing.

    It is the processor's time, as the library counts it too: a busy machine changes nothing.
    """

    def __init__(self, seconds: float = REGEX_TIMEOUT_S) -> None:
        self._left = seconds

    def finds(self, pattern: Any, text: str) -> bool:
        """Whether a compiled pattern is found in ``text`` before the time is up."""
        started = time.process_time()
        try:
            return self._left > 0 and pattern.search(text, timeout=self._left) is not None
        except TimeoutError:
            _log.warning("the key %s of a lorebook takes too long: it counts as not found", pattern.pattern)
            return False
        finally:
            self._left -= time.process_time() - started


@dataclass(frozen=True)
class Rule:
    """An entry as it is matched.

    Args:
        entry: the entry as it was written.
        content: what it tells, decorators left out; empty where it is never told.
        keys: one of them must be found.
        secondary: of these ``logic`` asks for one, all, not all or none.
        logic: 0 one of them, 1 not all, 2 none, 3 all (SillyTavern's selectiveLogic).
        excluded: none of them may be found.
        constant: told in any case.
        case_sensitive: keys that are no regular expressions are found only with the same capitals.
        depth: how many lines are looked through; the book's own number when None.
        by_entries: whether other entries may bring it up.
        leads_on: whether it may bring up others.
    """

    entry: LoreEntry
    content: str
    keys: tuple[str, ...]
    secondary: tuple[str, ...] = ()
    logic: int = _ANY
    excluded: tuple[str, ...] = ()
    constant: bool = False
    case_sensitive: bool = False
    depth: int | None = None
    by_entries: bool = True
    leads_on: bool = True

    def meets(self, exact: str, folded: str, watch: Watch) -> bool:
        """Whether a text, given as it is and casefolded, speaks of the entry."""

        def found(key: str) -> bool:
            pattern, flags = _pattern(key, self.entry.use_regex)
            if pattern:
                compiled = _compiled(pattern, flags)
                return compiled is not None and watch.finds(compiled, exact)
            plain = _plain(key, self.case_sensitive)
            return bool(plain) and _stands(plain, exact if self.case_sensitive else folded)

        if not any(map(found, self.keys)) or any(map(found, self.excluded)):
            return False
        if not self.secondary:
            return True
        second = [found(key) for key in self.secondary]
        return (any(second), not all(second), not any(second), all(second))[self.logic]


def rule_of(entry: LoreEntry) -> Rule:
    """The rule of an entry: what V2 and V3, SillyTavern's extensions and the decorators of V3 say of it."""
    extensions = entry.extensions
    decorators, content = _decorated(entry.content)
    told = entry.enabled and "dont_activate" not in decorators
    logic = extensions.get("selectiveLogic")
    depth = _number(decorators.get("scan_depth"))
    return Rule(
        entry=entry,
        content=content if told else "",
        keys=(*entry.keys, *_listed(decorators.get("additional_keys", ""))),
        secondary=entry.secondary_keys if entry.selective else (),
        logic=logic if isinstance(logic, int) and _ANY <= logic <= _ALL else _ANY,
        excluded=_listed(decorators.get("exclude_keys", "")),
        constant=entry.constant or "activate" in decorators,
        case_sensitive=entry.case_sensitive or extensions.get("case_sensitive") is True,
        depth=depth if depth is not None else _number(extensions.get("scan_depth")),
        by_entries=not extensions.get("exclude_recursion"),
        leads_on=not extensions.get("prevent_recursion"),
    )


def _decorated(content: str) -> tuple[dict[str, str], str]:
    """The decorators at the head of a content that are known, and the content without any.

    ``@@@name`` stands in for the ``@@name`` before it where that one is not known.
    """
    found: dict[str, str] = {}
    known, rest = True, content.lstrip()
    while match := _DECORATOR.match(rest):
        marks, name, value = match.groups()
        if marks == "@@" or not known:
            known = name in _DECORATORS
            if known:
                found[name] = value.strip()
        rest = rest[match.end() :]
    return found, rest.strip()


def _listed(keys: str) -> tuple[str, ...]:
    return tuple(key for part in re.split("[,，]", keys) if (key := part.strip()))


def _number(value: Any) -> int | None:
    try:
        return None if value is None or isinstance(value, bool) else max(0, int(value))
    except (ValueError, TypeError, OverflowError):
        return None


def _pattern(key: str, is_regex: bool) -> tuple[str, str]:
    """The (pattern, flags) of a key that is a regular expression; an empty pattern where it is none."""
    slashed = _SLASHED.fullmatch(key)
    if slashed:
        return slashed.group(1), slashed.group(2)
    return (key, "") if is_regex else ("", "")


@lru_cache(maxsize=1024)
def _compiled(pattern: str, flags: str) -> Any:
    """The pattern, compiled; None where it is too long or no regular expression."""
    import regex  # unlike re it can be told when to stop

    try:
        if len(pattern) > _LONGEST_PATTERN:
            raise regex.error(f"more than {_LONGEST_PATTERN} characters")
        known = {"i": regex.IGNORECASE, "m": regex.MULTILINE, "s": regex.DOTALL}
        return regex.compile(pattern, sum({known[flag] for flag in flags if flag in known}))
    except (regex.error, OverflowError, RecursionError) as error:
        _log.warning("the key %.80s of a lorebook is no regular expression (%s): never found", pattern, error)
        return None


@lru_cache(maxsize=8192)
def _plain(key: str, case_sensitive: bool) -> str:
    plain = one_line(unicodedata.normalize("NFKC", key))
    return plain if case_sensitive else plain.casefold()


def _stands(key: str, text: str) -> bool:
    """Whether ``key`` stands in ``text``, not as a part of a longer word."""
    at = text.find(key)
    while at >= 0:
        end = at + len(key)
        before = at > 0 and _in_word(key[0]) and _in_word(text[at - 1])
        after = end < len(text) and _in_word(key[-1]) and _in_word(text[end])
        if not before and not after:
            return True
        at = text.find(key, at + 1)
    return False


def _in_word(letter: str) -> bool:
    """Whether a letter is of a script whose words have spaces between them; Thai, kana and Han characters are not."""
    return (letter.isalnum() or letter == "_") and (letter < "\u0e00" or "\u1e00" <= letter < "\u2000")
