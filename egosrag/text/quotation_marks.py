"""Quotation marks: which pair with which, and what the text around a mark says about it.

Everything here is a pure function of the text. Where more text could change the answer and ``ended`` is false,
the answer is ``None``: not decided yet.
"""

from __future__ import annotations

# What closes a speech that each mark opened: its own pair first, then the other widths that models write.
CLOSERS = {
    '"': '"”＂', "＂": '＂”"', "“": '”"＂', "”": '”"＂', "„": '“”"', "«": "»", "»": "«", "‹": "›", "›": "‹",
    "'": "'’＇", "＇": "＇’'", "‘": "’'＇", "’": "’'＇", "‚": "‘’'",
    "「": "」｣", "｢": "｣」", "『": "』", "﹁": "﹂", "﹃": "﹄",
}  # fmt: skip
STRAIGHT = '"＂'
SINGLES = "'’＇"
OPEN = "“„「『«‹｢﹁﹃"
CLOSE = "”」』»›｣﹂﹄"
TERMINAL = ".!?,;…~。！？，、；～"
SENTENCE_END = ".!?…。！？～~"
_DOUBLE = '"＂“”„'
_BEFORE_OPENING = "([{（【《〈—–-:：=/*_"
_AFTER_CLOSING = ",.;:!?)]}，。！？；：、）】》〉…—–-*([（【"
_ANY_OPENER = "\"“„「『«‹｢﹁﹃‘＂'＇"
_NO_NAME = "!?,;。！？，；、*”" + _ANY_OPENER[:-2]
_LABEL_LENGTH = 40
ALL = frozenset(STRAIGHT + SINGLES + OPEN + CLOSE + "‘‚")
_ELISIONS = frozenset({"em", "cause", "tis", "twas", "til", "till", "bout", "round", "cos", "cuz", "nuff", "neath"})
_PRONOUNS = frozenset({"he", "she", "they", "we", "it", "i", "you", "his", "her", "their", "its"})


def family(mark: str) -> str:
    """The marks that a model may write in place of ``mark`` to open a speech."""
    if mark in _DOUBLE:
        return _DOUBLE
    if mark in "'‘’＇‚":
        return "'‘’＇"
    return mark + {"「": "｢", "｢": "「"}.get(mark, "")


def is_cjk(char: str) -> bool:
    """Whether ``char`` is a Chinese character or kana: such words have no spaces between them."""
    return "\u3040" <= char <= "\u30ff" or "\u3400" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff"


def is_latin(char: str) -> bool:
    """Whether ``char`` is a letter or digit of a script whose words have spaces between them."""
    return char.isalnum() and not is_cjk(char)


def opens(before: str, after: str) -> bool:
    """Whether a straight mark between these two characters opens (``after`` is empty at the end of the text)."""
    if not after or after.isspace() or after in _AFTER_CLOSING.replace("*", ""):
        return False
    return not before or before.isspace() or before in _BEFORE_OPENING


def line_ends(text: str, at: int, ended: bool) -> bool | None:
    """Whether nothing but blanks stands between ``at`` and the end of the line."""
    while at < len(text) and text[at] in " \t\u3000":
        at += 1
    if at == len(text):
        return True if ended else None
    return text[at] in "\r\n"


def _direction(text: str, at: int, before: str, after: str, single: bool) -> int:
    """What the mark at ``at`` looks like from its neighbours: 1 opens, -1 closes, 0 is no mark at all."""
    char = text[at]
    if char in ("‘" if single else "“„"):
        return 1
    if char == "”":
        return -1
    if single and (is_latin(before) and is_latin(after) or elision(text, at + 1, True)):
        return 0
    if before.isdigit() and after and after not in "\r\n":
        return 0
    if opens(before, after) or (before in SENTENCE_END and is_cjk(after)):
        return 1
    return -1


def closer_ahead(text: str, at: int, ended: bool, need: int = 1, single: bool = False) -> bool | None:
    """Whether the line from ``at`` on holds ``need`` closing marks that no mark in it opened."""
    marks = SINGLES + "‘" if single else _DOUBLE
    depth = 0
    for i in range(at, len(text)):
        if text[i] in "\r\n":
            return False
        if text[i] not in marks:
            continue
        if i + 1 == len(text) and not ended:
            return None
        depth += _direction(text, i, text[i - 1] if i else "", text[i + 1 : i + 2], single)
        if depth <= -need:
            return True
    return False if ended else None


def elision(text: str, at: int, ended: bool) -> bool | None:
    """Whether the word at ``at`` is one that an apostrophe may begin: 'em, 'cause, 'n', '90s."""
    end = at
    while end < len(text) and is_latin(text[end]):
        end += 1
    word = text[at:end].lower()
    if word[:1].isdigit():
        return True
    if end == len(text) and not ended and len(word) < 8:
        return None
    return word in _ELISIONS or (word == "n" and text[end : end + 1] != "" and text[end] in SINGLES)


