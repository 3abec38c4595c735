"""The grammar that generates pocket's training samples: five families, two languages, reproducible from a seed.

In reading order: ``sample`` (one sample), ``names`` (random words, names and numbers), ``roles`` (facts about a
character), ``cards`` (role cards with such facts), then the families: ``conversation`` (role and summarize),
``manual`` (manual and condense), ``extract``. ``baseline`` scores answers. ``tables`` has the wordings.
"""

from __future__ import annotations

from collections.abc import Mapping

from finetune.pocket.grammar import conversation, extract, manual
from finetune.pocket.grammar.names import Dice, is_held_out
from finetune.pocket.grammar.sample import Sample

__all__ = ["FAMILIES", "Dice", "Sample", "draw", "draw_mixed", "is_held_out"]

FAMILIES = {
    "role": conversation.role_sample,
    "manual": manual.manual_sample,
    "summarize": conversation.summarize_sample,
    "extract": extract.extract_sample,
    "condense": manual.condense_sample,
}


def draw(family: str, language: str, seed: str, *, split: str = "train", level: float = 1.0) -> Sample:
    """Draw one sample; the same arguments give the same sample.

    Args:
        family: a key of ``FAMILIES``.
        language: "en" or "zh".
        seed: any text.
        split: "train"; "names" draws held-out words, which training never sees; "wordings" held-out templates too.
        level: 0 (short samples) to 1 (full length).
    """
    return FAMILIES[family](Dice(f"{seed}/{family}", language, split, level))


def draw_mixed(shares: Mapping[str, float], number: int, seed: str, level: float) -> list[Sample]:
    """Draw ``number`` training samples: families by ``shares``, languages in turn, one in twelve of full length."""
    dice = Dice(seed, "mix")
    families = dice.random.choices(list(shares), list(shares.values()), k=number)
    return [
        draw(f, ("en", "zh")[n % 2], f"{seed}/{n}", level=level if n % 24 > 1 else 1.0) for n, f in enumerate(families)
    ]
