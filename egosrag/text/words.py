r"""Word segmentation of Chinese and English text for search: jieba words, and CJK character bigrams ("pairs").

The default tokenizers of the search libraries find nothing in Chinese. hit@5 on the 81 gold questions of the car
manual: their ``\b\w\w+\b`` 0.24, jieba 0.96, character pairs 1.00.
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
_KNOWN_LENGTH = 200  # characters; of longer tokens few would fill the memory
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@cache
def _jieba() -> Any:
    import jieba
    from platformdirs import user_cache_path

    jieba.setLogLevel(logging.CRITICAL)  # no banner, and no warning about an unwritable cache
    tokenizer = jieba.Tokenizer()
    cached = user_cache_path("egosrag") / "jieba.cache"
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        tokenizer.cache_file = str(cached)  # jieba's default is the system's world-writable temporary folder
        # Read at once: jieba reads its cache in chunks, which takes twice as long.
        tokenizer.FREQ, tokenizer.total = marshal.loads(cached.read_bytes())
        tokenizer.initialized = True
    except (OSError, EOFError, ValueError, TypeError):
        tokenizer.initialize()  # reads the dictionary, and writes the cache if it is writable
    return tokenizer


@cache
def _stemmer() -> Any:
    import Stemmer

    return Stemmer.Stemmer("english", 0)  # without a cache of its own, which is not safe between threads


def stem(word: str) -> str:
    """A lower-case English word by Snowball's stemmer (Porter 2): storing, stored and stores are ``store``."""
    stemmed: str = _stemmer().stemWord(word)
    return stemmed


def _latin(token: str) -> tuple[str, ...]:
    """A stemmed Latin word and the parts of a compound: ``Lynk&CoApp`` is also lynk, co and app."""
    return _known_latin(token) if len(token) <= _KNOWN_LENGTH else _known_latin.__wrapped__(token)


@lru_cache(65536)  # a text has few distinct words, and indexing spends most of its time here
def _known_latin(token: str) -> tuple[str, ...]:
    parts = [p for p in re.split(r"[-.'&/]", _HUMP.sub("-", token)) if p]
    split = parts if len(parts) > 1 else []
    return (stem(token.lower()), *(stem(p.lower()) for p in split if not p.isdigit()))


def _chinese(token: str) -> tuple[str, ...]:
    """The words of a text of Chinese characters alone.

    A very long one is segmented in pieces: the time that jieba takes for characters that form no words of its
    dictionary is quadratic in their number, a minute and a half for 200,000.
    """
    if len(token) <= _KNOWN_LENGTH:
        return _known_chinese(token)
    pieces = (token[at : at + _KNOWN_LENGTH] for at in range(0, len(token), _KNOWN_LENGTH))
    return tuple(word for piece in pieces for word in _known_chinese(piece))


@lru_cache(65536)  # indexing segments the same text for sentences and for pages
def _known_chinese(token: str) -> tuple[str, ...]:
    return tuple(_jieba().lcut(token))


def words(text: str) -> list[str]:
    """The words of ``text``, in order: Chinese words by jieba, Latin words lower-cased and stemmed."""
    found: list[str] = []
    for match in _TERM.finditer(text):
        token = match.group()
        found += _chinese(token) if _CJK.match(token) else _latin(token)
    return found


def pairs(text: str) -> list[str]:
    """The CJK character bigrams of ``text`` (a lone character by itself) and its Latin words, in order."""
    found: list[str] = []
    for match in _TERM.finditer(text):
        token = match.group()
        if not _CJK.match(token):
            found += _latin(token)
        else:
            found += [token[i : i + 2] for i in range(len(token) - 1)] or [token]
    return found


#: the analyzers of the lexical indexes, by name
ANALYZERS = {"words": words, "pairs": pairs}


@cache
def _dictionary() -> bytes:
    import jieba

    with jieba.get_dict_file() as file:
        found: bytes = file.read()
    return b"\n" + found


@lru_cache(4096)
def _tag(word: str) -> str:
    """The part-of-speech tag of a Chinese word in jieba's dictionary; empty for any other word.

    It is read from the dictionary's file: jieba's tagger takes most of a second to start.
    """
    at = _dictionary().find(f"\n{word} ".encode()) if _CJK.match(word) else -1
    if at < 0:
        return ""
    return _dictionary()[at + 1 : _dictionary().index(b"\n", at + 1)].rsplit(b" ", 1)[1].decode()


def is_content_word(word: str) -> bool:
    """Whether a Chinese word is a noun, a number or not in the dictionary; True for every Latin word."""
    tag = _tag(word)
    return not tag or tag[0] in "nmtj" or tag in ("vn", "an", "eng")


def is_noun(word: str, *, proper: bool = False) -> bool:
    """Whether a Chinese word is a noun; ``proper``: the name of a person, a place or an institution."""
    return _tag(word).startswith(("nr", "ns", "nt", "nz") if proper else "n")


# Words that form a question and do not name its subject.
_QUESTION_WORDS_ZH = re.compile(
    r"请问|问题[：:]|请|如何|怎么办|怎么样?|怎样|为什么|什么|是否|能否|可否|哪些|哪[个种里儿]|哪一?页|第几页|多少|几[个种]|多[久长大高]|"
    r"可不可以|能不能|是不是|有没有|可以|能够|应该|需要|我们?|您|你|[吗呢吧啊的了么是]|相关(?:内容|信息)|情况下"
)
_QUESTION_WORDS_EN = re.compile(
    r"\b(?:a|an|the|of|to|in|on|at|for|with|by|from|and|or|is|are|was|be|do|does|did|can|could|should|would|"
    r"will|may|must|i|my|me|we|our|you|your|it|its|this|that|these|there|what|which|who|whom|whose|when|"
    r"where|why|how|much|many|please|tell|about|if|not|no|have|has|had|get)\b",
    re.IGNORECASE,
)


def without_question_words(question: str) -> str:
    """``question`` without interrogative and function words (如何, what, please, ...), Chinese and English."""
    return _QUESTION_WORDS_EN.sub(" ", _QUESTION_WORDS_ZH.sub(" ", question))
