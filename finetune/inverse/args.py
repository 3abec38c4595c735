"""Settings of the inverse-data experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from egosrag.errors import SettingsError
from finetune.cli import setting
from finetune.trainer.args import SftArgs


@dataclass(kw_only=True)
class InverseArgs(SftArgs):
    """Settings of the inverse-data experiment: those of ``finetune.sft`` and the following."""

    arm: Literal["normal", "first", "last", "mixed"] = setting(
        "normal", "which part of the steps, if any, trains on inverse rows"
    )
    rows: int = setting(1000, "rows of the forward set, and of the inverse set")
    phases: Literal["one", "two"] = setting(
        "one", "arms first and last: one schedule for both halves, or two, each with a warm-up and a new optimizer"
    )
    seeds: list[int] = setting([1, 2, 3], "one run each; MMLU differences of less than a point need several")
    resume: bool = setting(False, "keep the finished seeds in out, and train the others")
    min_output: int = setting(
        20, "leave out rows whose output has fewer characters: it does not determine the instruction"
    )
    probe: int = setting(100, "number of trained and of held-out rows to measure inverse recall on")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rows < 1 or self.probe < 1 or not self.seeds:
            raise SettingsError("rows and probe must be at least 1 and seeds not empty: correct the configuration")
        if self.max_steps > 0:
            raise SettingsError("the arms are compared at equal steps, so set epochs and rows, not max_steps")
        if self.arm in ("first", "last") and self.epochs % 2:
            raise SettingsError(f"arm {self.arm} has two halves and epochs is {self.epochs:g}: give an even number")
