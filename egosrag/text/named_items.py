"""Named items of a text: names, numbers, dates and quoted words, which no summary may lose and no card may invent.

Deterministic and without a model: an item is kept if it appears in the other text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from egosrag.text.numbers import CHINESE_COUNTS, DIGIT_GROUPS, number_values, spelled_numbers

_QUOTED = re.compile('["“「『《]([^"“”「」『』《》\n]{1,24})["”」』》]')
_ZH_NAMED = re.compile(r"(?:名叫|名字是|叫做|我叫|你叫|他叫|她叫|叫|姓|住在|来自)([\u4e00-\u9fff]{1,4})")
_ZH_STOP = re.compile(r"[的了吗呢吧啊呀嘛和与跟在是有来去过着，。！？]|(?=什么|谁|啥|哪|我|你|他|她)")
_ZH_ASKED = ("什么", "谁", "啥", "哪", "怎")
_CAPITAL = re.compile(r"[A-Z][\w'’\-]*")
_COMMON = frozenset("I I'm I’m I'd I’d I'll I’ll I've I’ve Mr Mrs Ms Dr OK Yes No".split())  # noqa: SIM905
_TITLES = ("Mr. ", "Mrs. ", "Ms. ", "Miss ", "Dr. ", "Prof. ")
_LATIN, _HAN = re.compile(r"[A-Za-z]{2,}"), re.compile(r"[\u4e00-\u9fff]")
_NO_NAMES = frozenset({"师傅", "多谢", "老板", "老爷", "小友", "那行", "好咧"})  # jieba takes these for names
_BEFORE_CAPITAL = re.compile(r"\b[A-Z][a-z]+(?=\s+(?:I|Mr|Mrs|Ms|Miss|Dr)\b)")  # "Do I", "Hello Mr Fox": no names
_BEFORE_A_START = ".!?…:;\"“”'‘("


def named_items(text: str) -> list[str]:
    """The names, numbers, dates and quoted words of ``text``, each once, in the order of the text."""
    found = [(m.start(), m.group()) for m in DIGIT_GROUPS.finditer(text)]
    found += [(m.start(), m.group()) for m in CHINESE_COUNTS.finditer(text)]
    found += [(m.start(), m.group(1).strip()) for m in _QUOTED.finditer(text)]
    found += [(m.start(), name) for m in _ZH_NAMED.finditer(text) if (name := _zh_name(m.group(1)))]
    found += [
        (m.start(), m.group().removesuffix("'s").removesuffix("’s"))
        for m in _CAPITAL.finditer(text)
        if _is_name(text, m)
    ]
    return list(dict.fromkeys(item for _, item in sorted(found) if item))


def missing_items(texts: Iterable[str], summary: str) -> list[str]:
    """The named items of ``texts`` that do not appear in ``summary``."""
    have = normalized(summary)
    numbers = set(DIGIT_GROUPS.findall(summary))
    lost = []
    for item in dict.fromkeys(item for text in texts for item in named_items(text)):
        kept = item in numbers if DIGIT_GROUPS.fullmatch(item) else normalized(item) in have
        if not kept:
            lost.append(item)
    return lost


def unkept_items(text: str, summary: str) -> list[str]:
    """The names and numbers of ``text`` that ``summary`` has lost, also numbers in words and names without a mark.

    Stricter than ``missing_items``, which knows no number in English words, and a Chinese name only by the words before
    it; and more lenient with numbers: 7, seven and 七 are the same.
    """
    text = _BEFORE_CAPITAL.sub(lambda match: match.group().lower(), text)
    values, have = number_values(summary), normalized(summary)
    lost = [item for item in missing_items([text], summary) if not _has_values(item, values)]
    lost += [written for written, value in spelled_numbers(text) if value not in values and written not in have]
    lost += [name for name in chinese_names(text) if name not in summary]
    return list(dict.fromkeys(lost))


def _has_values(item: str, values: set[str]) -> bool:
    return bool(own := number_values(item)) and own <= values


def chinese_names(text: str) -> list[str]:
    """The Chinese words of ``text`` that jieba takes for names of people, places, organisations and other things."""
    from jieba import posseg

    runs = re.findall(r"[\u4e00-\u9fff]{2,}", text)
    tagged = [(str(pair.word), str(pair.flag)) for run in runs for pair in posseg.cut(run)]
    return [
        word
        for word, flag in tagged
        if len(word) > 1 and flag.startswith(("nr", "ns", "nt", "nz")) and word not in _NO_NAMES
    ]


def invented_items(line: str, source: str) -> list[str]:
    """The named items of ``line`` that do not appear in ``source``; of a Chinese line its Latin words too.

    A number may be written in another way: 7, seven and 七 are the same.
    """
    latin = _LATIN.findall(line) if _HAN.search(line) else []
    values = number_values(source)
    missing = [item for item in missing_items([line], source) if not _has_values(item, values)]
    return [*missing, *(word for word in latin if word not in source)]


def normalized(text: str) -> str:
    """``text`` for comparing: without quotation marks, in small letters, with single spaces."""
    return re.sub(r"[\s\"'“”‘’]+", " ", text).strip().casefold()


def _zh_name(run: str) -> str:
    name = _ZH_STOP.split(run)[0]
    return "" if any(run.startswith(word) for word in _ZH_ASKED) else name


def _is_name(text: str, match: re.Match[str]) -> bool:
    """A capitalised word that does not merely begin its sentence."""
    word = match.group()
    if word in _COMMON or (match.start() and text[match.start() - 1].isalnum()):
        return False
    if text[: match.start()].endswith(_TITLES):
        return True
    before = text[max(0, match.start() - 3) : match.start()]
    begins = not before.strip() or "\n" in before or before.rstrip()[-1] in _BEFORE_A_START
    return not begins or bool(re.match(r"\s+[A-Z]", text[match.end() :]))
