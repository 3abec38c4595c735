"""Conversations with questions about what was said: LoCoMo's files, and JSONL rows of a dialogue with a question.

A row: {"role", "turns": [{"speaker", "text"}, ...], "question", "evidence": [turn numbers from 0]}; the speaker
"character" is the role. LoCoMo questions of category 5 have no answer and are left out.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from egosrag.errors import SourceError
from egosrag.schema import Turn
from egosrag.text.encoding import is_text
from evals.common.records import Record, numbered_rows

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


Note = Callable[[str], None]


def _print(text: str) -> None:
    print(text, file=sys.stderr)


def read_conversations(path: Path) -> list[Conversation]:
    """The conversations of a folder of LoCoMo files, by file name, or of a JSONL file of dialogues.

    Raises:
        SourceError: There are none, a LoCoMo file is malformed, or no question has known evidence.
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
            Question(_text(row, "question"), int(row["category"]), _known(dates, row.get("evidence")))
            for row in data["qa"]
            if int(row["category"]) in CATEGORIES
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise SourceError(
            f"{path} is not a conversation in LoCoMo's format ({_reason(error)}): give LoCoMo's JSON files, or JSONL"
        ) from error
    return Conversation(path.stem, turns, dates, [question for question in questions if question.evidence])


def _reason(error: Exception) -> str:
    """What is wrong, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"{type(error).__name__}: {error}"


def _text(row: Record, name: str) -> str:
    value = row[name]
    if not isinstance(value, str):
        raise TypeError(f"the {name} is not a text")
    return value


def _known(dates: Mapping[str, str], value: Any) -> tuple[str, ...]:
    """The ids in a list of evidence, or in one text, that are those of turns."""
    return _sorted(dates.keys() & _ids(*([value] if isinstance(value, str) else value or ())))


def _sorted(ids: Iterable[str]) -> tuple[str, ...]:
    """The different ids in an order: that of a set differs between processes, and with it the key of a record."""
    return tuple(sorted(set(ids)))


def _ids(*texts: str) -> list[str]:
    return [f"D{int(session)}:{int(turn)}" for text in texts for session, turn in _TURN_ID.findall(text)]


def read_dialogues(path: Path, note: Note = _print) -> Iterator[Conversation]:
    """The rows of a JSONL file, a conversation with one question each, named after the file and the row.

    A name ends in the number of its line where an earlier row has the same id.

    Args:
        path: The file.
        note: Receives, in a line of text, each row that cannot be used and is left out.

    Raises:
        SourceError: The file cannot be read.
    """
    seen = set[str]()
    for n, row in numbered_rows(path, note):
        name = f"{path.stem}/{row.get('id', n)}"
        name = f"{name}#{n}" if name in seen else name
        seen.add(name)
        try:
            yield _dialogue(name, row)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            note(
                f"{path.name}: row {n} is left out: it is not a dialogue with a question ({_reason(error)}): "
                "give role, turns (speaker, text), question and evidence (turn numbers from 0)"
            )


def _dialogue(name: str, row: Record) -> Conversation:
    role, question = _text(row, "role"), _text(row, "question")
    names = {"character": role}
    turns = [
        Turn(id=str(n), speaker=names.get(turn["speaker"], turn["speaker"]), text=turn["text"])
        for n, turn in enumerate(row["turns"])
    ]
    for number in row["evidence"]:
        if isinstance(number, bool) or number not in range(len(turns)):
            raise ValueError(f"evidence {number!r} is not the number of one of the {len(turns)} turns")
    evidence = _sorted(str(int(number)) for number in row["evidence"])
    questions = [Question(question, None, evidence)] if evidence else []
    return Conversation(name, turns, {}, questions, role)
