"""Presets: the four systems of the report's case study (7.3.2), each a name for a set of settings.

Select one with ``Settings.load(preset="EGOS-Small")``, ``egosrag chat --preset EGOS-Small`` or
``EGOSRAG_PRESET=EGOS-Small``; any setting given beside it overrides the preset's.

Beside them, the values of the settings ``sampling`` and ``unknown``.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Literal, get_args

from egosrag.errors import SettingsError

Style = Literal["model", "greedy", "precise", "creative"]
STYLES: tuple[Style, ...] = get_args(Style)
"""How a conversation is sampled: as the model's publisher recommends, or otherwise; see ``egosrag.models.sampling``."""

Unknown = Literal["decline", "invent"]
"""What a role does with a question of fact that its prompt does not answer; see ``egosrag.egos.grounding``."""

# The adapter is the LoRA of report 4.2, as `python -m finetune.sft --config finetune/configs/lora_3b.yaml` writes it.
_SMALL = {
    "model": "Qwen/Qwen2.5-3B",
    "adapter": "runs/lora_3b",
    "extract_model": "openai:gpt-4o",
    "strategy": "static",
    "quote": True,
    "history": "single",
    "memory": "both",
}
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "EGOS-Small": _SMALL,
        "EGOS-wo-quote": {**_SMALL, "quote": False},
        "EGOS-wo-Extract": {**_SMALL, "strategy": "none"},
        "EGOS-Large": {**_SMALL, "model": "deepseek:deepseek-chat", "adapter": None},
    }
)


def preset(name: str) -> dict[str, Any]:
    """The settings of a preset.

    Args:
        name: its name, case-insensitive.

    Raises:
        SettingsError: there is no such preset.
    """
    if not isinstance(name, str):  # a settings file can contain any type
        raise SettingsError(f"preset is {name!r}: take one of {', '.join(PRESETS)}")
    by_name = {key.casefold(): key for key in PRESETS}
    folded = name.strip().casefold()
    if folded not in by_name:
        close = get_close_matches(folded, by_name, n=1)
        hint = f" (did you mean {by_name[close[0]]}?)" if close else ""
        raise SettingsError(f"there is no preset {name!r}{hint}: take one of {', '.join(PRESETS)}")
    return dict(PRESETS[by_name[folded]])
