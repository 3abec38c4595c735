"""Manual questions: passages with facts, a question, the fact's sentence for an answer; follow-ups to condense."""

from __future__ import annotations

from typing import NamedTuple

from egosrag.prompts import load, render
from egosrag.schema import Passage
from finetune.pocket.grammar.names import Dice
from finetune.pocket.grammar.sample import Sample, messages, table


class Entry(NamedTuple):
    """A fact of a manual: its sentence or sentences, its question, the part it is about, and its key value.

    ``check`` asks whether it is so, "" where that cannot be asked, and ``verdict`` answers that.
    """

    kind: str
    text: str
    ask: str
    part: str
    value: str
    check: str = ""
    verdict: str = ""


def part(d: Dice) -> str:
    """A part, often with a word before it that tells it from others; in English with its article."""
    words = table("manual", d.language)["words"]
    noun, roll = d.common(words["part"]), d.random.random()
    first = d.of(words["kind"]) if roll < 0.25 else d.word() if roll < 0.5 else ""
    if d.zh:
        return first + noun
    return "the " + (f"{first} " if first else "") + noun


def _action(d: Dice) -> str:
    words = table("manual", d.language)["words"]
    move, control = d.of(words["move"]), d.of(words["control"])
    if d.zh:
        if d.chance(0.4):
            return f"{d.of(['长按', '按住', '压住'])}{d.word() if d.chance(0.3) else ''}{control}{d.number(2, 99)}秒"
        where = f"{d.of(words['place'])}{d.of(words['prep'])}的" if d.chance(0.5) else ""
        return f"{move}{where}{d.word() if d.chance(0.3) else ''}{control}"
    tail = d.of(
        [
            "",
            f" for {d.number(2, 99)} seconds",
            f" {d.of(words['prep'])} the {d.of(words['place'])}",
            f" {d.number(2, 9)} times",
            " to the left",
            " upwards",
        ]
    )
    return f"{move} the {d.word() + ' ' if d.chance(0.3) else ''}{control}{tail}"


def _code(d: Dice) -> str:
    letters = "".join(d.random.choices("ABCDEFGHKLMNPRSTVWX", k=d.random.randint(1, 3)))
    return letters + d.of(["", "-"]) + d.number(2, 9999)


def _cap(text: str) -> str:
    return text[0].upper() + text[1:]


def entry(d: Dice, kind: str | None = None, about: str | None = None) -> Entry:
    """A random fact about a part."""
    facts, words = table("manual", d.language)["facts"], table("manual", d.language)["words"]
    kind = kind or d.of(list(facts))
    x = about or part(d)
    says, asks = facts[kind]["says"], facts[kind]["asks"]
    other = d.common(words["part"])
    number = d.decimal()
    act = _action(d)
    if d.zh:
        loc = f"{d.word() if d.chance(0.3) else ''}{d.of(words['place'])}{d.of(words['prep'])}"
    else:
        loc = f"{d.of(words['prep'])} the {d.word() + ' ' if d.chance(0.3) else ''}{d.of(words['place'])}"
    count = d.number(2, 60)
    fluid, service = d.of(words["fluid"]), d.word()
    fault = d.of(words["fault"]).format(x=other)
    advice = d.of(words["advice"]).format(x=other, f=fluid, w=service, n=count)
    verb = d.of(words["verb"])
    if kind == "code":
        service = service if d.zh else service.capitalize()
    values = {"x": x, "X": _cap(x), "verb": verb, "Verb": _cap(verb), "act": act, "Act": _cap(act), "act2": _action(d)}
    values |= {"q": d.of(words["quantity"]), "val": number + ("" if d.zh else " ") + d.of(words["unit"]), "num": number}
    values |= {"loc": loc, "Loc": _cap(loc), "colour": d.of(words["colour"]), "fault": fault, "advice": advice}
    values |= {"n": d.number(2, 99) + d.of(["", "", "000"]), "period": d.of(words["period"])}
    values |= {"code": _code(d), "other": other}
    values |= {"while": d.of(words["while"]), "fluid": fluid, "w": service, "control": d.of(words["control"])}
    said = d.wording(says)
    gold = {
        "howto": "act",
        "value": "val",
        "where": "loc",
        "often": "n",
        "holds": "num",
        "type": "code",
        "lasts": "n",
        "within": "val",
        "levels": "n",
        "why": "x",
        "use": "x",
        "never": "while",
        "fail": "advice",
    }
    key = gold.get(kind, "advice" if "advice" in said else "fault")
    if kind == "howto" and "Act" in said:
        key = "Act"
    if kind == "where" and "Loc" in said:
        key = "Loc"
    text, ask = said.format(**values), d.wording(asks).format(**values)
    checks = table("manual", d.language)["checks"].get(kind)
    if not checks or kind == "where" and key == "Loc":
        return Entry(kind, text, ask, x, values[key])
    holds = d.chance(0.5)
    check = d.wording(checks).format(**values, c=values[key] if holds else _otherwise(d, kind, values))
    verdict = table("manual", d.language)["verdicts"][holds]
    return Entry(kind, text, ask, x, values[key], check, verdict + ("" if d.zh else " "))


