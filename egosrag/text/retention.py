"""What a summary must not lose: the names, numbers, dates and quoted words of the turns that it stands for.

Deterministic and without a model: an item of the turns is kept when it stands in the summary's lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_NUMBER = re.compile(r"\d+(?:[.,:/\-]\d+)*")
_ZH_NUMBER = re.compile(
    r"[零〇一二两三四五六七八九十百千万亿]+(?=[年月日号点岁个次天里斤块元])|[零〇一二三四五六七八九十百千万]{2,}"
)
_QUOTED = re.compile('["“「『《]([^"“”「」『』《》\n]{1,24})["”」』》]')
_ZH_NAMED = re.compile(r"(?:名叫|名字是|叫做|我叫|你叫|他叫|她叫|叫|姓|住在|来自)([\u4e00-\u9fff]{1,4})")
_ZH_STOP = re.compile(r"[的了吗呢吧啊呀嘛和与跟在是有来去过着，。！？]|(?=什么|谁|啥|哪|我|你|他|她)")
_ZH_ASKED = ("什么", "谁", "啥", "哪", "怎")
_CAPITAL = re.compile(r"[A-Z][\w'’\-]*")
_COMMON = frozenset("I I'm I’m I'd I’d I'll I’ll I've I’ve Mr Mrs Ms Dr OK Yes No".split())  # noqa: SIM905
_TITLES = ("Mr. ", "Mrs. ", "Ms. ", "Miss ", "Dr. ", "Prof. ")
_LOOP = re.compile(r"(.{1,40}?)\1{3,}", re.DOTALL)
_RUNAWAY = 64  # characters
_LATIN, _HAN = re.compile(r"[A-Za-z]{2,}"), re.compile(r"[\u4e00-\u9fff]")
_WHOLE = 6  # characters from which on a turn's words in a line are no coincidence
_BEFORE_A_START = ".!?…:;\"“”'‘("


def items(text: str) -> list[str]:
    """The names, numbers, dates and quoted words of ``text``, each once, in the order of the text."""
    found = [(m.start(), m.group()) for m in _NUMBER.finditer(text)]
    found += [(m.start(), m.group()) for m in _ZH_NUMBER.finditer(text)]
    found += [(m.start(), m.group(1).strip()) for m in _QUOTED.finditer(text)]
    found += [(m.start(), name) for m in _ZH_NAMED.finditer(text) if (name := _zh_name(m.group(1)))]
    found += [
        (m.start(), m.group().removesuffix("'s").removesuffix("’s"))
        for m in _CAPITAL.finditer(text)
        if _is_name(text, m)
    ]
    return list(dict.fromkeys(item for _, item in sorted(found) if item))


def missing(texts: Iterable[str], summary: str) -> list[str]:
    """The items of ``texts`` that do not stand in ``summary``."""
    have = _plain(summary)
    numbers = set(_NUMBER.findall(summary))
    lost = []
    for item in dict.fromkeys(item for text in texts for item in items(text)):
        kept = item in numbers if _NUMBER.fullmatch(item) else _plain(item) in have
        if not kept:
            lost.append(item)
    return lost


def invented(line: str, source: str) -> list[str]:
    """The names and numbers of ``line`` that do not stand in ``source``; of a Chinese line its Latin words too."""
    latin = _LATIN.findall(line) if _HAN.search(line) else []
    return [*missing([line], source), *(word for word in latin if word not in source)]


def degenerate(line: str) -> bool:
    """Whether ``line`` says the same words over and over, as small models do when they lose the thread.

    Dots and zeros are no such loop: it is long and made of letters. A piece of a character is no better.
    """
    return "\ufffd" in line or any(
        len(m.group()) >= 24 and any(map(str.isalpha, m.group(1))) for m in _LOOP.finditer(line)
    )


def runaway(text: str) -> bool:
    """Whether ``text`` ends in a loop that is longer than any laugh or scream: it would go on to the last token."""
    end = text[-_RUNAWAY:]
    loops = (m.group(1) for m in _LOOP.finditer(end) if len(m.group()) >= 0.9 * _RUNAWAY)
    return any(c.isalnum() or c.isspace() for loop in loops for c in loop)


def misattributed(line: str, told: Sequence[tuple[str, str]]) -> bool:
    """Whether ``line`` opens with one speaker and repeats, word for word, what another said.

    Args:
        line: a line of a summary.
        told: (speaker, text) of the turns that it stands for.
    """
    plain = _plain(line)
    for opener in {_plain(speaker) for speaker, _ in told}:
        rest = plain.removeprefix(opener)  # a turn may begin with what is a name too: "Meet me", "我的"
        by = {_plain(speaker) for speaker, text in told if len(_plain(text)) >= _WHOLE and _plain(text) in rest}
        if rest != plain and by and opener not in by:
            return True
    return False


def unsaid(line: str, told: Sequence[str]) -> bool:
    """Whether ``line`` has somebody say what stands in no turn: for models that can only copy, so that it is made up.

    Args:
        line: a line of a summary, "A tells B: ..." or any other, which is left alone.
        told: what was said in the turns that it stands for.
    """
    _, colon, said = line.replace("：", ":").partition(":")
    plain = _plain(said.replace(":", ""))
    return bool(colon) and not any(plain in _plain(re.sub("[:：]", "", text)) for text in told)


def _plain(text: str) -> str:
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
