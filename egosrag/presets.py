"""The four systems of the report's case study (7.3.2), each one name for a set of settings.

``Settings.load(preset="EGOS-Small")``, ``egosrag chat --preset EGOS-Small`` and ``EGOSRAG_PRESET=EGOS-Small`` take
them; every setting beside the name replaces the preset's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from egosrag.errors import SettingsError

# The LoRA of report 4.2, where `python -m finetune.sft --config finetune/configs/lora_3b.yaml` leaves it.
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
    """The settings of a system of the report, by its name in any case.

    Raises:
        SettingsError: there is no such system.
    """
    if not isinstance(name, str):  # of a file, where anything can stand
        raise SettingsError(f"preset is {name!r}: take one of {', '.join(PRESETS)}")
    known = {key.casefold(): key for key in PRESETS}
    found = known.get(name.strip().casefold())
    if found is None:
        near = get_close_matches(name.strip().casefold(), known, n=1)
        hint = f" (did you mean {known[near[0]]}?)" if near else ""
        raise SettingsError(f"there is no preset {name!r}{hint}: take one of {', '.join(PRESETS)}")
    return dict(PRESETS[found])
