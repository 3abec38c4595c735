"""Lorebooks as data: what a role's world knows, in the shape of character cards V2 and V3 (``character_book``)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Open(BaseModel):
    """What others may have written: keys that are not known are kept, null is as good as absent."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: item for key, item in value.items() if item is not None or key not in cls.model_fields}


class LoreEntry(_Open):
    """One entry of a lorebook: ``content`` is told when one of ``keys`` is spoken of (character card V2, V3)."""

    keys: tuple[str, ...] = ()
    content: str = ""
    enabled: bool = True
    insertion_order: float = Field(default=100, description="entries are told in this order")
    constant: bool = Field(default=False, description="told whatever is spoken of")
    selective: bool = Field(default=False, description="one of secondary_keys must be spoken of too")
    secondary_keys: tuple[str, ...] = ()
    case_sensitive: bool = False
    use_regex: bool = Field(default=False, description="the keys are regular expressions")
    priority: float = Field(default=0, description="the lowest is left out first where the budget is short")
    extensions: dict[str, Any] = Field(default_factory=dict)


class Lorebook(_Open):
    """What a role's world knows, told entry by entry when it is spoken of."""

    entries: tuple[LoreEntry, ...] = ()
    scan_depth: int = Field(default=4, ge=0, description="how many of the last lines are looked through for keys")
    token_budget: int | None = Field(default=None, ge=0, description="tokens that its entries may take together")
    recursive_scanning: bool = Field(default=False, description="entries that are told are looked through too")
