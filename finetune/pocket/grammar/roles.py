"""Facts about a character: the statement on a card, the question about it, and the character's answer."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from finetune.pocket.grammar.names import COMMON_CHARACTERS, SURNAMES, Dice
from finetune.pocket.grammar.sample import table


class Attribute(NamedTuple):
    """One kind of fact, with templates. In ``says`` {N} is the subject, {P} the possessive; {v} and {w} are values."""

    label: str
    says: list[str]
    asks: list[str]
    answer: str


class Fact(NamedTuple):
    """A fact about one character; ``says`` is a template in which only {N}, {P} and the like are open."""

    kind: str
    label: str
    says: str
    ask: str
    answer: str
    value: str


ATTRIBUTES: dict[str, dict[str, Attribute]] = {
    language: {kind: Attribute(**entry) for kind, entry in table("roles", language).items()}
    for language in ("en", "zh")
}


def article(noun: str) -> str:
    """The English article that fits ``noun``."""
    return "an" if noun[0].lower() in "aeiou" else "a"


def thing(d: Dice) -> str:
    """A thing with a description: "an old silver ring", "一把来自兰托镇的旧钥匙"."""
    words = table("lexicon", d.language)
    look, item = d.of(words["look"]), d.of(words["thing"])
    if d.zh:
        tail = d.of(["", "", f"{d.place()}的", f"{d.name()}送的"])
        return d.of(["一个", "一件"]) + tail + look + item
    tail = d.of(["", "", f" from {d.place()}", f" of {d.name()}", f" with the number {d.number()}"])
    return f"{article(look)} {look} {item}{tail}"


def event(d: Dice) -> dict[str, str]:
    """Parts of a past event: verb {act} and {do1}, object {whom}, when, where or why {end}; and a {work} place."""
    words = table("lexicon", d.language)
    values = {"v": d.name(), "t": d.place(), "n": d.amount(3, 60), "y": d.year(), "k": thing(d)}
    for name in ("look", "thing", "animal", "food", "drink", "job", "relative", "colour", "day"):
        values[name] = d.of(words[name])
    act = d.of(words["act"]).split("|")
    made = {name: str(d.of(words[name])).format(**values) for name in ("whom", "end", "work")}
    return {"act": act[0], "do1": act[-1], **made}


def random_words(d: Dice, low: int, high: int) -> str:
    """Everyday words in random order, to be copied or ignored without being understood."""
    number = d.random.randint(low, high)
    if d.zh and d.chance(0.4):
        return "".join(d.random.choices(COMMON_CHARACTERS, k=number))
    drawn = d.random.choices(_everyday_words(d.language), k=max(1, number // 2) if d.zh else number)
    return ("" if d.zh else " ").join(drawn)


@cache
def _everyday_words(language: str) -> list[str]:
    entries = [entry for group in table("lexicon", language).values() for entry in group]
    return sorted({word for entry in entries for word in re.split(r"[ |]", entry) if "{" not in word and word})


def _person(d: Dice) -> str:
    """A name, one time in ten with a title."""
    if not d.chance(0.1):
        return d.name()
    title = d.of(table("lexicon", d.language)["title"])
    return d.of(SURNAMES) + title if d.zh else f"{title} {d.name()}"


def _value(d: Dice, kind: str) -> str:
    """A random value of a fact of ``kind``."""
    words = table("lexicon", d.language)
    if kind == "post":
        job, work = d.of(words["job"]), event(d)["work"]
        return f"{work}的{job}" if d.zh else f"the {job} of {work}"
    if kind in ("town", "lives"):
        return d.place()
    if kind in ("friend", "relative", "enemy", "teacher", "employer"):
        return _person(d)
    if kind == "saved":
        return (
            d.name()
            if d.chance(0.5)
            else (d.amount(2, 40) + d.of(["个孩子", "名水手"] if d.zh else [" children", " sailors"]))
        )
    if kind == "calls":
        return str(d.of(words["address"]))
    if kind == "past":
        return str(d.of(words["job"]))
    if kind == "keeper":
        return d.place()
    if kind == "pet":
        return d.pet()
    if kind in ("treasure", "found", "deed"):
        return thing(d)
    if kind == "habit":
        look, item = d.of(words["look"]), d.of(words["thing"])
        return look + item if d.zh else f"the {look} {item}"
    plain = d.of(words["subject" if kind == "learned" else kind]) if kind in words or kind == "learned" else ""
    if kind == "dislike":
        plain = d.of(words[d.of(["fear", "hobby", "food", "drink"])])
    if plain and d.chance(0.12):
        return random_words(d, 1, 4)
    if plain and d.chance(0.2) and kind in ("job", "food", "drink", "hobby", "fear", "learned"):
        return d.word() + ("" if d.zh else " ") + plain if not plain.startswith("the ") else plain
    if kind in ("food", "fear") and d.chance(0.25):
        return plain + ("和" if d.zh else " and ") + d.of(words[kind])
    return plain


def fact(d: Dice, kind: str) -> Fact:
    """A random fact of ``kind``, with its question and the character's answer."""
    attribute, words = ATTRIBUTES[d.language][kind], table("lexicon", d.language)
    value = _value(d, kind)
    other = value if d.chance(0.5) else _value(d, kind)  # a yes-or-no question may name another value
    deed = d.of(words["chore" if kind == "habit" else "deed"]).split("|")
    relation = d.of(words["relative" if kind in ("relative", "kin") else "animal"])
    job = d.of(words["job"])
    values = {
        "v": value,
        "a": article(value) if value else "",
        "w": d.of(words["trait"]),
        "n": d.amount(5, 99),
        "y": d.year(),
        "q": value if kind == "keeper" else d.place(),
        "o": d.of(words["office"]),
        "k": relation,
        "ak": article(relation),
        "j": job,
        "aj": article(job),
        "x": d.of(words["address"]),
        "me": d.of(table("lexicon", "zh")["own"]),
        "done": d.of(words["done"]),
        "things": d.of(words["herd"]),
        "look": d.of(words["look"]),
        "z": other,
        "az": article(other) if other else "",
        "did": deed[0],
        "do": deed[-1],
        "day": d.of(words["day"]),
        **event(d),
    }
    says = d.wording(attribute.says)
    open_fields = {"N": "{N}", "P": "{P}", "N2": "{N2}", "p": "{p}", "S": "{S}"}
    asks, answer = d.wording(attribute.asks), attribute.answer.format(**values)
    special = {"keeper": values["o"], "story": values["whom"], "year": values["y"], "kin": job}
    gold = special.get(kind) or value or values["n"]
    if "{v}" in asks or "{whom}" in asks:  # the question names the value, so the whole answer is expected
        gold = answer[:-1]
    return Fact(kind, attribute.label, says.format(**values, **open_fields), asks.format(**values), answer, gold)


def facts(d: Dice, number: int) -> list[Fact]:
    """Up to ``number`` facts of different kinds, in random order; never both a post and a job."""
    kinds = d.random.sample(list(ATTRIBUTES[d.language]), number)
    return [fact(d, kind) for kind in kinds if kind != "post" or "job" not in kinds]


def statement(fact_: Fact, subject: str, possessive: str, object_: str, inner: str) -> str:
    """The fact's statement with its subject filled in, capitalized."""
    small = subject.lower() if subject in ("He", "She") else subject
    text = fact_.says.format(N=subject, S=small, P=possessive, N2=object_, p=inner)
    return text[0].upper() + text[1:]


def by_name(fact_: Fact, name: str, language: str) -> str:
    """The fact's statement about ``name`` in the third person, by name."""
    own = name if language == "zh" else f"{name}'s"
    return statement(fact_, name, own, name, own)


def by_pronoun(fact_: Fact, gender: str, language: str) -> str:
    """The fact's statement with a pronoun as its subject. ``gender``: "m" or "f"."""
    if language == "zh":
        he = "他" if gender == "m" else "她"
        return statement(fact_, he, he, he, he)
    return statement(fact_, *(("He", "His", "him", "his") if gender == "m" else ("She", "Her", "her", "her")))
