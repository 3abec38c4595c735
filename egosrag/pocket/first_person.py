"""Converts sentences of a card to the first person: "She kept her uncle's shop" becomes "I kept my uncle's shop".

By rules, in English and Chinese: pronouns and the verbs that agree with them change, all other words stay. A pronoun
refers to the role if it is the one that the card uses most (:func:`gender_of`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

Pronouns = tuple[str, str, str]  # subject, possessive, object
_PRONOUNS = {"m": ("he", "his", "him"), "f": ("she", "her", "her"), "n": ("it", "its", "it")}
_PRONOUNS |= {"t": ("they", "their", "them")}
_CHINESE_PRONOUNS = {
    "m": "(?<![其吉])他(?!们|人|乡|国)",
    "f": "她(?!们)",
    "n": "它(?!们)",
}  # 他 is also part of the words for "other", "guitar" and "homeland"

_TITLE = r"(?:Mr|Mrs|Ms|Dr|St|Prof|Capt|Sgt|Lt)\."
_CAPITALISED_WORDS = re.compile(
    rf"(?:{_TITLE}|[A-Z][\w-]*(?:['’][A-Z]\w+)*)(?:\s+(?:{_TITLE}|[A-Z][\w-]*(?:['’][A-Z]\w+)*))*"
)
# Capitalised words that can come before a name without being a part of it, at the beginning of a sentence...
_SENTENCE_OPENERS = frozenset(
    """When Once As In After Before Since While If Now Then For At On But And Like Today Yet So Because Even Only
    Later""".split()  # noqa: SIM905
)
# ... and as an article or a title.
_TITLES_AND_ARTICLES = frozenset(
    """The A An Of Mr Mrs Ms Miss Dr St Prof Capt Captain Doctor Sir Lady Lord Madam King Queen Prince Princess Sergeant
    Professor Brother Sister Old Young Little""".split()  # noqa: SIM905
)
_IRREGULAR = {"is": "am", "are": "am", "has": "have", "does": "do", "goes": "go", "isn't": "am not", "were": "was"}
_IRREGULAR |= {"hasn't": "haven't", "doesn't": "don't", "aren't": "am not"}
_NOT_VERBS = frozenset("was as this less always perhaps besides sometimes across its his nowadays yes".split())  # noqa: SIM905
_ADVERB = (
    r"(?:(?:never|always|often|still|once|also|now|just|seldom|sometimes|even|(?!(?:fly|rely|reply)\b)\w+ly)\s+){0,3}"
)
_AFTER_VERB = (
    r"(?:a|an|the|his|her|my|its|their|this|that|every\w*|any\w*|no\w*|all|some\w*|him|it|them|himself|herself|too"
    r"|very|more|\w+ly|\d+|two|three|if|when|as|up|out|down|over|at|to|about|like)\b"
)
# After "and" a word in -s is a verb if an object or the like follows: "and calls everyone", but "cats and dogs".
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
# "her" as an object ("gave her"), and not as a possessive ("her lamp").
_HER_AS_OBJECT = (
    r"(?<=\bgives )her\b|(?<=\bgave )her\b|(?<=\bmakes )her\b|(?<=\bmade )her\b|(?<=\btold )her\b|(?<=\blets )her\b"
    r"|\bher\b(?=\s*(?:[.,;:!?]|$)|\s+(?:and|but|to|in|on|at|by|from|for|with|when|how|as|a|an|the|every\w*|alone|behind"
    r"|away|back|\d+|one|two|three|four|five|six|seven|eight|nine|ten)\b)"
)
_SECOND_PERSON = {"i am": "you are", "i'm": "you are", "i was": "you were", "am i": "are you", "i": "you", "me": "you"}
_SECOND_PERSON |= {
    "my": "your",
    "mine": "yours",
    "myself": "yourself",
    "you are": "I am",
    "you're": "I am",
    "you": "me",
}
_SECOND_PERSON |= {"your": "my", "yours": "mine", "yourself": "myself"}
_ROLE, _SUBJECT, _OWN = "\x03", "\x02", "\x01"  # placeholders for the role's name, "I" and "my"


def gender_of(texts: Sequence[str]) -> str:
    """The pronoun that a card uses for its role: "m" (he), "f" (she), "n" (it), "t" (they) or "" (none)."""
    whole = " ".join(texts)
    he = len(re.findall(rf"\b(?:he|him|his|himself)\b|{_CHINESE_PRONOUNS['m']}", whole, re.IGNORECASE))
    she = len(re.findall(rf"\b(?:she|hers?|herself)\b|{_CHINESE_PRONOUNS['f']}", whole, re.IGNORECASE))
    if he or she:
        return "" if he == she else "m" if he > she else "f"
    for gender, begins in (("t", r"They|Their"), ("n", r"Its?")):
        if any(re.match(rf"(?:{begins})\b|它", text) for text in texts):
            return gender
    return ""


def first_person(sentence: str, names: Sequence[str], gender: str, language: str, *, of_others: bool = False) -> str:
    """A sentence of a card in the first person.

    Args:
        sentence: as it is in the card.
        names: the role's name and nickname.
        gender: of the pronouns that refer to the role, see :func:`gender_of`.
        language: "en" or "zh".
        of_others: the sentence is about the role's relations: a subject pronoun after another name does not refer to
            the role.
    """
    if language == "zh":
        text = _chinese(sentence, names, gender)
    else:
        text = _english(sentence, names, _PRONOUNS.get(gender), of_others)
    return with_full_stop(text, language)


def second_person(sentence: str, language: str) -> str:
    """What the user said, as the role repeats it: "My dog is called Rex" becomes "Your dog is called Rex"."""
    if language == "zh":
        text = re.sub(r"[我你](?!们)", lambda m: "你" if m.group() == "我" else "我", sentence)
    else:
        pronouns = r"\b(?:I am|I['’]m|I was|am I|you are|you['’]re|my|mine|myself|me|I|yourself|yours?|you)\b"
        swapped = lambda m: _SECOND_PERSON[m.group().lower().replace("’", "'")]  # noqa: E731
        text = re.sub(pronouns, swapped, sentence, flags=re.IGNORECASE)
    return with_full_stop(text[:1].upper() + text[1:], language)


def with_full_stop(text: str, language: str) -> str:
    """A sentence with a full stop at its end, if it has no punctuation there."""
    return text + ("。" if language == "zh" else ".") if text[-1:].isalnum() else text


def _chinese(sentence: str, names: Sequence[str], gender: str) -> str:
    role = re.compile("|".join(filter(None, (*map(re.escape, names), _CHINESE_PRONOUNS.get(gender, "")))))
    # In a sentence that begins with somebody else, later pronouns refer to that person: only the first is replaced.
    return role.sub("我", sentence, count=0 if role.match(sentence) else 1)


def _english(sentence: str, names: Sequence[str], pronouns: Pronouns | None, of_others: bool) -> str:
    text = _with_role_placeholder(sentence, names)
    text = re.sub(rf"{_ROLE}['’]s?(?=\s)", _OWN, text)
    text = re.sub(rf"{_BEFORE_SUBJECT}{_ROLE}(?=,?\s+[a-z])", rf"\1{_SUBJECT}", text).replace(_ROLE, "me")
    if pronouns:
        text = _replace_pronouns(text, pronouns, of_others)
    text = re.sub(
        rf"{_SUBJECT}(\s+{_ADVERB})([A-Za-z'’]+)", lambda m: f"{_SUBJECT}{m[1]}{_first_person_verb(m[2])}", text
    )
    if _SUBJECT in text:
        head, tail = text.split(_SUBJECT, 1)
        for pattern in (_AUXILIARY, _JOINED, _LISTED):
            tail = re.sub(pattern, lambda m: m["join"] + _first_person_verb(m["verb"]), tail)
        text = head + _SUBJECT + tail
    text = re.sub(rf"^{_SUBJECT} and ([A-Z]\w*)", r"\1 and I", text)
    text = re.sub(rf"{_SUBJECT}['’](?:s|re)\b", "I'm", text).replace(_SUBJECT, "I").replace(_OWN, "my")
    return text[:1].upper() + text[1:]


def _with_role_placeholder(sentence: str, names: Sequence[str]) -> str:
    """The sentence with ``_ROLE`` for the role's names, also with a surname or a title, but not for other names."""
    uncapitalised = re.compile(
        "|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in names if not name[:1].isupper()) or "(?!)"
    )
    role_names = [
        [word for word in name.split() if word not in _TITLES_AND_ARTICLES and not re.fullmatch(_TITLE, word)]
        for name in names
    ]

    def replaced(run: re.Match[str]) -> str:
        words = run.group().split()
        before = [words.pop(0)] if len(words) > 1 and words[0] in _SENTENCE_OPENERS else []
        name = [word for word in words if word not in _TITLES_AND_ARTICLES and not re.fullmatch(_TITLE, word)]
        is_role = any(
            own and name and (name[0] == own[0] or set(own) <= set(name) or (len(name) == 1 and name[0] == own[-1]))
            for own in role_names
        )
        return " ".join([*before, _ROLE]) if is_role else run.group()

    return _CAPITALISED_WORDS.sub(replaced, uncapitalised.sub(_ROLE, sentence))


def _replace_pronouns(text: str, pronouns: Pronouns, of_others: bool) -> str:
    he, his, him = pronouns
    subject = rf"^{he}\b" if he == "it" or (of_others and not text.startswith(_SUBJECT)) else rf"\b{he}\b"
    text = re.sub(subject, _SUBJECT, text, flags=re.IGNORECASE)
    if he == "she":
        text = re.sub(r"\bhers\b", "mine", re.sub(_HER_AS_OBJECT, "me", text))
    elif he != "it":
        text = re.sub(rf"\b{him}\b", "me", text)
    text = re.sub(r"\b(?:himself|herself|itself|themselves|themself)\b", "myself", text)
    return re.sub(rf"\b{his}\b", _OWN, text, flags=re.IGNORECASE)


def _first_person_verb(word: str) -> str:
    """A verb in the third person as it agrees with "I"; other words as they are."""
    word = word.replace("’", "'")
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word in _NOT_VERBS or not word.endswith("s") or word.endswith("ss"):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-2] if re.search(r"(?:ss|sh|ch|x|zz|[^o]o)es$", word) else word[:-1]
