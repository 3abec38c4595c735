"""What a card tells of a role, in the role's own mouth: "She kept her uncle's shop" becomes "I kept my uncle's shop".

By rule, in English and Chinese: pronouns and the verbs that go with them change, every other word stays what it is. A
pronoun means the role where it is the one that most of the card has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

Pronouns = tuple[str, str, str]  # he, his, him
_PRONOUNS = {"m": ("he", "his", "him"), "f": ("she", "her", "her"), "n": ("it", "its", "it")}
_PRONOUNS |= {"t": ("they", "their", "them")}
_HAN = {"m": "(?<![其吉])他(?!们|人|乡|国)", "f": "她(?!们)", "n": "它(?!们)"}  # not in other, guitar, homeland

_TITLE = r"(?:Mr|Mrs|Ms|Dr|St|Prof|Capt|Sgt|Lt)\."
_RUN = re.compile(rf"(?:{_TITLE}|[A-Z][\w-]*(?:['’][A-Z]\w+)*)(?:\s+(?:{_TITLE}|[A-Z][\w-]*(?:['’][A-Z]\w+)*))*")
# Capitalised words that stand before a name, or with it, without being a part of it.
_OPENERS = frozenset(
    """When Once As In After Before Since While If Now Then For At On But And Like Today Yet So Because Even Only
    Later""".split()  # noqa: SIM905
)
_NO_NAMES = frozenset(
    """The A An Of Mr Mrs Ms Miss Dr St Prof Capt Captain Doctor Sir Lady Lord Madam King Queen Prince Princess Sergeant
    Professor Brother Sister Old Young Little""".split()  # noqa: SIM905
)
_IRREGULAR = {"is": "am", "are": "am", "has": "have", "does": "do", "goes": "go", "isn't": "am not", "were": "was"}
_IRREGULAR |= {"hasn't": "haven't", "doesn't": "don't", "aren't": "am not"}
_NO_VERBS = frozenset("was as this less always perhaps besides sometimes across its his nowadays yes".split())  # noqa: SIM905
_ADVERB = (
    r"(?:(?:never|always|often|still|once|also|now|just|seldom|sometimes|even|(?!(?:fly|rely|reply)\b)\w+ly)\s+){0,3}"
)
_AFTER_VERB = (
    r"(?:a|an|the|his|her|my|its|their|this|that|every\w*|any\w*|no\w*|all|some\w*|him|it|them|himself|herself|too"
    r"|very|more|\w+ly|\d+|two|three|if|when|as|up|out|down|over|at|to|about|like)\b"
)
# Of two things that are joined only the second is a verb where something that a verb has comes behind: "and calls
# everyone", "and says “now”", but "cats and dogs".
_JOINED = (
    rf"(?P<join>\b(?:and|but)\s+{_ADVERB})(?P<verb>[a-z]+s)"
    rf"(?=\s+(?:{_AFTER_VERB}|(?!(?:and|or|in|of|from|on|with|for)\b)[a-z]+\b|[\"“]))"
)
_LISTED = rf"(?P<join>,\s+{_ADVERB})(?P<verb>[a-z]+s)(?=\s+{_AFTER_VERB})"
_AUXILIARY = rf"(?P<join>(?:\b(?:and|but)|,)\s+{_ADVERB})(?P<verb>is|has|does|isn['’]t|hasn['’]t|doesn['’]t)(?![\w'’])"
_BEFORE_SUBJECT = (
    r"(^|[,;:] |\b(?:and|but|when|where|because|that|whom|which|if|as|since|while|before|after|until|what|says?|thinks?"
    r"|knows?|once|When|Once|As|If|Since|While|Before|After|Because) )"
)
# Where "her" means the role and not something of hers.
_ME = (
    r"(?<=\bgives )her\b|(?<=\bgave )her\b|(?<=\bmakes )her\b|(?<=\bmade )her\b|(?<=\btold )her\b|(?<=\blets )her\b"
    r"|\bher\b(?=\s*(?:[.,;:!?]|$)|\s+(?:and|but|to|in|on|at|by|from|for|with|when|how|as|a|an|the|every\w*|alone|behind"
    r"|away|back|\d+|one|two|three|four|five|six|seven|eight|nine|ten)\b)"
)
_TOLD_BACK = {"i am": "you are", "i'm": "you are", "i was": "you were", "am i": "are you", "i": "you", "me": "you"}
_TOLD_BACK |= {"my": "your", "mine": "yours", "myself": "yourself", "you are": "I am", "you're": "I am", "you": "me"}
_TOLD_BACK |= {"your": "my", "yours": "mine", "yourself": "myself"}
_ROLE, _SUBJECT, _OWN = "\x03", "\x02", "\x01"  # stand for the role, for I and for my until all is in place


def gender_of(texts: Sequence[str]) -> str:
    """The pronoun that a card uses of its role: "m", "f", "n" (it) or "t" (they); "" where it has none."""
    whole = " ".join(texts)
    he = len(re.findall(rf"\b(?:he|him|his|himself)\b|{_HAN['m']}", whole, re.IGNORECASE))
    she = len(re.findall(rf"\b(?:she|hers?|herself)\b|{_HAN['f']}", whole, re.IGNORECASE))
    if he or she:
        return "" if he == she else "m" if he > she else "f"
    for gender, begins in (("t", r"They|Their"), ("n", r"Its?")):
        if any(re.match(rf"(?:{begins})\b|它", text) for text in texts):
            return gender
    return ""


def first_person(sentence: str, names: Sequence[str], gender: str, language: str, *, of_others: bool = False) -> str:
    """A sentence of a card as the role would say it.

    Args:
        sentence: as it stands in the card.
        names: the role's, and its nickname.
        gender: of the pronouns that mean the role, as :func:`gender_of` tells it.
        language: "en" or "zh".
        of_others: it tells of the role's relations: a subject pronoun behind another name is not the role's.
    """
    if language == "zh":
        said = _chinese(sentence, names, gender)
    else:
        said = _english(sentence, names, _PRONOUNS.get(gender), of_others)
    return finished(said, language)


def second_person(sentence: str, language: str) -> str:
    """What the user said of themselves as the role would repeat it: "My dog is called Rex" as "Your dog ..."."""
    if language == "zh":
        said = re.sub(r"[我你](?!们)", lambda m: "你" if m.group() == "我" else "我", sentence)
    else:
        found = r"\b(?:I am|I['’]m|I was|am I|you are|you['’]re|my|mine|myself|me|I|yourself|yours?|you)\b"
        back = lambda m: _TOLD_BACK[m.group().lower().replace("’", "'")]  # noqa: E731
        said = re.sub(found, back, sentence, flags=re.IGNORECASE)
    return finished(said[:1].upper() + said[1:], language)


def finished(text: str, language: str) -> str:
    """A sentence with a mark at its end."""
    return text + ("。" if language == "zh" else ".") if text[-1:].isalnum() else text


def _chinese(sentence: str, names: Sequence[str], gender: str) -> str:
    own = re.compile("|".join(filter(None, (*map(re.escape, names), _HAN.get(gender, "")))))
    # What begins with somebody else goes on about somebody else.
    return own.sub("我", sentence, count=0 if own.match(sentence) else 1)


def _english(sentence: str, names: Sequence[str], pronouns: Pronouns | None, of_others: bool) -> str:
    text = _marked(sentence, names)
    text = re.sub(rf"{_ROLE}['’]s?(?=\s)", _OWN, text)
    text = re.sub(rf"{_BEFORE_SUBJECT}{_ROLE}(?=,?\s+[a-z])", rf"\1{_SUBJECT}", text).replace(_ROLE, "me")
    if pronouns:
        text = _shifted(text, pronouns, of_others)
    text = re.sub(rf"{_SUBJECT}(\s+{_ADVERB})([A-Za-z'’]+)", lambda m: f"{_SUBJECT}{m[1]}{_verb(m[2])}", text)
    if _SUBJECT in text:
        head, tail = text.split(_SUBJECT, 1)
        for pattern in (_AUXILIARY, _JOINED, _LISTED):
            tail = re.sub(pattern, lambda m: m["join"] + _verb(m["verb"]), tail)
        text = head + _SUBJECT + tail
    text = re.sub(rf"^{_SUBJECT} and ([A-Z]\w*)", r"\1 and I", text)
    text = re.sub(rf"{_SUBJECT}['’](?:s|re)\b", "I'm", text).replace(_SUBJECT, "I").replace(_OWN, "my")
    return text[:1].upper() + text[1:]


def _marked(sentence: str, names: Sequence[str]) -> str:
    """The sentence with ``_ROLE`` in place of the role's names: with a surname or a title, but nobody else's."""
    whole = re.compile(
        "|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in names if not name[:1].isupper()) or "(?!)"
    )
    own = [
        [word for word in name.split() if word not in _NO_NAMES and not re.fullmatch(_TITLE, word)] for name in names
    ]

    def marked(run: re.Match[str]) -> str:
        words = run.group().split()
        before = [words.pop(0)] if len(words) > 1 and words[0] in _OPENERS else []
        said = [word for word in words if word not in _NO_NAMES and not re.fullmatch(_TITLE, word)]
        is_role = any(
            mine and said and (said[0] == mine[0] or set(mine) <= set(said) or (len(said) == 1 and said[0] == mine[-1]))
            for mine in own
        )
        return " ".join([*before, _ROLE]) if is_role else run.group()

    return _RUN.sub(marked, whole.sub(_ROLE, sentence))


def _shifted(text: str, pronouns: Pronouns, of_others: bool) -> str:
    he, his, him = pronouns
    subject = rf"^{he}\b" if he == "it" or (of_others and not text.startswith(_SUBJECT)) else rf"\b{he}\b"
    text = re.sub(subject, _SUBJECT, text, flags=re.IGNORECASE)
    if he == "she":
        text = re.sub(r"\bhers\b", "mine", re.sub(_ME, "me", text))
    elif he != "it":
        text = re.sub(rf"\b{him}\b", "me", text)
    text = re.sub(r"\b(?:himself|herself|itself|themselves|themself)\b", "myself", text)
    return re.sub(rf"\b{his}\b", _OWN, text, flags=re.IGNORECASE)


def _verb(word: str) -> str:
    """A verb as it goes with "I"."""
    word = word.replace("’", "'")
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word in _NO_VERBS or not word.endswith("s") or word.endswith("ss"):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-2] if re.search(r"(?:ss|sh|ch|x|zz|[^o]o)es$", word) else word[:-1]
