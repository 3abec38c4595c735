"""Lorebooks (world info): load and save them, and select the entries that the lines of a conversation activate.

Formats are read by ``lore_formats``; when an entry is activated is decided by its rule (``lore_rules``). The selection
depends on the lines and the seed of the conversation alone: the same line of the same conversation activates the same
entries whenever its prompt is composed again, also those with a probability or in a group.
"""

from __future__ import annotations

import json
import logging
import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from egosrag.errors import RoleError
from egosrag.limits import CARD_TEXT_BYTES
from egosrag.roles import charx, pictures, png
from egosrag.roles.data import Notify, decode_text, parse_json, parse_yaml, read_bytes, write_atomically
from egosrag.roles.files import YAML_SUFFIXES, from_base64, load_role
from egosrag.roles.lore_formats import character_book, lorebook_from
from egosrag.roles.lore_rules import Lines, Rule, ScanText, ScanTexts, rule_of
from egosrag.schema import Lorebook, LoreEntry, Role
from egosrag.text import macros
from egosrag.text.macros import Scope

_log = logging.getLogger(__name__)
_LOOK_BACK = 200  # replies that decide whether an entry with a duration is still active
_LIST = re.compile(r"\s*\[\s*\{")  # of entries, as KoboldAI has it
_NOVELAI = "naidata"  # the chunk in which NovelAI's pictures have a lorebook
_AT_DEPTH = 4  # SillyTavern's position of an entry among the messages


# --- files -----------------------------------------------------------------------------------------------------------


def load_lorebook(path: str | Path, *, notify: Notify = _log.warning) -> Lorebook:
    """Load the lorebook of a file: a lorebook in any of the formats, or the one in a character card.

    What a file is, its content says, and not its name: NovelAI's end with ``.lorebook``.

    Args:
        path: the file.
        notify: receives, in one line, what in it cannot be read; the log by default.

    Raises:
        RoleError: the file cannot be read, or is not a lorebook.
    """
    path = Path(path)
    data = _lorebook_data(path)
    if data is None:
        if (book := load_role(path, notify=notify).lorebook) is None:
            raise RoleError(f"the card {path} contains no lorebook: give a file with entries")
        return book
    if isinstance(data.get("data"), dict | list):  # lorebook_v3, RisuAI, or a card
        data = data["data"]
    if isinstance(data, dict) and isinstance(data.get("character_book"), dict):
        data = data["character_book"]
    book = lorebook_from(data, lambda text: notify(f"{path}: {text}"))
    if book is None:
        raise RoleError(f"{path} is not a lorebook: it needs a list of entries; give a character card as the role")
    return book


