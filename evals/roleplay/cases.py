"""The conversations of the role-play evaluation (report 7.3.2): four cases, in Chinese and English, on any card.

A row is one conversation: ``lines`` are the user's, ``expected`` has for each line what its reply should contain:
``facts`` of the card or of an earlier line of the user, ``never`` (wordings that it must not contain), ``after`` (how
many turns ago the user stated the fact) and ``never_told`` (a question that only an invention could answer).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from egosrag import load_role
from egosrag.assemble import sample
from egosrag.errors import SettingsError
from egosrag.schema import Role
from egosrag.text.language import language_of
from evals.common.records import Record, read_jsonl

DATA = Path(__file__).parents[1] / "data"
CASES = ("introduction", "scene", "personality", "recall")
REFERENCES = ("expected",)
TURNS = (10, 50, 200)


class Subject(NamedTuple):
    """The role to play: the card, its file, and the raw text that it could have been extracted from, if any."""

    card: Role
    file: Path
    raw: Path | None


def subject(name: str, raw: Path | None = None) -> Subject:
    """The role of a row: one of our card files by its name, or any card file.

    Args:
        name: ``edda.en.json`` and the like, or a path.
        raw: The raw text behind the card; by default the ``.txt`` file next to it.

    Raises:
        RoleError: The card cannot be read.
        SourceError: There is no sample of that name.
    """
    path = _card_file(name)
    beside = path.with_suffix(".txt")
    return Subject(load_role(path), path, raw or (beside if beside.is_file() else None))


def _card_file(name: str) -> Path:
    if (DATA / "roles" / name).is_file():
        return DATA / "roles" / name
    path = Path(name)
    return path if path.exists() or path.name != name else sample(name)


def load_rows(
    cards: Sequence[str] = (), turns: Sequence[int] = TURNS, languages: Sequence[str] = ("en", "zh")
) -> list[Record]:
    """The conversations: with our own four roles, or with the given cards.

    Args:
        cards: Card files; each gets the conversations that fit any card, in its own language.
        turns: The recall distances: turns between stating a fact and asking for it; without any, no recall case.
        languages: Of our own roles.

    Raises:
        RoleError: A card cannot be read.
        SourceError: A file cannot be read.
        SettingsError: The distances are not even numbers from 2 on, or too many or too close.
    """
    if any(turn < 2 or turn % 2 for turn in turns):
        raise SettingsError(f"--turns {', '.join(map(str, turns))}: give even numbers from 2 on, two turns an exchange")
    rows = []
    languages_of_cards = [(card, _language(subject(card).card)) for card in cards]
    for language in ("en", "zh"):
        scripts = list(read_jsonl(DATA / f"roleplay.{language}.jsonl"))
        own = list(dict.fromkeys(s["role"] for s in scripts if s["role"])) if language in languages else []
        roles = [card for card, spoken in languages_of_cards if spoken == language] if cards else own
        for n, role in enumerate(roles):
            name = Path(role).name.split(".")[0] if cards else ""
            of_role = [s for s in scripts if s["role"] == ("" if cards else role)]
            rows += [_row(s, role, f"{name}-{language}-{s['case']}" if cards else s["id"]) for s in of_role]
            if turns:
                stem = name or Path(role).name.split(".")[0]
                rows.append(recall_row(role, language, f"{stem}-{language}-recall", sorted(turns), n))
    return rows


def _language(card: Role) -> str:
    text = " ".join(s.text for s in (*card.background, *card.personality))
    return card.language or language_of(text or card.name)


def _row(script: Record, role: str, row_id: str) -> Record:
    name = subject(role).card.name
    lines = script["lines"]
    expected = [{key: value for key, value in line.items() if key != "say"} for line in lines]
    for entry in expected:
        if "facts" in entry:
            entry["facts"] = [[wording.replace("{name}", name) for wording in group] for group in entry["facts"]]
    row = {"id": row_id, "role": role, "language": script["language"], "case": script["case"]}
    row |= {"lines": [line["say"] for line in lines], "expected": expected}
    return row | ({"brief": script["brief"]} if "brief" in script else {})


def recall_row(role: str, language: str, row_id: str, turns: Sequence[int], rotate: int) -> Record:
    """A conversation in which the user states facts among small talk and later asks for them, and for others.

    Three facts are asked for at each distance, exactly that many turns (lines of either speaker) after their statement.

    Args:
        role: The card's file.
        language: "en" or "zh".
        row_id: The row's id.
        turns: The distances, ascending.
        rotate: Shifts which facts are asked at which distance, so that roles differ.

    Raises:
        SettingsError: There are more distances than facts, or they are too close.
    """
    data: dict[str, Any] = json.loads((DATA / f"recall.{language}.json").read_text(encoding="utf-8"))
    plants, fillers = data["plants"], data["fillers"]
    if 3 * len(turns) > len(plants):
        raise SettingsError(f"--turns has {len(turns)} distances: there are facts for {len(plants) // 3}")
    asks = [(turn, plants[(3 * (i + rotate) + k) % len(plants)]) for i, turn in enumerate(turns) for k in range(3)]
    start = max(turn // 2 - n for n, (turn, _) in enumerate(asks))
    stated_at = {start + n - turn // 2: plant["say"] for n, (turn, plant) in enumerate(asks)}
    if len(stated_at) < len(asks) or max(stated_at) >= start:
        raise SettingsError(
            f"--turns {', '.join(map(str, turns))} are too close: leave 6 turns before and between them"
        )
    lines = [stated_at.get(n, fillers[n % len(fillers)]) for n in range(start)] + [plant["ask"] for _, plant in asks]
    expected: list[dict[str, Any]] = [{} for _ in range(start)]
    expected += [{"facts": [plant["any"]], "after": turn} for turn, plant in asks]
    lines += data["unplanted"]
    expected += [{"never_told": True} for _ in data["unplanted"]]
    return {
        "id": row_id,
        "role": role,
        "language": language,
        "case": "recall",
        "lines": lines,
        "expected": expected,
    }


def dataset() -> tuple[str, list[Record]]:
    """Our own conversations as a LangSmith dataset: name and rows."""
    return "egosrag-roleplay", load_rows()
