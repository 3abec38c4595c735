"""Lorebooks (world info): load them, and select the entries that the last lines of a conversation activate.

Formats: the ``character_book`` of a card V2 or V3, a stand-alone ``lorebook_v3`` (kwaroran/character-card-spec-v3) and
the world info of SillyTavern. A key matches whole words in scripts that put spaces between words, and anywhere in
Chinese, Japanese, Korean and Thai. Activation depends on the lines alone: SillyTavern's probability, cooldown and
groups are kept in the file and ignored.

Keys can be regular expressions, and lorebooks come from strangers: each pattern has a length limit, and all of them
together a time limit for each reply (``egosrag.limits.REGEX_TIMEOUT_S``).
"""

from __future__ import annotations

import json
import logging
import re
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from egosrag.errors import RoleError
from egosrag.limits import REGEX_TIMEOUT_S
from egosrag.roles.data import Notify, parse_json, read_bytes, write_atomically
from egosrag.roles.files import load_role
from egosrag.roles.lore_formats import character_book, lorebook_from
from egosrag.schema import Lorebook, LoreEntry, Role
from egosrag.text.language import one_line

_log = logging.getLogger(__name__)

_AND_ANY, _NOT_ALL, _NOT_ANY, _AND_ALL = range(4)  # SillyTavern's selectiveLogic
_DECORATOR = re.compile(r"(@@@?)([a-z_]+)[ \t]*([^\n]*)(?:\n|$)")
_KNOWN_DECORATORS = ("activate", "dont_activate", "scan_depth", "additional_keys", "exclude_keys")
_SLASHED_REGEX = re.compile(r"/(.+)/([dgimsuvy]*)", re.DOTALL)  # a regular expression as SillyTavern writes it
_MAX_PATTERN_LENGTH = 200  # characters


# --- files -----------------------------------------------------------------------------------------------------------


def load_lorebook(path: str | Path, *, notify: Notify = _log.warning) -> Lorebook:
    """Load the lorebook of a file: a lorebook as JSON in any of the formats, or the one in a character card.

    Args:
        path: the file.
        notify: receives, in one line, what in it cannot be read; the log by default.

    Raises:
        RoleError: the file cannot be read, or is not a lorebook.
    """
    path = Path(path)
    if path.suffix.lower() != ".json":
        if (book := load_role(path, notify=notify).lorebook) is None:
            raise RoleError(f"the card {path} contains no lorebook: give a file with entries")
        return book
    data: Any = parse_json(read_bytes(path, "lorebook"), path, "lorebook")
    if isinstance(data.get("data"), dict | list):  # lorebook_v3, RisuAI, or a card
        data = data["data"]
    if isinstance(data, dict) and isinstance(data.get("character_book"), dict):
        data = data["character_book"]
    book = lorebook_from(data, lambda text: notify(f"{path}: {text}"))
    if book is None:
        raise RoleError(f"{path} is not a lorebook: it needs a list of entries; give a character card as the role")
    return book


def save_lorebook(book: Lorebook, path: str | Path) -> None:
    """Write a lorebook as JSON (``lorebook_v3``), whole or not at all.

    Raises:
        RoleError: it cannot be written.
    """
    data = {"spec": "lorebook_v3", "data": character_book(book)}
    write_atomically(Path(path), (json.dumps(data, ensure_ascii=False, indent=2) + "\n").encode(), "lorebook")


def with_lorebook(role: Role, book: Lorebook) -> Role:
    """The role with ``book`` merged into its own lorebook; each entry keeps the scan depth of its book."""
    if role.lorebook is None:
        return role.model_copy(update={"lorebook": book})
    own = role.lorebook
    added = [e.model_copy(update={"extensions": {"scan_depth": book.scan_depth} | e.extensions}) for e in book.entries]
    budgets = (own.token_budget, book.token_budget)
    merged = {
        "entries": (*own.entries, *added),
        "token_budget": None if None in budgets else sum(filter(None, budgets)),
        "recursive_scanning": own.recursive_scanning or book.recursive_scanning,
    }
    return role.model_copy(update={"lorebook": own.model_copy(update=merged)})


# --- selection -------------------------------------------------------------------------------------------------------


class _Activation(NamedTuple):
    """An entry that is activated.

    Args:
        position: its index among the lorebook's entries.
        rule: the entry's rule.
        depth: 0 if the lines activate it; n if an entry of depth n - 1 does (recursive scanning).
    """

    position: int
    rule: Rule
    depth: int


def entries_for(book: Lorebook, lines: Sequence[str], budget: int, count: Callable[[str], int]) -> list[LoreEntry]:
    """The entries that ``lines`` activate and that fit the token budget, by insertion order.

    Over budget, constant entries are preferred, then entries that a line activates to those that another entry does,
    then by priority, then by the later insertion order. An entry that does not fit is skipped, smaller ones after it
    may still fit.

    Args:
        book: the lorebook.
        lines: the last lines of the conversation, the newest last.
        budget: tokens for all entries together; the book's own budget applies where it is smaller.
        count: counts the tokens of a text.

    Returns:
        The entries, without the ``@@`` lines (decorators of V3) at the head of their contents.
    """
    if book.token_budget is not None:
        budget = min(budget, book.token_budget)
    preferred = sorted(
        _activated(book, lines),
        key=lambda a: (
            not a.rule.constant,
            a.depth,
            -a.rule.entry.priority,
            -a.rule.entry.insertion_order,
            a.position,
        ),
    )
    taken: list[_Activation] = []
    for activation in preferred:
        size = count(activation.rule.content)
        if size <= budget:
            budget -= size
            taken.append(activation)
    taken.sort(key=lambda a: (a.rule.entry.insertion_order, a.position))
    return [a.rule.entry.model_copy(update={"content": a.rule.content}) for a in taken]


