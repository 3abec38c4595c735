"""The grammar that pocket is trained on: samples of every family, in two languages, generated from a seed."""

from __future__ import annotations

from collections.abc import Mapping

from finetune.pocket.grammar import extract, manual, talk
from finetune.pocket.grammar.names import Dice, is_held_out
from finetune.pocket.grammar.sample import Sample

__all__ = ["FAMILIES", "Dice", "Sample", "draw", "is_held_out", "mixed"]

FAMILIES = {
    "role": talk.role_answer,
    "manual": manual.answer,
    "summarize": talk.summary,
    "extract": extract.extract,
    "condense": manual.condense,
}


def draw(family: str, language: str, seed: str, *, split: str = "train", level: float = 1.0) -> Sample:
    """One sample; the same arguments give the same sample.

    Args:
        family: a key of ``FAMILIES``.
        language: "en" or "zh".
        seed: any text.
        split: "train"; "names" draws only words that training never sees, "wordings" held-out templates too.
        level: 0 (short samples) to 1 (as long as they get).
    """
    return FAMILIES[family](Dice(f"{seed}/{family}", language, split, level))


def mixed(shares: Mapping[str, float], number: int, seed: str, level: float) -> list[Sample]:
    """``number`` training samples, families by ``shares``, languages in turn; one in twelve is of full length."""
    dice = Dice(seed, "mix")
    families = dice.random.choices(list(shares), list(shares.values()), k=number)
    return [
        draw(f, ("en", "zh")[n % 2], f"{seed}/{n}", level=level if n % 24 > 1 else 1.0) for n, f in enumerate(families)
    ]