def _otherwise(d: Dice, kind: str, values: dict[str, str]) -> str:
    """A value of ``kind`` that is not the one that is told."""
    words = table("manual", d.language)["words"]
    while True:
        if kind == "where":
            place, prep = d.of(words["place"]), d.of(words["prep"])
            other = place + prep if d.zh else f"{prep} the {place}"
        elif kind == "type":
            other = _code(d)
        elif kind in ("value", "within"):
            unit = values["val"].removeprefix(values["num"])
            other = d.decimal() + unit
        else:
            other = d.number(2, 99)
        if other not in (values["loc"], values["code"], values["val"], values["n"], values["num"]):
            return other


def _asked(d: Dice, entry: Entry) -> tuple[str, str]:
    """How ``entry`` is asked for, now and then by yes or no, and the answer."""
    if entry.check and d.chance(0.3):
        return entry.check, entry.verdict + entry.text
    return entry.ask, entry.text


def _sections(d: Dice) -> str:
    if d.chance(0.3):
        return ""
    heads = [_cap(part(d).removeprefix("the ")) for _ in range(d.random.randint(1, 2))]
    return " > ".join(heads)


def _split(d: Dice, sentences: list[str]) -> list[Passage]:
    """The sentences as passages of one to four, some cut off at their head as windows are."""
    found, at = [], 0
    longest = d.count(max(1, len(sentences) // 4), 4)
    while at < len(sentences):
        take = d.random.randint(1 + (len(sentences) > 5), max(longest, 2))
        text = ("" if d.zh else " ").join(sentences[at : at + take])
        if d.chance(0.15):
            extra = entry(d).text
            cut = extra[d.random.randrange(len(extra) // 3, len(extra)) :]
            text = cut + ("" if d.zh else " ") + text
        page = d.random.randint(1, 400)
        found.append(Passage(id="", source="", page=page, start=0, end=0, text=text, section=_sections(d)))
        at += take
    return found


def answer(d: Dice) -> Sample:
    """Family 2: the sentence of the passages that answers, or the refusal."""
    refusal = load("refusal", d.language).text()
    entries: list[Entry] = []
    for _ in range(d.count(2, 9)):
        again = entries and d.chance(0.2)
        about = entries[-1].part if again else None
        kinds = [
            k for k in table("manual", d.language)["facts"] if k not in {e.kind for e in entries if e.part == about}
        ]
        entries.append(entry(d, d.of(kinds), about))
    sentences = [e.text for e in entries]
    if d.chance(0.3):
        sentences.insert(d.random.randrange(len(sentences) + 1), d.of(table("manual", d.language)["words"]["filler"]))
    order = d.random.sample(entries, min(len(entries), 1 + (d.random.randint(1, 7) if d.chance(0.75) else 0)))
    asked, history = order[0], [_asked(d, e) for e in order[1:]]
    history = [(_absent(d, entries).ask, refusal) if d.chance(0.2) else turn for turn in history]
    refused = d.chance(0.22)
    ask, text, value = (_absent(d, entries).ask, refusal, refusal) if refused else (*_asked(d, asked), asked.value)
    d.random.shuffle(sentences)
    if d.chance(0.12):
        sentences = [f"{n}. {text}" for n, text in enumerate(sentences, 1)]
    passages = _split(d, sentences)
    rendered = messages(
        "answer", d.language, refusal=refusal, passages=render.passages(passages, d.language),
        history=render.question_history(history, d.language), question=ask,
    )  # fmt: skip
    spans, mark = [a for _, a in history], "答：" if d.zh else "A: "
    return Sample(
        "manual", d.language, rendered, text, value, tuple(mark + a for a in spans), tuple(sentences), ask,
        tuple(p.text for p in passages),
    )  # fmt: skip


# Kinds that answer each other's questions in part: a question is absent only where none of its group is there.
_NEAR = (
    {"often", "lasts"},
    {"fail", "if", "lamp"},
    {"why", "use", "howto"},
    {"value", "within", "holds", "type", "levels"},
)


def _absent(d: Dice, entries: list[Entry]) -> Entry:
    """A fact whose question none of ``entries`` answers, now and then about a part that they speak of."""
    near = d.of(entries).part if d.chance(0.3 * d.level) else None
    while True:
        other = entry(d, about=near)
        related = next((group for group in _NEAR if other.kind in group), {other.kind})
        if not any(e.part == other.part and e.kind in related for e in entries):
            return other


_IT = {"en": ("it", "It"), "zh": ("它", "它")}


def condense(d: Dice) -> Sample:
    """Family 5: a follow-up made to stand alone by putting the part back in place of the pronoun."""
    kinds = [k for k in table("manual", d.language)["facts"] if k not in ("use", "code")]
    about = part(d)
    first = entry(d, d.of(kinds), about)
    follow = entry(d, d.of([k for k in kinds if k != first.kind]), about)
    it, cap = _IT[d.language]
    last = follow.ask.replace(about, it).replace(_cap(about), cap)
    history = [(first.ask, first.text)]
    if d.chance(0.3):
        other = entry(d)
        history.insert(0, (other.ask, other.text))
    if d.chance(0.2):
        last = follow.ask
    rendered = messages("condense", d.language, history=render.question_history(history, d.language), question=last)
    return Sample("condense", d.language, rendered, follow.ask, about, (), tuple(q for q, _ in history), last)
