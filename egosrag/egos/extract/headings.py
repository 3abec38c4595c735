"""Under which heading of a card a statement belongs, where its own words decide; else where the model put it."""

from __future__ import annotations

import re

from egosrag.text.names import mention_pattern

_KIN = (
    r"brother|sister|sibling|twin|mother|father|parents?|son|daughter|child(?:ren)?|uncle|aunt|cousin|niece|nephew"
    r"|grand\w+|wife|husband|fianc\w+|widow\w*|friends?|enem(?:y|ies)|rivals?|neighbou?rs?|teacher|mentor|pupil|student"
    r"|apprentice|assistant|master|boss|employer|colleague|partner|mechanic|pet|cat|dog|horse|parrot|bird|companion"
)
_KIN_ZH = (
    "哥|姐|弟|妹|母亲|父亲|爹|娘|妈|爸|叔|伯|姑|姨|舅|侄|甥|奶奶|爷爷|外公|外婆|儿子|女儿|妻|丈夫|老婆|朋友|好友|棋友|邻居"
    "|师父|师傅|师兄|老师|先生|徒弟|学徒|学生|助手|伙伴|搭档|敌|对头|对手|老板|东家|猫|狗|马|骡|鸟|八哥|鹦鹉"
)
_CUES = {
    "background": r"\b(?:born|years? old|aged|grew up|raised|stud(?:ied|ies)|trained|worked|works (?:as|in|at|for)"
    r"|served|for \w+ years|moved|licen[cs]e|war)\b"
    r"|出生|生于|生在|岁|长大|当过|当了|做了|抄了|干了|开了|搬到|年前|籍贯|来自|科举",
    "personality": r"\b(?:afraid|fears?|feared|scared|frighten\w*|hates?|dislikes?|(?:can ?not|can['’]t) stand|loves?"
    r"|likes?|enjoys?|fond of|stubborn|patient|kind|shy|brave|proud|calm|cheerful|curious|loyal|honest|lazy"
    r"|superstitious|(?:dis)?trusts?|collects?)\b"
    r"|害怕|[相轻]信|信不过|[就很最也只]怕|怕[^是]|喜欢|讨厌|最爱|爱[吃喝看听笑较]|性格|为人|固执|胆小|细心|热情|嗜|好赌|心软",
    "speaking_style": r"\b(?:speaks?|spoke|talks?|voice|accent|sentences|catchphrase|often says?|always says?|rhymes?"
    r"|call(?:s|ed) (?:every\w*|each|all|people|strangers|visitors|passengers|customers|patients|friends|h(?:is|er) \w+"
    r"|the \w+|you(?:ng)?)\b|address(?:es)?)"
    r"|说话|语气|口头禅|称呼|自称|管.{1,10}叫|把.{1,10}叫[做作]|押韵|打比方|俗话|嗓",
}


def cued_headings(statement: str, name: str) -> set[str]:
    """The headings whose words a statement about ``name`` has."""
    fitting = {heading for heading, cues in _CUES.items() if re.search(cues, statement, re.IGNORECASE)}
    named = mention_pattern(name).pattern
    own = rf"(?:his|her|their|(?:{named})['’]s)"
    relation = (
        rf"\b(?:is|was|are|were) {own} (?:[\w-]+ ){{0,3}}(?:{_KIN})\b|\b{own} (?:[\w-]+ )?(?:{_KIN}) (?:is|was)\b"
        rf"|\b(?:has|had) (?:an?|\w+) (?:[\w-]+ )?(?:{_KIN}) (?:called|named)\b"
        rf"|是(?:他|她|{named})(?:的|养的)?.{{0,6}}(?:{_KIN_ZH})|(?:他|她|{named})的(?:{_KIN_ZH})\w{{0,2}}[是叫]|养了"
    )
    return {"relations"} if re.search(relation, statement, re.IGNORECASE) else fitting


def fitting_heading(label: str, statement: str, name: str) -> str:
    """The heading for ``statement`` about ``name``: the model's ``label``, unless the words are of one other heading.

    Args:
        label: the heading that the model chose: "background", "personality", "speaking_style" or "relations".
        statement: the statement.
        name: the role's name.
    """
    fitting = cued_headings(statement, name)
    subject = rf"(?:{mention_pattern(name).pattern})|(?:He|She|They)\b|[他她]"
    if label == "relations" and not re.match(subject, statement):
        return label  # about another: "Ann trusts her", "Tom calls her my girl"
    return label if label in fitting or len(fitting) != 1 else fitting.pop()
