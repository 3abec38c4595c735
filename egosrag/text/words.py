r"""Words of Chinese and English text: jieba words, and CJK character pairs.

The libraries' own tokenizers find nothing in Chinese: on the 81 gold questions of the car manual the default
``\b\w\w+\b`` reaches hit@5 0.24, jieba 0.96, pairs of characters 1.00.
"""

from __future__ import annotations

import logging
import marshal
import re
from functools import cache, lru_cache
from typing import Any

_LATIN = re.compile(r"[A-Za-z0-9]+(?:[-.'&/][A-Za-z0-9]+)*")
_CJK = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]+")
_TERM = re.compile(rf"{_LATIN.pattern}|{_CJK.pattern}")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SUFFIX = re.compile(r"(?<=[a-z]{3})(?:ies|es|s|ing|ed)$")


@cache
def _jieba() -> Any:
    import jieba
    from platformdirs import user_cache_path

    jieba.setLogLevel(logging.CRITICAL)  # neither its banner nor an unwritable cache is the user's concern
    tokenizer = jieba.Tokenizer()
    cached = user_cache_path("egosrag") / "jieba.cache"
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        tokenizer.cache_file = str(cached)  # its default is the system's temporary folder, open to everyone
        # jieba reads its cache a piece at a time, which takes twice as long.
        tokenizer.FREQ, tokenizer.total = marshal.loads(cached.read_bytes())
        tokenizer.initialized = True
    except (OSError, EOFError, ValueError, TypeError):
        tokenizer.initialize()  # reads the dictionary, and writes the cache where it can
    return tokenizer


def stem(word: str) -> str:
    """An English word without its plural or verb ending: enough for a manual's nouns and verbs."""
    return _SUFFIX.sub(lambda m: "y" if m.group() == "ies" else "", word) if word.isascii() else word


@lru_cache(65536)  # a text has few different words, and most of the time of an index goes here
def _latin(token: str) -> tuple[str, ...]:
    """A Latin word, and its parts where it has any: ``Lynk&CoApp`` is also lynk, co and app."""
    parts = [p for p in re.split(r"[-.'&/]", _HUMP.sub("-", token)) if p]
    split = parts if len(parts) > 1 else []
    return (stem(token.lower()), *(stem(p.lower()) for p in split if not p.isdigit()))


def words(text: str) -> list[str]:
    """The words of ``text``, lower-cased: Chinese by jieba, Latin words whole and without their endings."""
    found: list[str] = []
    for match in _TERM.finditer(text):
        token = match.group()
        found += _jieba().lcut(token) if _CJK.match(token) else _latin(token)
    return found


def pairs(text: str) -> list[str]:
    """CJK character pairs (a lone character stands alone) and Latin words."""
    found: list[str] = []
    for match in _TERM.finditer(text):
        token = match.group()
        if not _CJK.match(token):
            found += _latin(token)
        else:
            found += [token[i : i + 2] for i in range(len(token) - 1)] or [token]
    return found


ANALYZERS = {"words": words, "pairs": pairs}


@cache
def _dictionary() -> bytes:
    import jieba

    with jieba.get_dict_file() as file:
        found: bytes = file.read()
    return b"\n" + found


@lru_cache(4096)
def names_something(word: str) -> bool:
    """Whether a Chinese word is a noun, a number or none that the dictionary has; a Latin word always counts as one.

    jieba's own tagger would take most of a second to start; the tag of the few words of a question is looked up.
    """
    at = _dictionary().find(f"\n{word} ".encode()) if _CJK.match(word) else -1
    if at < 0:
        return True
    tag = _dictionary()[at + 1 : _dictionary().index(b"\n", at + 1)].rsplit(b" ", 1)[1].decode()
    return tag[0] in "nmtj" or tag in ("vn", "an", "eng")


# What makes a sentence a question and says nothing of its subject.
_ASKING = re.compile(
    r"请问|问题[：:]|请|如何|怎么办|怎么样?|怎样|为什么|什么|是否|能否|可否|哪些|哪[个种里儿]|哪一?页|第几页|多少|几[个种]|多[久长大高]|"
    r"可不可以|能不能|是不是|有没有|可以|能够|应该|需要|我们?|您|你|[吗呢吧啊的了么是]|相关(?:内容|信息)|情况下"
)
_ASKING_EN = re.compile(
    r"\b(?:a|an|the|of|to|in|on|at|for|with|by|from|and|or|is|are|was|be|do|does|did|can|could|should|would|"
    r"will|may|must|i|my|me|we|our|you|your|it|its|this|that|these|there|what|which|who|whom|whose|when|"
    r"where|why|how|much|many|please|tell|about|if|not|no|have|has|had|get)\b",
    re.IGNORECASE,
)


def content(question: str) -> str:
    """A question without the words that only make it one, Chinese and English."""
    return _ASKING_EN.sub(" ", _ASKING.sub(" ", question))
