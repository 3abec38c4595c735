"""What a reply must not only repeat: the line that it answers, and what the role replied to other lines before.

A small model that repeated a line once goes on to repeat every later one. Short replies may be the same ("Yes.", "I
don't know."), and so may any reply where the line asks to hear it again.
"""

from __future__ import annotations

import re
from functools import lru_cache

from egosrag.egos.view import ConversationView
from egosrag.text.repetition import normalized

# Lengths in words, a Chinese character counting two thirds of one. A reply that repeats a question is hardly ever meant
# so; greetings and wishes are returned in the same words.
_REPLY_WORDS = 8
_QUESTION_WORDS = 2.5
_LINE_WORDS = 5
_WORD = re.compile(r"[\u3400-\u9fff]|(?:(?![\u3400-\u9fff])[\w'’-])+")
_QUESTION = re.compile(r"[?？][\s\"'”’」』)）]*$")
_ASKS_TO_REPEAT = re.compile(
    r"\b(?:repeat|pardon|after me|say (?:it|that|this)|did you (?:just )?say|didn[’']t (?:catch|hear))\b"
    r"|\b(?:say|tell|explain|read|sing)\b.{0,30}\b(?:again|once more)\b"
    r"|再[说讲念唱]|[说讲念唱]一遍|重复|复述|跟着?我[说念]|学我|刚[才刚]?说|没听清",
    re.IGNORECASE,
)


def repeatable_texts(view: ConversationView, speaker: str) -> list[str]:
    """The texts that a reply of ``speaker`` to the last turn must not only repeat.

    Args:
        view: the conversation up to the turn that is answered.
        speaker: the role that replies.
    """
    line = view.turns[-1] if view.turns else None
    if line is None or line.speaker == speaker or _ASKS_TO_REPEAT.search(line.text):
        return []
    said = normalized(line.text)
    to_others: dict[str, str] = {}
    to_same_line = set()
    before = ""
    for turn in view.turns:
        if turn.speaker == speaker and before == said:
            to_same_line.add(normalized(turn.text))
        elif turn.speaker == speaker and _words(turn.text) >= _REPLY_WORDS:
            to_others[normalized(turn.text)] = turn.text
        before = normalized(turn.text)
    least = _QUESTION_WORDS if _QUESTION.search(line.text) else _LINE_WORDS
    texts = [line.text] if _words(line.text) >= least else []
    return texts + [text for key, text in to_others.items() if key not in to_same_line]


@lru_cache(maxsize=4096)
def _words(text: str) -> float:
    return sum(2 / 3 if "\u3400" <= word <= "\u9fff" else 1 for word in _WORD.findall(text))
