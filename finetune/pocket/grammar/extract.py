"""Samples of Extract: prose about a character and others to labelled statements."""

from __future__ import annotations

from finetune.pocket.grammar import roles
from finetune.pocket.grammar.names import Dice
from finetune.pocket.grammar.sample import Sample, prompt_messages, table


def extract_sample(d: Dice) -> Sample:
    """Family "extract": one line of label and statement for each fact about the character, in the source's order."""
    words, name, gender = table("extract", d.language), d.name(), d.of("mf")
    known, expected, prose, last = [], [], [], ""
    own = roles.facts(d, d.count(1, 5)) if d.chance(0.9) else []
    for f in own:
        while d.chance(0.3):
            if d.chance(0.5):
                other = d.name()
                prose.append(roles.by_name(roles.fact(d, d.of(list(roles.ATTRIBUTES[d.language]))), other, d.language))
                last = other
            else:
                prose.append(d.wording(words["scenery"]).format(p=d.place(), c=d.clock(), d=d.date()))
        line = words["labels"][f.label] + roles.by_name(f, name, d.language)
        with_pronoun = last == name and d.chance(0.6)
        prose.append(roles.by_pronoun(f, gender, d.language) if with_pronoun else roles.by_name(f, name, d.language))
        last = name
        (known if d.chance(0.12) else expected).append(line)
    if not own or d.chance(0.3):
        prose.append(d.wording(words["scenery"]).format(p=d.place(), c=d.clock(), d=d.date()))
    for f in roles.facts(d, d.count(0, 2)) if d.chance(0.3) else []:
        known.append(words["labels"][f.label] + roles.by_name(f, name, d.language))
    text = "\n".join(expected) or words["none"]
    source = ("" if d.zh else " ").join(prose)
    rendered = prompt_messages("extract", d.language, name=name, known="\n".join(known), source=source)
    return Sample("extract", d.language, rendered, text, text, (), tuple(prose), name)
