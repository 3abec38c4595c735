"""Lorebooks: what a world knows, told entry by entry when it is spoken of.

Formats: the ``character_book`` of a card V2 or V3, a stand-alone ``lorebook_v3`` (kwaroran/character-card-spec-v3) and
the world info of SillyTavern. A key in letters that are written with spaces must stand as a word of its own; in
Chinese, Japanese, Korean and Thai it may stand anywhere. What is told depends on the lines alone: SillyTavern's
probability, cooldown and groups are kept in the file and not thrown dice for.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from egosrag.errors import RoleError
from egosrag.lore import Lorebook, LoreEntry
from egosrag.roles.files import read_bytes, read_json
from egosrag.roles.lore_rules import Rule, Watch, rule_of
from egosrag.schema import Role
from egosrag.text.language import one_line

# What SillyTavern's world info calls the keys of a character book.
_WORLD = {
    "key": "keys",
    "keysecondary": "secondary_keys",
    "order": "insertion_order",
    "caseSensitive": "case_sensitive",
}
_WORLD_EXTENSIONS = {
    "scanDepth": "scan_depth",
    "selectiveLogic": "selectiveLogic",
    "excludeRecursion": "exclude_recursion",
    "preventRecursion": "prevent_recursion",
}


@dataclass(frozen=True)
class _Spoken:
    """Text that keys are looked for in, as it is and with small letters."""

    exact: str
    folded: str

    @classmethod
    def of(cls, lines: Sequence[str]) -> _Spoken:
        # A zero byte stands in no key: nothing is found across two lines.
        text = "\0".join(one_line(unicodedata.normalize("NFKC", line)) for line in lines)
        return cls(text, text.casefold())


def load_lorebook(path: str | Path) -> Lorebook:
    """The lorebook of a JSON file, in any of the three formats.

    Raises:
        RoleError: the file cannot be read, or is no lorebook.
    """
    path = Path(path)
    data = read_json(read_bytes(path, "lorebook"), path, "lorebook")
    if data.get("spec") == "lorebook_v3" and isinstance(data.get("data"), dict):
        data = data["data"]
    entries = data.get("entries")
    if isinstance(entries, dict):
        data = data | {"entries": [_of_world(entry) for entry in entries.values()]}
    elif not isinstance(entries, list):
        raise RoleError(f"{path} is no lorebook: it needs a list of entries; a character card is given as the role")
    try:
        return Lorebook.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RoleError(f"the lorebook {path} cannot be used: {where}: {first['msg']}; mend it there") from error


def with_lorebook(role: Role, book: Lorebook) -> Role:
    """The role with ``book`` added to its own; each entry keeps the scan depth of the book that it comes from."""
    if role.lorebook is None:
        return role.model_copy(update={"lorebook": book})
    own = role.lorebook
    added = [e.model_copy(update={"extensions": {"scan_depth": book.scan_depth} | e.extensions}) for e in book.entries]
    budgets = (own.token_budget, book.token_budget)
    joined = {
        "entries": (*own.entries, *added),
        "token_budget": None if None in budgets else sum(filter(None, budgets)),
        "recursive_scanning": own.recursive_scanning or book.recursive_scanning,
    }
    return role.model_copy(update={"lorebook": own.model_copy(update=joined)})


def entries_for(book: Lorebook, lines: Sequence[str], budget: int, count: Callable[[str], int]) -> list[LoreEntry]:
    """The entries that ``lines`` speak of, and the constant ones, in the order in which they are told.

    Where they are more than the budget, the constant ones come first, then those that a line and not another entry
    speaks of, then by priority, then those that are told last; one that does not fit leaves room for the next.

    Args:
        book: the lorebook.
        lines: what was said, the newest last.
        budget: tokens that the entries may take together; the book's own budget counts where it is smaller.
        count: tokens of a text.

    Returns:
        The entries, without the ``@@`` lines (decorators of V3) at the head of their contents.
    """
    rules = [rule for rule in map(rule_of, book.entries) if rule.content]
    if book.token_budget is not None:
        budget = min(budget, book.token_budget)
    ranked = sorted(
        _hits(rules, lines, book),
        key=lambda hit: (not hit[1].constant, hit[2], -hit[1].entry.priority, -hit[1].entry.insertion_order, hit[0]),
    )
    taken: list[tuple[float, int, LoreEntry]] = []
    for number, rule, _ in ranked:
        size = count(rule.content)
        if size <= budget:
            budget -= size
            told = rule.entry.model_copy(update={"content": rule.content})
            taken.append((rule.entry.insertion_order, number, told))
    return [entry for _, _, entry in sorted(taken, key=lambda item: item[:2])]


def _hits(rules: Sequence[Rule], lines: Sequence[str], book: Lorebook) -> Iterator[tuple[int, Rule, int]]:
    """(number, rule, round) of the entries that are told: round 0 by the lines, the next by those that were told."""
    watch = Watch()
    spoken: dict[int, _Spoken] = {}
    told: list[Rule] = []
    waiting: list[tuple[int, Rule]] = []
    for number, rule in enumerate(rules):
        depth = book.scan_depth if rule.depth is None else rule.depth
        if depth not in spoken:
            spoken[depth] = _Spoken.of(lines[max(0, len(lines) - depth) :])
        if rule.constant or rule.meets(spoken[depth].exact, spoken[depth].folded, watch):
            told.append(rule)
            yield number, rule, 0
        elif rule.by_entries:
            waiting.append((number, rule))
    turn = 0
    while book.recursive_scanning and told and waiting:
        turn += 1
        text = _Spoken.of([rule.content for rule in told if rule.leads_on])
        new = [(n, rule) for n, rule in waiting if rule.meets(text.exact, text.folded, watch)]
        for number, rule in new:
            yield number, rule, turn
        told = [rule for _, rule in new]
        found = {n for n, _ in new}
        waiting = [item for item in waiting if item[0] not in found]


def _of_world(entry: Any) -> Any:
    """An entry of SillyTavern's world info with the keys of a character book; its own keys stay beside them."""
    if not isinstance(entry, dict):
        return entry
    ours = {_WORLD[key]: value for key, value in entry.items() if key in _WORLD}
    extensions = {_WORLD_EXTENSIONS[key]: value for key, value in entry.items() if key in _WORLD_EXTENSIONS}
    own = entry.get("extensions")
    ours["extensions"] = extensions | (own if isinstance(own, dict) else {})
    if "disable" in entry:
        ours["enabled"] = not entry["disable"]
    return entry | ours
