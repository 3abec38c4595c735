"""Quotation marks: which pair with which, and what the text around a mark shows about it.

Everything here is a pure function of the text. Where more text could change the result and ``ended`` is false, the
result is ``None``: undecided.
"""

from __future__ import annotations

# The marks that close a speech, by the mark that opened it: its own pair first, then other widths that models write.
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
    """Whether ``char`` is a Chinese character or kana: a script without spaces between words."""
    return "\u3040" <= char <= "\u30ff" or "\u3400" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff"


def is_latin(char: str) -> bool:
    """Whether ``char`` is a letter or digit of a script with spaces between words."""
    return char.isalnum() and not is_cjk(char)


def opens(before: str, after: str) -> bool:
    """Whether a straight mark between these two characters opens (``after`` is empty at the end of the text)."""
    if not after or after.isspace() or after in _AFTER_CLOSING.replace("*", ""):
        return False
    return not before or before.isspace() or before in _BEFORE_OPENING


def line_ends(text: str, at: int, ended: bool) -> bool | None:
    """Whether the line from ``at`` on is blank."""
    while at < len(text) and text[at] in " \t\u3000":
        at += 1
    if at == len(text):
        return True if ended else None
    return text[at] in "\r\n"


def _direction(text: str, at: int, before: str, after: str, single: bool) -> int:
    """The direction of the mark at ``at``, judged by its neighbours: 1 opens, -1 closes, 0 is no quotation mark."""
    char = text[at]
    if char in ("‘" if single else "“„"):
        return 1
    if char == "”":
        return -1
    if single and (is_latin(before) and is_latin(after) or is_elision(text, at + 1, True)):
        return 0
    if before.isdigit() and after and after not in "\r\n":
        return 0
    if opens(before, after) or (before in SENTENCE_END and is_cjk(after)):
        return 1
    return -1


def closer_ahead(text: str, at: int, ended: bool, need: int = 1, single: bool = False) -> bool | None:
    """Whether the line from ``at`` on has ``need`` closing marks without an opening mark in the line."""
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


def is_elision(text: str, at: int, ended: bool) -> bool | None:
    """Whether the word at ``at`` is one that may begin with an apostrophe: 'em, 'cause, 'n', '90s."""
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
    """Whether the mark with which ``text`` begins, right after a digit, is an inch or foot mark.

    It is one when the closing mark comes later in the line. When the line ends without one, the next word decides:
    a narrator's (a pronoun, a capitalised word, a stage direction) means that the speech was closed here.
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
    """Whether the mark that begins ``text`` opens a quotation inside the speech; else it echoes the prefix's mark.

    It is an echo when its closing mark ends the line or a sentence, or when there is more than one sentence before it;
    otherwise it is a quotation if the line has a further mark to close the speech.
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
        return _closed_later(text, i + 1, outer, ended)
    return False if ended else None


def _may_close(text: str, at: int) -> bool:
    before, after = text[at - 1], text[at + 1 : at + 2]
    apostrophe = text[at] in SINGLES and is_latin(before) and is_latin(after or " ")
    measure = text[at] in STRAIGHT + SINGLES and before.isdigit() and after.strip(" ") not in ("", "\n")
    return not apostrophe and not before.isspace() and not measure


def _closed_later(text: str, at: int, outer: str, ended: bool) -> bool | None:
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


def leading_mark_role(text: str, outer: str, ended: bool) -> str | None:
    """The role of a mark with which a speech begins: "close", "echo" (of the prefix's mark), "nested" or "letter"."""
    mark, after = text[0], text[1:2]
    if not after and not ended:
        return None
    if mark in STRAIGHT + "'’＇”" and not opens("", after) and after not in ('"', "'", "*"):
        return "close"
    if mark in SINGLES:
        elided = is_elision(text, 1, ended)
        if elided is not False:
            return "letter" if elided else None
    nested = nests_at_start(text, outer, ended)
    return None if nested is None else "nested" if nested else "echo"


def label_end(text: str, names: set[str] | None, needs_mark: bool, ended: bool) -> int | None:
    """The end of a speaker's label (``Tim: ``) at the beginning of ``text``, colon and blanks included.

    Args:
        text: the text.
        names: names that are labels, in lower case; everything that looks like a name when None.
        needs_mark: whether a quotation mark must follow.
        ended: whether ``text`` is complete.

    Returns:
        The index after the label; 0 where the text does not begin with one; None while undecided.
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