def _lorebook_data(path: Path) -> Any:
    """The value of a lorebook's file; None for a picture or a zip, in which a card is."""
    if path.suffix.lower() in (".charx", ".byaf"):
        return None
    content = read_bytes(path, "lorebook")
    if pictures.extension_of(content) == "png":
        for keyword, chunk in png.texts(content, CARD_TEXT_BYTES).texts:
            if keyword == _NOVELAI:
                return parse_json(from_base64(chunk, path), path, "lorebook")
    if pictures.extension_of(content) or content.startswith(charx.SIGNATURE):
        return None
    if path.suffix.lower() in YAML_SUFFIXES:
        return parse_yaml(content, path, "lorebook")
    text = decode_text(content, path, "lorebook")
    if _LIST.match(text):
        text = f'{{"entries": {text}}}'
    return parse_json(text.encode(), path, "lorebook")


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
        number: its index among the lorebook's entries.
        rule: the entry's rule.
        depth: 0 if the lines activate it; n if an entry of depth n - 1 does (recursive scanning).
        sticky: whether it is still active from an earlier line.
    """

    number: int
    rule: Rule
    depth: int
    sticky: bool = False


def entries_for(
    book: Lorebook,
    lines: Sequence[str],
    budget: int,
    count: Callable[[str], int],
    *,
    replies: Sequence[bool] = (),
    scope: Scope | None = None,
) -> list[LoreEntry]:
    """The entries that ``lines`` activate and that fit the token budget, by insertion order.

    Over budget, constant entries are preferred, then entries that a line activates to those that another entry does,
    then by priority, then by the later insertion order. An entry that does not fit is skipped, smaller ones after it
    may still fit.

    Args:
        book: the lorebook.
        lines: the lines of the conversation, the newest last.
        budget: tokens for all entries together; the book's own budget applies where it is smaller.
        count: counts the tokens of a text.
        replies: which of the lines the role said; when absent, every second one.
        scope: what macros in keys and contents are replaced by, and the seed of random choices.

    Returns:
        The entries, without the ``@@`` lines (decorators of V3) at the head of their contents and with macros filled
        in. One with a place among the messages has it as ``depth`` (:attr:`egosrag.schema.LoreEntry.depth`).
    """
    if book.token_budget is not None:
        budget = min(budget, book.token_budget)
    scanned = Lines(lines, replies, scope or Scope(char="", user=""))
    texts = ScanTexts(scanned, book.scan_depth)
    rules = [rule for entry in book.entries if (rule := rule_of(entry, scope)).content]
    activations = _one_of_each_group(_activated(book, rules, texts), texts)
    preferred = sorted(
        activations,
        key=lambda a: (
            not a.rule.constant,
            a.depth,
            -a.rule.entry.priority,
            -a.rule.entry.insertion_order,
            a.number,
        ),
    )
    taken: list[tuple[_Activation, str]] = []
    for activation in preferred:
        content = macros.fill(activation.rule.content, scope).strip() if scope else activation.rule.content
        size = count(content)
        if content and size <= budget:
            budget -= size
            taken.append((activation, content))
    taken.sort(key=lambda one: (one[0].rule.rank, one[0].rule.entry.insertion_order, one[0].number))
    return [_placed(activation.rule, content) for activation, content in taken]


def _placed(rule: Rule, content: str) -> LoreEntry:
    """The entry of a rule with its content and keys filled in, and its place where that is among the messages."""
    place = {} if rule.depth is None else {"position": _AT_DEPTH, "depth": rule.depth}
    extensions = rule.entry.extensions | place
    return rule.entry.model_copy(update={"content": content, "keys": rule.keys, "extensions": extensions})


def _activated(book: Lorebook, rules: Sequence[Rule], texts: ScanTexts) -> Iterator[_Activation]:
    """The entries that the lines activate, then, with recursive scanning, those that activated entries do."""
    activated: list[Rule] = []
    inactive: list[tuple[int, Rule]] = []
    total = len(texts.lines.texts)
    for index, rule in enumerate(rules):
        active, sticky, cooling = _state(rule, index, texts)
        if active:
            activated.append(rule)
            yield _Activation(index, rule, 0, sticky)
        elif rule.recursable and not cooling and total >= rule.delay:
            inactive.append((index, rule))
    depth = 0
    seed = texts.lines.scope.seed
    while book.recursive_scanning and activated and inactive:
        depth += 1
        text = ScanText.of([_scanned_content(rule, texts) for rule in activated if rule.recurses])
        matched = {
            index: rule
            for index, rule in inactive
            if rule.matches(text, texts.timer) and rule.chance(seed, total, index)
        }
        for index, rule in matched.items():
            yield _Activation(index, rule, depth)
        activated = list(matched.values())
        inactive = [(index, rule) for index, rule in inactive if index not in matched]


def _scanned_content(rule: Rule, texts: ScanTexts) -> str:
    """The content of an entry as other entries' keys are searched in it: with its hidden keys, without comments."""
    scope = texts.lines.scope
    return macros.fill(rule.content, Scope(char=scope.char, user=scope.user, seed=scope.seed, hidden_keys=True))


def _state(rule: Rule, index: int, texts: ScanTexts) -> tuple[bool, bool, bool]:
    """Whether a rule is active at the last line, whether from an earlier one, and whether it is cooling down."""
    lines = texts.lines
    total = len(lines.texts)
    if not (rule.sticky or rule.cooldown):
        return rule.activated(lines, total, texts, index), False, False
    sticky_until = cooling_until = 0
    active = sticky = cooling = False
    for count in lines.answered()[-_LOOK_BACK:]:
        if count < sticky_until:
            active, sticky, cooling = True, True, False
        elif count < cooling_until:
            active, sticky, cooling = False, False, True
        else:
            active, sticky, cooling = rule.activated(lines, count, texts, index), False, False
            if active:
                sticky_until = count + rule.sticky
                cooling_until = (sticky_until if rule.sticky else count) + rule.cooldown
    return active, sticky, cooling


def _one_of_each_group(activations: Iterator[_Activation], texts: ScanTexts) -> list[_Activation]:
    """The activations without those that lose against another one of their group."""
    left = list(activations)
    groups = dict.fromkeys(group for activation in left for group in activation.rule.groups)
    for group in groups:
        members = [a for a in left if group in a.rule.groups]
        if len(members) > 1:
            winner = _winner(members, group, texts)
            left = [a for a in left if a is winner or group not in a.rule.groups]
    return left


def _winner(members: Sequence[_Activation], group: str, texts: ScanTexts) -> _Activation:
    """The entry of a group that is taken: one that is sticky, or preferred, or matches best, else by chance."""
    if sticky := [a for a in members if a.sticky]:
        members = sticky
    if preferred := [a for a in members if a.rule.group_first]:
        return max(preferred, key=lambda a: (a.rule.entry.insertion_order, -a.number))
    total = len(texts.lines.texts)
    if any(a.rule.group_scoring for a in members):
        scores = {a.number: a.rule.score(texts.of(a.rule, total), texts.timer) for a in members}
        members = [a for a in members if scores[a.number] == max(scores.values())]
    draw = random.Random(f"{texts.lines.scope.seed}|group|{group}|{total}")  # noqa: S311  (no secret)
    weights = [a.rule.group_weight for a in members]
    return draw.choices(list(members), weights if sum(weights) else None)[0]
