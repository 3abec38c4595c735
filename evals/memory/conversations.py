"""Conversations with questions about what was said: LoCoMo's files, and JSONL rows of a dialogue with a question.

A row: {"role", "turns": [{"speaker", "text"}, ...], "question", "evidence": [turn numbers from 0]}; the speaker
"character" is the role. LoCoMo questions of category 5 have no answer and are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from egosrag.errors import SourceError
from egosrag.schema import Turn
from egosrag.text.encoding import is_text
from evals.common.records import Record, read_jsonl

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop"}
_TURN_ID = re.compile(r"D:?(\d+):(\d+)")  # the data also has "D:11:26", "D30:05" and two ids in one string


class Question(NamedTuple):
    """A question, LoCoMo's category of it (1 to 4; None elsewhere) and the sorted ids of the turns that answer it."""

    text: str
    category: int | None
    evidence: tuple[str, ...]


class Conversation(NamedTuple):
    """A conversation: its turns in order, their dates by turn id, and the questions with known evidence.

    ``role`` is who answers them; empty where nobody does (LoCoMo).
    """

    name: str
    turns: list[Turn]
    dates: dict[str, str]
    questions: list[Question]
    role: str = ""


def read_conversations(path: Path) -> list[Conversation]:
    """The conversations of a folder of LoCoMo files, by file name, or of a JSONL file of dialogues.

    Raises:
        SourceError: There are none, one is malformed, or no question has known evidence.
    """
    if path.is_file():
        conversations = list(read_dialogues(path))
    else:
        files = sorted(path.glob("*.json"))
        if not files:
            raise SourceError(f"{path} has no JSON files: give a folder of LoCoMo conversations, or a JSONL file")
        conversations = [read_locomo(file) for file in files]
    if not any(conversation.questions for conversation in conversations):
        raise SourceError(f"{path} has no question with known evidence (LoCoMo: of category 1 to 4)")
    return conversations


def read_locomo(path: Path) -> Conversation:
    """A LoCoMo file; the caption of an image is appended to the text of its turn.

    Raises:
        SourceError: The file is not a conversation in LoCoMo's format.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not is_text(data):
            raise ValueError("half of a character, \\ud800 to \\udfff")
        data = {**data, **data.get("conversation", {})}  # the published file nests what these files have flat
        turns, dates = list[Turn](), dict[str, str]()
        for name in sorted((k for k in data if re.fullmatch(r"session_\d+", k)), key=lambda k: int(k[8:])):
            for row in data[name]:
                image = f" [image: {row['blip_caption']}]" if row.get("blip_caption") else ""
                turn = Turn(id=_ids(row["dia_id"])[0], speaker=row["speaker"], text=row.get("text", "") + image)
                turns.append(turn)
                dates[turn.id] = data.get(f"{name}_date_time", "")
        questions = [
            Question(row["question"], int(row["category"]), _sorted(dates.keys() & _evidence(row.get("evidence"))))
            for row in data["qa"]
            if int(row["category"]) in CATEGORIES
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise SourceError(
            f"{path} is not a conversation in LoCoMo's format ({reason}): give LoCoMo's JSON files, or JSONL"
        ) from error
    return Conversation(path.stem, turns, dates, [question for question in questions if question.evidence])


def _evidence(value: Any) -> list[str]:
    """The ids of a list of evidence, or of one text with ids."""
    return _ids(*([value] if isinstance(value, str) else value or ()))


def _sorted(ids: Iterable[str]) -> tuple[str, ...]:
    """The different ids in an order: that of a set differs between processes, and with it the key of a record."""
    return tuple(sorted(set(ids)))


def _ids(*texts: str) -> list[str]:
    return [f"D{int(session)}:{int(turn)}" for text in texts for session, turn in _TURN_ID.findall(text)]


def read_dialogues(path: Path) -> Iterator[Conversation]:
    """The rows of a JSONL file, a conversation with one question each, named after the file and the row.

    Raises:
        SourceError: The file cannot be read, or a row is malformed.
    """
    for n, row in enumerate(read_jsonl(path), 1):
        try:
            yield _dialogue(f"{path.stem}/{row.get('id', n)}", row)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SourceError(
                f"{path}: row {n} is not a dialogue with a question ({type(error).__name__}: {error}): "
                "give role, turns (speaker, text), question and evidence (turn numbers from 0)"
            ) from error


def _dialogue(name: str, row: Record) -> Conversation:
    names = {"character": row["role"]}
    turns = [
        Turn(id=str(n), speaker=names.get(turn["speaker"], turn["speaker"]), text=turn["text"])
        for n, turn in enumerate(row["turns"])
    ]
    unknown = [number for number in row["evidence"] if number not in range(len(turns))]
    if unknown:
        raise ValueError(f"evidence {unknown[0]!r} is not the number of one of the {len(turns)} turns")
    if not isinstance(row["question"], str):
        raise TypeError("the question is not a text")
    evidence = _sorted(str(number) for number in row["evidence"])
    questions = [Question(row["question"], None, evidence)] if evidence else []
    return Conversation(name, turns, {}, questions, row["role"])
