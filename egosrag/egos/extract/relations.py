"""Relations between a role and others: what a statement says, and whether a text says it in other words.

"Ann is Tom's sister" is supported by "my brother Tom" where Ann speaks: both are siblings.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from egosrag.text.names import mention_pattern

# Words of one line are two sides of one relation, or words for the same.
_KINDS = [
    "brothers?|sisters?|siblings?|twins?|哥|姐|(?<![徒师])弟|妹",
    "mother|father|parents?|mum|mom|dad|sons?|daughters?|child(?:ren)?|爹|娘|妈|爸|父|母|儿子|女儿|闺女",
    "uncle|aunt|niece|nephew|叔|伯|姑|姨|舅|侄|甥",
    r"grand\w+|爷爷|奶奶|外公|外婆|祖父|祖母|孙",
    r"husband|wife|fianc\w+|widow\w*|丈夫|妻|老婆|夫人",
    "teacher|mentor|master|pupil|student|apprentice|师父|师傅|老师|先生|徒弟|学徒|学生",
    "friends?|companion|朋友|好友|棋友|伙伴",
    "enem(?:y|ies)|rivals?|敌人?|对头|对手",
    "boss|employer|老板|东家|掌柜",
    "assistant|助手|伙计",
    "colleague|partner|搭档|同事",
    "mechanic",
    "cook|厨子",
    "neighbou?rs?|邻居",
    "pet|cat|kitten|dog|puppy|horse|mare|parrot|bird|mule|猫|狗|犬|马|骡子?|鸟|八哥|鹦鹉",
    "cousins?|表[哥姐弟妹]|堂[哥姐弟妹]",
]
KIN = "|".join(_KINDS)
_OTHER = r"[A-Z][\w'’]+(?: [A-Z][\w'’]+)*"
_OTHER_ZH = "[\u4e00-\u9fff]{1,4}?"


class Relation(NamedTuple):
    """Who else it is, and a pattern for the words of the relation."""

    other: str
    kind: re.Pattern[str]

    def is_in(self, quote: str) -> bool:
        """Whether ``quote`` names the other and has a word of this relation."""
        return self.other in quote and bool(self.kind.search(quote))


def stated_relation(statement: str, name: str) -> Relation | None:
    """The relation that a statement "X is NAME's KIN" or "NAME's KIN is X" says, if it is such a statement."""
    named = mention_pattern(name).pattern
    own, own_zh = rf"(?:[Hh]is|[Hh]er|[Tt]heir|(?:{named})['’]s)", rf"(?:他|她|{named})"
    forms = (
        rf"^(?P<other>{_OTHER}) (?:is|was) {own} (?:[\w-]+ ){{0,3}}?(?P<kin>{KIN})\b",
        rf"^{own} (?:[\w-]+ )?(?P<kin>{KIN}) (?:is|was)(?: called| named)? (?P<other>{_OTHER})",
        rf"^(?P<other>{_OTHER_ZH})是{own_zh}(?:的|养的)?.{{0,4}}?(?P<kin>{KIN})",
        rf"^{own_zh}的(?P<kin>{KIN})\w?[是叫](?P<other>{_OTHER_ZH})(?:[，。]|$)",
    )
    match = next(filter(None, (re.search(form, statement) for form in forms)), None)
    if match is None:
        return None
    kind = next(kind for kind in _KINDS if re.fullmatch(kind, match.group("kin")))
    words = "|".join(rf"\b(?:{word})\b" if word.isascii() else word for word in kind.split("|"))
    return Relation(match.group("other"), re.compile(words, re.IGNORECASE))