def is_measure(text: str, ended: bool, need: int) -> bool | None:
    """Whether the mark that opens ``text``, right after a digit, is an inch or foot mark and closes nothing.

    It is one when the line still holds the closing mark. When the line ends without one, what follows tells:
    a narrator (a pronoun, a capitalised word, a stage direction) means that the speech was closed here.
    """
    over = line_ends(text, 1, ended)
    if over is None or over:
        return None if over is None else False
    ahead = closer_ahead(text, 1, ended, need, single=text[0] in SINGLES)
    if ahead is not False:
        return ahead
    if not text[1].isspace():
        return text[1] not in _AFTER_CLOSING
    word = text[1:].split()[0].strip(",.;:!?")
    if not word or not word[0].isalnum() or word.lower() in _PRONOUNS:
        return False
    return word[0] not in "他她它" and (word[0].islower() or is_cjk(word[0]) or not word[1:].islower())


def next_closes_a_word(text: str) -> bool:
    """Whether the next mark of the line follows a word: 说"不"。" but not: 说"他笑了。"你好"."""
    line = text.splitlines()[0]
    following = next((i for i in range(2, len(line)) if line[i] in STRAIGHT), 0)
    return bool(following) and line[following - 1].isalnum() and sum(c in STRAIGHT for c in line) > 2


def nests_at_start(text: str, outer: str, ended: bool) -> bool | None:
    """Whether the mark that opens ``text`` opens a quotation inside the speech, or echoes the speech's own mark.

    An echo when its closing mark ends the line or a sentence, or when it holds more than one sentence; otherwise
    a quotation when a further mark is left to close the speech.
    """
    depth = 0
    for i in range(1, len(text)):
        char, after = text[i], text[i + 1 : i + 2]
        if char in "\r\n":
            return False
        if char in OPEN and char in family(outer):
            depth += 1
        if (char not in CLOSERS[outer] and char not in CLOSERS[text[0]]) or not _may_close(text, i):
            if char in SENTENCE_END and after and after not in TERMINAL + "".join(CLOSERS[outer]):
                return False
            continue
        if depth:
            depth -= 1
            continue
        if text[i - 1] in SENTENCE_END:
            return False
        over = line_ends(text, i + 1, ended)
        if over is not False:
            return None if over is None else False
        return _left_to_close(text, i + 1, outer, ended)
    return False if ended else None


def _may_close(text: str, at: int) -> bool:
    before, after = text[at - 1], text[at + 1 : at + 2]
    apostrophe = text[at] in SINGLES and is_latin(before) and is_latin(after or " ")
    measure = text[at] in STRAIGHT + SINGLES and before.isdigit() and after.strip(" ") not in ("", "\n")
    return not apostrophe and not before.isspace() and not measure


def _left_to_close(text: str, at: int, outer: str, ended: bool) -> bool | None:
    if outer in _DOUBLE or outer in "'‘’＇":
        return closer_ahead(text, at, ended, single=outer not in _DOUBLE)
    depth = 0
    for char in text[at:]:
        if char in "\r\n":
            return False
        depth += (char in family(outer)) - (char in CLOSERS[outer])
        if depth < 0:
            return True
    return False if ended else None


def first_mark(text: str, outer: str, ended: bool) -> str | None:
    """What a mark is that a speech begins with: "close", "echo" of the prefix's, "nested" or "letter"."""
    mark, after = text[0], text[1:2]
    if not after and not ended:
        return None
    if mark in STRAIGHT + "'’＇”" and not opens("", after) and after not in ('"', "'", "*"):
        return "close"
    if mark in SINGLES:
        cut_off = elision(text, 1, ended)
        if cut_off is not False:
            return "letter" if cut_off else None
    nested = nests_at_start(text, outer, ended)
    return None if nested is None else "nested" if nested else "echo"


def label_end(text: str, names: set[str] | None, needs_mark: bool, ended: bool) -> int | None:
    """Where a speaker's label that opens ``text`` ends, its colon and blanks included; 0: it is none.

    ``names`` are the labels that count, all that look like a name when it is None; ``needs_mark``: only when a
    quotation mark follows. ``None``: not decided.
    """
    start = len(text) - len(text.lstrip("*_[【"))
    colon = next((i for i in range(start, min(len(text), start + _LABEL_LENGTH)) if text[i] in ":：\n"), -1)
    label = text[start : colon if colon >= 0 else start + _LABEL_LENGTH]
    if names is None:
        fits = len(label.split()) <= 4 and not any(c in _NO_NAME for c in label)
    else:
        bare = label.replace("（", "(").split("(")[0]
        folded = bare.strip("*_ ]】").casefold()
        whole = colon >= 0 or len(bare) < len(label)
        fits = folded in names if whole else any(n.startswith(folded) for n in names)
    if not fits or (colon >= 0 and (text[colon] == "\n" or not label.strip("*_ "))):
        return 0
    if colon < 0:
        return None if not ended and len(text) - start < _LABEL_LENGTH else 0
    end = colon + 1
    while end < len(text) and text[end] in " \t*_\u3000":
        end += 1
    if not needs_mark:
        return end
    if end == len(text):
        return 0 if ended else None
    return end if text[end] in _ANY_OPENER else 0
