"""Random role cards as people write them: facts under labels, joined, with extra clauses, among unrelated sentences."""

from __future__ import annotations

import re

from egosrag.prompts import render
from egosrag.schema import Role
from finetune.pocket.grammar import roles
from finetune.pocket.grammar.names import Dice
from finetune.pocket.grammar.sample import table

LABELS = ("background", "personality", "speaking_style", "relations")  # in the order of the card


def _values(d: Dice) -> dict[str, str]:
    """Random values for the placeholders of the card templates."""
    job = d.of(table("lexicon", d.language)["job"])
    return {
        "t": d.place(),
        "v": d.name(),
        "k": roles.thing(d),
        "j": job if d.zh else f"{roles.article(job)} {job}",
        "n": d.amount(3, 60),
        "d": d.of(table("lexicon", d.language)["day"]),
    }


def filler(d: Dice) -> roles.Fact:
    """A sentence of a card that no question is about."""
    if d.chance(0.5):
        return roles.fact(d, "story")._replace(kind="filler", label=d.of(LABELS[:2]))
    label = d.of(LABELS)
    if d.chance(0.4):
        says = "{N}" + (f"{roles.random_words(d, 4, 9)}。" if d.zh else f" {roles.random_words(d, 3, 8)}.")
        return roles.Fact("filler", label, says, "", "", "")
    text = d.wording(table("cards", d.language)["fillers"][label])
    says = text.format(**_values(d), N="{N}", S="{S}", N2="{N2}", P="{P}", p="{p}")
    return roles.Fact("filler", label, says, "", "", "")


def _tail(d: Dice, label: str) -> str:
    """A clause that no question is about; many are random, so that none can be memorized."""
    if d.chance(0.15):
        return ("，" if d.zh else ", ") + roles.random_words(d, 2, 6)
    if d.chance(0.5) and label == "relations":
        clause = "，{act}过{whom}" if d.zh else d.of([", who", " and"]) + " {act} {whom}"
        return clause.format(**roles.event(d))
    if d.chance(0.5) and not d.zh:
        return f" {roles.event(d)['end']}"
    return d.wording(table("cards", d.language)["tails"][label]).format(**_values(d))


def _has_character_as_subject(says: str) -> bool:
    """Whether the character itself is the subject of a statement template."""
    return says.startswith("{N}") and not says.startswith(
        ("{N}的", "{N}（", "{N},", "{N} and ", "{N}和", "{N}跟", "{N}与")
    )


def _joined(d: Dice, before: str, fact: roles.Fact, gender: str, drop: bool) -> str:
    """``before`` and ``fact`` as one sentence; the second subject is a pronoun or, with ``drop``, left out."""
    own = roles.by_pronoun(fact, gender, d.language)
    if d.zh:
        return f"{before[:-1]}，{own[1:] if drop else own}"
    if drop:
        return f"{before[:-1]} and {own.split(' ', 1)[1]}"
    return f"{before[:-1]}, and {own[0].lower()}{own[1:]}"


def make_role(d: Dice, name: str, facts: list[roles.Fact], dialogue: list[dict[str, str]]) -> Role:
    """A card with the facts under their labels, by name or by pronoun; its first sentence may have a longer name."""
    lines: dict[str, list[str]] = {}
    gender, with_pronoun = d.of("mf"), d.chance(0.5)
    looseness = d.level * d.of((0, 0.15, 0.35))  # how freely this card is written
    full_name = f"{name} {d.name()}" if not d.zh and d.chance(0.35) else name
    others = [filler(d) for _ in range(d.random.randint(1, 4))] if d.chance(2 * looseness) else []
    statements = d.random.sample([*facts, *others], len(facts) + len(others))
    first, as_subject = True, False
    for label in LABELS:  # in the order of the card: a pronoun needs a name before it
        texts = lines.setdefault(label, [])
        for f in (f for f in statements if f.label == label):
            if texts and f.says.startswith(("{N}", "{P}")) and d.chance(looseness):
                texts[-1] = _joined(
                    d, texts[-1], f, gender, as_subject and _has_character_as_subject(f.says) and d.chance(0.7)
                )
            else:
                text = roles.by_pronoun(f, gender, d.language) if with_pronoun and not first else ""
                texts.append(text or roles.by_name(f, full_name if first else name, d.language))
            if d.chance(looseness) and texts[-1][-2] not in '"”）' and not re.search("：|: ", texts[-1]):
                texts[-1] = texts[-1][:-1] + _tail(d, label) + texts[-1][-1]
            first, as_subject = False, _has_character_as_subject(f.says)
    return Role.model_validate({"name": name, "sample_dialogue": dialogue, **lines})


def framed_question(d: Dice, ask: str, name: str) -> str:
    """The question ``ask`` as people ask it: after a greeting, with the name."""
    frame: str = d.wording(table("cards", d.language)["frames"])
    if "{open}" in frame:
        return frame.format(open=ask[:-1], N=name) if ask[-1] in "?？" and ask[-2] != "吗" else ask
    at = frame.index("{ask}")
    if not d.zh and at and frame[at - 2] not in ".!?":
        ask = ask[0].lower() + ask[1:]
    return frame.format(ask=ask, N=name)


def unanswerable_question(d: Dice) -> str:
    """A question that no card answers."""
    values = _values(d) | {"p": d.place(), "t": roles.thing(d)}
    return str(d.wording(table("cards", d.language)["outside"]).format(**values))


def sample_dialogue(d: Dice, name: str, ask: str, answer: str) -> list[dict[str, str]]:
    """The sample dialogue of a card: one exchange."""
    return [{"speaker": render.USER[d.language], "text": ask}, {"speaker": name, "text": answer}]
