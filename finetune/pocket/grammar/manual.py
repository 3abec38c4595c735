"""Samples of manual QA: passages with facts, a question and the sentence that answers it; follow-up questions."""

from __future__ import annotations

from typing import NamedTuple

from egosrag.prompts import load, render
from egosrag.schema import Passage
from finetune.pocket.grammar.names import Dice
from finetune.pocket.grammar.sample import Sample, prompt_messages, table


class Entry(NamedTuple):
    """A fact of a manual: its text, a question about it, the part it is about, and its key value.

    ``check`` is a yes-or-no question about it ("" if there is none) and ``verdict`` the answer to that.
    """

    kind: str
    text: str
    ask: str
    part: str
    value: str
    check: str = ""
    verdict: str = ""


def random_part(d: Dice) -> str:
    """A part of a machine, often with a distinguishing word before it; in English with its article."""
    words = table("manual", d.language)["words"]
    noun, roll = d.common(words["part"]), d.random.random()
    first = d.of(words["kind"]) if roll < 0.25 else d.word() if roll < 0.5 else ""
    if d.zh:
        return first + noun
    return "the " + (f"{first} " if first else "") + noun


def _action(d: Dice) -> str:
    """A random operation of a control."""
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
    """A random type code."""
    letters = "".join(d.random.choices("ABCDEFGHKLMNPRSTVWX", k=d.random.randint(1, 3)))
    return letters + d.of(["", "-"]) + d.number(2, 9999)


def _capitalized(text: str) -> str:
    return text[0].upper() + text[1:]


