"""Under which heading of a card a statement belongs, where its own words decide; else where the model put it."""

from __future__ import annotations

import re

from egosrag.egos.extract.relations import KIN
from egosrag.text.names import mention_pattern

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
        rf"\b(?:is|was|are|were) {own} (?:[\w-]+ ){{0,3}}(?:{KIN})\b|\b{own} (?:[\w-]+ )?(?:{KIN}) (?:is|was)\b"
        rf"|\b(?:has|had) (?:an?|\w+) (?:[\w-]+ )?(?:{KIN}) (?:called|named)\b"
        rf"|是(?:他|她|{named})(?:的|养的)?.{{0,6}}(?:{KIN})|(?:他|她|{named})的(?:{KIN})\w{{0,2}}[是叫]|养了"
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
    if label == "speaking_style" and label not in fitting:
        label = "background"  # where small models put what they are unsure of, and it names no way of speaking
    return label if label in fitting or len(fitting) != 1 else fitting.pop()
