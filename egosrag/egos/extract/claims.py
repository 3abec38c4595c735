"""What a statement about a role claims by name or by number, and whether its evidence says so too.

Most words of a statement may be its own; a name or a number may not: a model that invents one invents a fact.
"""

from __future__ import annotations

import re

from egosrag.egos.extract.chunks import mention
from egosrag.text.language import language_of
from egosrag.text.retention import missing

_WORD = re.compile(r"[A-Za-z][A-Za-z]*(?:['’\-][A-Za-z]+)*")
_LETTERS = re.compile("[a-z]+")
_DIGITS = re.compile(r"\d+(?:[.,]\d+)*")
_FOREIGN = re.compile(r"[\u4e00-\u9fff]{1,6}(?:[·•][\u4e00-\u9fff]{1,6})+")  # 杰伊·盖茨比
_BEGINS = re.compile(r"(?:^|[.!?…:;。！？：；\n]|[\"“‘'(（])\s*$")
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"
_SMALL = f"two three four five six seven eight nine {_TEENS}".split()  # "one" is a pronoun as well
_ENGLISH_NUMBERS = {word: str(value) for value, word in enumerate(_SMALL, 2)}
_ENGLISH_NUMBERS |= {"thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80"}
_ENGLISH_NUMBERS |= {"ninety": "90", "hundred": "100", "thousand": "1000", "million": "1000000", "dozen": "12"}
_CHINESE_NUMBER = re.compile("[零〇二两三四五六七八九十百千万亿]+")  # 一 is in every other word
_CHINESE_DIGIT = {digit: str(value) for value, digit in enumerate("零一二三四五六七八九十")} | {"两": "2"}
# Words that a statement may begin with though its evidence does not have them.
_OPENER_WORDS = """
a an the he she they it his her their its i you we my our this that these those there in on at as by for from with
without after before during since while when where who whose which what and but or so if not no one once now then
both all some many most often always never usually sometimes also very is was are were be been being has had have
having does did do can could will would may might must should lives lived living works worked working likes liked
loves loved hates hated fears feared wants wanted enjoys enjoyed speaks spoke speaking talks talked talking uses
used using says said tells told gives gave takes took makes made keeps kept owns owned runs ran knows knew thinks
thought feels felt believes believed comes came goes went grew grows born known called named mr mrs ms dr
"""
_OPENERS = frozenset(_OPENER_WORDS.split())
_NAMES = ("nr", "ns", "nt", "nz")  # what jieba calls the names of people, places, groups and others


def unfounded(said: str, name: str, quote: str, around: str) -> list[str]:
    """The names and numbers that ``said`` claims and ``quote`` lacks.

    Args:
        said: a statement about the role.
        name: the role's name; naming it is no claim.
        quote: the evidence.
        around: the text that the evidence stands in: what it writes with a small letter is no name.
    """
    named = mention(name)
    claims = named.sub(" ", said)
    have = _values(quote)
    lost = [item for item in missing([claims], quote) if _CHINESE_DIGIT.get(item, item) not in have]
    return [*lost, *_english(said, named, quote, around), *_numbers(claims, quote), *_chinese(claims, quote)]


def _english(said: str, named: re.Pattern[str], quote: str, around: str) -> list[str]:
    """Capitalised words; one that begins a sentence may be an ordinary word."""
    own = [match.span() for match in named.finditer(said)]
    have = {word.casefold() for word in _WORD.findall(quote)}
    have |= {word.removesuffix("'s").removesuffix("’s") for word in have}
    begins_low = language_of(said) == "en"
    lost = []
    for match in _WORD.finditer(said):
        word = match.group()
        low = word.casefold().removesuffix("'s").removesuffix("’s")
        if not word[0].isupper() or low in have or low in ("i", "mr", "mrs", "ms", "dr", "miss"):
            continue
        if any(start <= match.start() < end for start, end in own):
            continue
        if (
            begins_low
            and _BEGINS.search(said[: match.start()])
            and (low in _OPENERS or _is_ordinary(low, quote, around))
        ):
            continue
        lost.append(word)
    return lost


def _is_ordinary(low: str, quote: str, around: str) -> bool:
    """Whether a capitalised word is a word of the text: written small in it, or another form of one of its evidence."""
    if re.search(rf"\b{re.escape(low)}\b", around):
        return True
    return len(low) > 4 and re.search(rf"\b{re.escape(low[: max(4, len(low) - 3)])}", quote) is not None


def _values(text: str) -> set[str]:
    """The numbers of a text; 7, seven and 七 are one, longer Chinese ones stay as they are written."""
    found = set(_DIGITS.findall(text))
    found |= {_CHINESE_DIGIT.get(number, number) for number in _CHINESE_NUMBER.findall(text)}
    return found | {_ENGLISH_NUMBERS[word] for word in _LETTERS.findall(text.casefold()) if word in _ENGLISH_NUMBERS}


def _numbers(claims: str, quote: str) -> list[str]:
    """Numbers in words, and Chinese ones that no unit follows."""
    have = _values(quote)
    words = _LETTERS.findall(claims.casefold())
    lost = [word for word in words if word in _ENGLISH_NUMBERS and _ENGLISH_NUMBERS[word] not in have]
    chinese = [n for n in _CHINESE_NUMBER.findall(claims) if n not in quote]
    return lost + [n for n in chinese if _CHINESE_DIGIT.get(n, n) not in have]


def _chinese(claims: str, quote: str) -> list[str]:
    """Names in Chinese characters: those written with a dot, and what the segmenter's tagger takes for names."""
    lost = [match.group() for match in _FOREIGN.finditer(claims) if match.group() not in quote]
    runs = re.findall(r"[\u4e00-\u9fff]{2,}", claims)
    if lost or all(run[i : i + 2] in quote for run in runs for i in range(len(run) - 1)):
        return lost  # nothing that could be a name of its own: no need to load the dictionary
    from jieba import posseg

    tagged = [(str(pair.word), str(pair.flag)) for run in runs for pair in posseg.cut(run)]
    return [w for w, flag in tagged if len(w) > 1 and flag.startswith(_NAMES) and w not in quote]