def _activated(book: Lorebook, lines: Sequence[str]) -> Iterator[_Activation]:
    """The entries that the lines activate, then, with recursive scanning, those that activated entries do."""
    timer = PatternTimer()
    rules = [rule for rule in map(rule_of, book.entries) if rule.content]
    scanned: dict[int, ScanText] = {}  # scan depth -> the text of so many last lines
    activated: list[Rule] = []
    inactive: list[tuple[int, Rule]] = []
    for index, rule in enumerate(rules):
        depth = book.scan_depth if rule.scan_depth is None else rule.scan_depth
        if depth not in scanned:
            scanned[depth] = ScanText.of(lines[max(0, len(lines) - depth) :])
        if rule.constant or rule.matches(scanned[depth], timer):
            activated.append(rule)
            yield _Activation(index, rule, 0)
        elif rule.recursable:
            inactive.append((index, rule))
    depth = 0
    while book.recursive_scanning and activated and inactive:
        depth += 1
        text = ScanText.of([rule.content for rule in activated if rule.recurses])
        matched = {index: rule for index, rule in inactive if rule.matches(text, timer)}
        for index, rule in matched.items():
            yield _Activation(index, rule, depth)
        activated = list(matched.values())
        inactive = [(index, rule) for index, rule in inactive if index not in matched]


@dataclass(frozen=True)
class ScanText:
    """Text in which keys are searched: as it is, and casefolded."""

    exact: str
    folded: str

    @classmethod
    def of(cls, lines: Sequence[str]) -> ScanText:
        """The text of several lines."""
        # No key contains a zero byte, so that no key matches across two lines.
        text = "\0".join(one_line(unicodedata.normalize("NFKC", line)) for line in lines)
        return cls(text, text.casefold())


# --- rules -----------------------------------------------------------------------------------------------------------


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

    def matches(self, text: ScanText, timer: PatternTimer) -> bool:
        """Whether the keys match a text."""

        def found(key: str) -> bool:
            pattern, flags = _as_regex(key, self.entry.use_regex)
            if pattern:
                compiled = _compiled(pattern, flags)
                return compiled is not None and timer.search(compiled, text.exact)
            words = _normalized(key, self.case_sensitive)
            return bool(words) and _contains_word(text.exact if self.case_sensitive else text.folded, words)

        if not any(map(found, self.keys)) or any(map(found, self.excluded)):
            return False
        if not self.secondary:
            return True
        second = [found(key) for key in self.secondary]
        return (any(second), not all(second), not any(second), all(second))[self.logic]


def rule_of(entry: LoreEntry) -> Rule:
    """The rule of an entry, from its V2 and V3 fields, SillyTavern's extensions and the decorators of V3."""
    extensions = entry.extensions
    decorators, content = _split_decorators(entry.content)
    never = not entry.enabled or "dont_activate" in decorators
    logic = extensions.get("selectiveLogic")
    scan_depth = _non_negative_int(decorators.get("scan_depth"))
    return Rule(
        entry=entry,
        content="" if never else content,
        keys=(*entry.keys, *_split_keys(decorators.get("additional_keys", ""))),
        secondary=entry.secondary_keys if entry.selective else (),
        logic=logic if isinstance(logic, int) and _AND_ANY <= logic <= _AND_ALL else _AND_ANY,
        excluded=_split_keys(decorators.get("exclude_keys", "")),
        constant=entry.constant or "activate" in decorators,
        case_sensitive=entry.case_sensitive or extensions.get("case_sensitive") is True,
        scan_depth=scan_depth if scan_depth is not None else _non_negative_int(extensions.get("scan_depth")),
        recursable=not extensions.get("exclude_recursion"),
        recurses=not extensions.get("prevent_recursion"),
    )


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
                decorators[name] = value.strip()
        rest = rest[match.end() :]
    return decorators, rest.strip()


def _split_keys(keys: str) -> tuple[str, ...]:
    return tuple(key for part in re.split("[,，]", keys) if (key := part.strip()))


def _non_negative_int(value: Any) -> int | None:
    try:
        return None if value is None or isinstance(value, bool) else max(0, int(value))
    except (ValueError, TypeError, OverflowError):
        return None


def _as_regex(key: str, is_regex: bool) -> tuple[str, str]:
    """The (pattern, flags) of a key that is a regular expression; an empty pattern for any other key."""
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


@lru_cache(maxsize=8192)
def _normalized(key: str, case_sensitive: bool) -> str:
    words = one_line(unicodedata.normalize("NFKC", key))
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
