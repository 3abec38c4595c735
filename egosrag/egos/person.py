"""What a card tells of a role, in the role's own mouth: "She kept her uncle's shop" becomes "I kept my uncle's shop".

By rule, in English and Chinese: pronouns and the verbs that go with them change, every name and number stays what it
is. A pronoun means the role where it is the one that most of the card has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from egosrag.egos.pieces import mention

Pronouns = tuple[str, str, str]  # he, his, him
_PRONOUNS = {"m": ("he", "his", "him"), "f": ("she", "her", "her"), "n": ("it", "its", "it")}
_PRONOUNS |= {"t": ("they", "their", "them")}
_HAN = {"m": "他", "f": "她", "n": "它"}

# Capitalised words that may stand before a name without being a part of it.
_OPENERS = "When|Once|As|In|After|Before|Since|While|If|Now|Then|For|At|On|But|And|Like|Today|Yet|So|Because|Even|Only"
_IRREGULAR = {"is": "am", "are": "am", "has": "have", "does": "do", "goes": "go", "isn't": "am not", "were": "was"}
_IRREGULAR |= {"hasn't": "haven't", "doesn't": "don't", "aren't": "am not"}
_NO_VERBS = frozenset("was as this less always perhaps besides sometimes across its his nowadays yes".split())  # noqa: SIM905
_ADVERB = (
    r"(?:(?:never|always|often|still|once|also|now|only|just|rarely|seldom|sometimes|even|(?!fly\b|rely\b)\w+ly)\s+)*"
)
_AFTER_VERB = (
    r"(?:a|an|the|his|her|my|its|their|this|that|every\w*|any\w*|no\w*|all|some\w*|him|it|them|himself|herself|too"
    r"|very|more|\w+ly|\d+|two|three|if|when|as|up|out|down|over|at|to|about|like)\b"
)
# Of two things that are joined only the second is a verb where something that a verb has comes behind: "and calls
# everyone", "and says “now”", but "cats and dogs".
_NO_OBJECT = "and|or|in|of|from|on|with|for"
_JOINED = (
    rf"(?P<join>\b(?:and|but)\s+{_ADVERB})(?P<verb>[a-z]+s)"
    rf"(?=\s+(?:{_AFTER_VERB}|(?!(?:{_NO_OBJECT})\b)[a-z]+\b|[\"“]))"
)
_LISTED = rf"(?P<join>,\s+{_ADVERB})(?P<verb>[a-z]+s)(?=\s+{_AFTER_VERB})"
_AUXILIARY = rf"(?P<join>(?:\b(?:and|but)|,)\s+{_ADVERB})(?P<verb>is|has|does|isn't|hasn't|doesn't)\b"
_BEFORE_SUBJECT = (
    r"(^|[,;:] |\b(?:and|but|when|where|because|that|whom|which|if|as|since|while|before|after|until|what|says?|thinks?"
    r"|knows?|once) )"
)
# Where "her" means the role and not something of hers.
_ME = (
    r"(?<=\bgives )her\b|(?<=\bgave )her\b|(?<=\bmakes )her\b|(?<=\bmade )her\b|(?<=\btold )her\b|(?<=\blets )her\b"
    r"|\bher\b(?=\s*(?:[.,;:!?]|$)|\s+(?:and|but|to|in|on|at|by|from|for|with|when|how|as|a|an|the|every\w*|alone|behind"
    r"|away|back|\d+|one|two|three|four|five|six|seven|eight|nine|ten)\b)"
)


def gender_of(texts: Sequence[str]) -> str:
    """The pronoun that a card uses of its role: "m", "f", "n" (it) or "t" (they); "" where it has none."""
    whole = " ".join(texts)
    he = len(re.findall(r"\b(?:he|him|his|himself)\b|他", whole, re.IGNORECASE))
    she = len(re.findall(r"\b(?:she|hers?|herself)\b|她", whole, re.IGNORECASE))
    if he or she:
        return "" if he == she else "m" if he > she else "f"
    for gender, begins in (("t", r"They|Their"), ("n", r"Its?")):
        if any(re.match(rf"(?:{begins})\b|它", text) for text in texts):
            return gender
    return ""


def first_person(sentence: str, name: str, gender: str, language: str, *, of_others: bool = False) -> str:
    """A sentence of a card as the role would say it.

    Args:
        sentence: as it stands in the card.
        name: the role's.
        gender: of the pronouns that mean the role, as :func:`gender_of` tells it.
        language: "en" or "zh".
        of_others: it tells of the role's relations: a subject pronoun behind another name is not the role's.
    """
    if language == "zh":
        return _chinese(sentence, name, gender)
    return _english(sentence, name, _PRONOUNS.get(gender), of_others)


def second_person(sentence: str, language: str) -> str:
    """What the user said of themselves as the role would repeat it: "My dog is called Rex" as "Your dog ..."."""
    if language == "zh":
        return re.sub(r"我(?!们)", "你", sentence)
    text = re.sub(r"\bI['’]m\b|\bI am\b", "you are", sentence)
    text = re.sub(r"\bI was\b", "you were", re.sub(r"\bam I\b", "are you", text))
    for mine, yours in (("my", "your"), ("mine", "yours"), ("myself", "yourself"), ("me|I", "you")):
        text = re.sub(rf"\b(?:{mine})\b", yours, text, flags=0 if mine == "me|I" else re.IGNORECASE)
    return text[:1].upper() + text[1:]


def _chinese(sentence: str, name: str, gender: str) -> str:
    own = re.compile("|".join(filter(None, (re.escape(name), _HAN.get(gender, "")))))
    # What begins with somebody else goes on about somebody else.
    return own.sub("我", sentence, count=0 if own.match(sentence) else 1)


def _english(sentence: str, name: str, pronouns: Pronouns | None, of_others: bool) -> str:
    named = rf"(?:(?!(?:{_OPENERS})\b)[A-Z][\w’'-]*\.?\s+){{0,2}}(?:{mention(name).pattern})(?:\s+[A-Z][\w’-]*)*"
    text = re.sub(rf"{named}['’]s?(?=\s)", "\x01", sentence)
    text = re.sub(rf"{_BEFORE_SUBJECT}{named}(?=,?\s+[a-z])", "\\1\x02", text)
    text = re.sub(named, "me", text)
    if pronouns:
        text = _shifted(text, pronouns, of_others)
    text = re.sub(rf"\x02(\s+{_ADVERB})([A-Za-z']+)", lambda m: f"\x02{m[1]}{_verb(m[2])}", text)
    if "\x02" in text:
        head, tail = text.split("\x02", 1)
        for pattern in (_AUXILIARY, _JOINED, _LISTED):
            tail = re.sub(pattern, lambda m: m["join"] + _verb(m["verb"]), tail)
        text = f"{head}\x02{tail}"
    text = re.sub("\x02['’](?:s|re)", "I'm", text).replace("\x02", "I")
    text = re.sub("^\x01", "My", text).replace("\x01", "my")
    return text[:1].upper() + text[1:]


def _shifted(text: str, pronouns: Pronouns, of_others: bool) -> str:
    he, his, him = pronouns
    subject = rf"^{he}\b" if he == "it" or (of_others and not text.startswith("\x02")) else rf"\b{he}\b"
    text = re.sub(subject, "\x02", text, flags=re.IGNORECASE)
    if he == "she":
        text = re.sub(r"\bhers\b", "mine", re.sub(_ME, "me", text))
    elif he != "it":
        text = re.sub(rf"\b{him}\b", "me", text)
    text = re.sub(r"\b(?:himself|herself|itself|themselves|themself)\b", "myself", text)
    return re.sub(rf"\b{his}\b", "\x01", text, flags=re.IGNORECASE)


def _verb(word: str) -> str:
    """A verb as it goes with "I"."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word in _NO_VERBS or not word.endswith("s") or word.endswith("ss"):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-2] if re.search(r"(?:ss|sh|ch|x|zz|[^o]o)es$", word) else word[:-1]