# The value that answers a question of each kind; the other kinds are answered by their advice or fault.
_ANSWER_VALUE = {
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


def random_entry(d: Dice, kind: str | None = None, about: str | None = None) -> Entry:
    """A random fact of ``kind`` about the part ``about``; both random if None."""
    facts = table("manual", d.language)["facts"]
    kind = kind or d.of(list(facts))
    about = about or random_part(d)
    values = _entry_values(d, kind, about)
    template = d.wording(facts[kind]["says"])
    key = _ANSWER_VALUE.get(kind, "advice" if "advice" in template else "fault")
    if kind == "howto" and "Act" in template:
        key = "Act"
    if kind == "where" and "Loc" in template:
        key = "Loc"
    text, ask = template.format(**values), d.wording(facts[kind]["asks"]).format(**values)
    checks = table("manual", d.language)["checks"].get(kind)
    if not checks or kind == "where" and key == "Loc":
        return Entry(kind, text, ask, about, values[key])
    is_true = d.chance(0.5)
    check = d.wording(checks).format(**values, c=values[key] if is_true else _other_value(d, kind, values))
    verdict = table("manual", d.language)["verdicts"][is_true]
    return Entry(kind, text, ask, about, values[key], check, verdict + ("" if d.zh else " "))


def _entry_values(d: Dice, kind: str, about: str) -> dict[str, str]:
    """Random values for the placeholders of the templates of a fact about the part ``about``."""
    words = table("manual", d.language)["words"]
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
    return {
        "x": about,
        "X": _capitalized(about),
        "verb": verb,
        "Verb": _capitalized(verb),
        "act": act,
        "Act": _capitalized(act),
        "act2": _action(d),
        "q": d.of(words["quantity"]),
        "val": number + ("" if d.zh else " ") + d.of(words["unit"]),
        "num": number,
        "loc": loc,
        "Loc": _capitalized(loc),
        "colour": d.of(words["colour"]),
        "fault": fault,
        "advice": advice,
        "n": d.number(2, 99) + d.of(["", "", "000"]),
        "period": d.of(words["period"]),
        "code": _code(d),
        "other": other,
        "while": d.of(words["while"]),
        "fluid": fluid,
        "w": service,
        "control": d.of(words["control"]),
    }


def _other_value(d: Dice, kind: str, values: dict[str, str]) -> str:
    """A value of ``kind`` that is not the fact's."""
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


def _question_and_answer(d: Dice, entry: Entry) -> tuple[str, str]:
    """A question about ``entry``, sometimes a yes-or-no question, and its answer."""
    if entry.check and d.chance(0.3):
        return entry.check, entry.verdict + entry.text
    return entry.ask, entry.text


def _section(d: Dice) -> str:
    """A section path of one or two headings, or none."""
    if d.chance(0.3):
        return ""
    heads = [_capitalized(random_part(d).removeprefix("the ")) for _ in range(d.random.randint(1, 2))]
    return " > ".join(heads)


def _split(d: Dice, sentences: list[str]) -> list[Passage]:
    """The sentences as passages of one to four, some beginning in mid-sentence as the splitter's windows do."""
    passages, at = [], 0
    longest = d.count(max(1, len(sentences) // 4), 4)
    while at < len(sentences):
        take = d.random.randint(1 + (len(sentences) > 5), max(longest, 2))
        text = ("" if d.zh else " ").join(sentences[at : at + take])
        if d.chance(0.15):
            extra = random_entry(d).text
            cut = extra[d.random.randrange(len(extra) // 3, len(extra)) :]
            text = cut + ("" if d.zh else " ") + text
        page = d.random.randint(1, 400)
        passages.append(Passage(id="", source="", page=page, start=0, end=0, text=text, section=_section(d)))
        at += take
    return passages


def manual_sample(d: Dice) -> Sample:
    """Family "manual": the sentence of the passages that answers the question, or the refusal."""
    refusal = load("refusal", d.language).text()
    entries: list[Entry] = []
    for _ in range(d.count(2, 9)):
        again = entries and d.chance(0.2)
        about = entries[-1].part if again else None
        kinds = [
            k for k in table("manual", d.language)["facts"] if k not in {e.kind for e in entries if e.part == about}
        ]
        entries.append(random_entry(d, d.of(kinds), about))
    sentences = [e.text for e in entries]
    if d.chance(0.3):
        sentences.insert(d.random.randrange(len(sentences) + 1), d.of(table("manual", d.language)["words"]["filler"]))
    order = d.random.sample(entries, min(len(entries), 1 + (d.random.randint(1, 7) if d.chance(0.75) else 0)))
    current, history = order[0], [_question_and_answer(d, e) for e in order[1:]]
    history = [(_absent_entry(d, entries).ask, refusal) if d.chance(0.2) else turn for turn in history]
    if d.chance(0.22):
        question, answer, value = _absent_entry(d, entries).ask, refusal, refusal
    else:
        question, answer, value = *_question_and_answer(d, current), current.value
    d.random.shuffle(sentences)
    if d.chance(0.12):
        sentences = [f"{n}. {text}" for n, text in enumerate(sentences, 1)]
    passages = _split(d, sentences)
    rendered = prompt_messages(
        "answer", d.language, refusal=refusal, passages=render.passages(passages, d.language),
        history=render.question_history(history, d.language), question=question,
    )  # fmt: skip
    spans, mark = [a for _, a in history], "答：" if d.zh else "A: "
    return Sample(
        "manual", d.language, rendered, answer, value, tuple(mark + a for a in spans), tuple(sentences), question,
        tuple(p.text for p in passages),
    )  # fmt: skip


# Kinds of facts that partly answer each other's questions: a fact is absent only if none of its group is there.
_RELATED = (
    {"often", "lasts"},
    {"fail", "if", "lamp"},
    {"why", "use", "howto"},
    {"value", "within", "holds", "type", "levels"},
)


def _absent_entry(d: Dice, entries: list[Entry]) -> Entry:
    """A fact whose question none of ``entries`` answers, sometimes about a part that they mention."""
    near = d.of(entries).part if d.chance(0.3 * d.level) else None
    while True:
        other = random_entry(d, about=near)
        related = next((group for group in _RELATED if other.kind in group), {other.kind})
        if not any(e.part == other.part and e.kind in related for e in entries):
            return other


_IT = {"en": ("it", "It"), "zh": ("它", "它")}


def condense_sample(d: Dice) -> Sample:
    """Family "condense": a follow-up rewritten as a standalone question, with the part in place of the pronoun."""
    kinds = [k for k in table("manual", d.language)["facts"] if k not in ("use", "code")]
    about = random_part(d)
    first = random_entry(d, d.of(kinds), about)
    follow_up = random_entry(d, d.of([k for k in kinds if k != first.kind]), about)
    it, cap = _IT[d.language]
    question = follow_up.ask.replace(about, it).replace(_capitalized(about), cap)
    history = [(first.ask, first.text)]
    if d.chance(0.3):
        other = random_entry(d)
        history.insert(0, (other.ask, other.text))
    if d.chance(0.2):
        question = follow_up.ask
    rendered = prompt_messages(
        "condense", d.language, history=render.question_history(history, d.language), question=question
    )
    return Sample("condense", d.language, rendered, follow_up.ask, about, (), tuple(q for q, _ in history), question)
