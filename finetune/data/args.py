"""Settings of the training data: where the rows come from and how they become token ids and labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from egosrag.errors import SettingsError
from finetune.cli import required, setting


@dataclass(kw_only=True)
class DataArgs:
    """Settings of the data; part of the settings of a training (``finetune.trainer.args.SftArgs``)."""

    data: list[str] = required("hub ids, or JSON, JSONL, Parquet, CSV or text files, or folders of such files")
    split: str = setting("train", "the split of a hub data set")
    shape: Literal["auto", "alpaca", "sharegpt", "chatml", "roleplay", "text"] = setting(
        "auto", "format of the rows; auto detects it from the columns"
    )
    bad_rows: Literal["skip", "fatal"] = setting("skip", "what to do with unusable rows: skip and count them, or stop")
    max_rows: int | None = setting(None, "use the first N rows only")
    max_length: int = setting(1024, "maximum tokens of a row; longer rows are truncated in the prompt")
    template: bool = setting(True, "render rows with the tokenizer's chat template")
    system: str | None = setting(None, "the system prompt of rows that have none of their own")
    loss: Literal["answer", "all"] = setting("answer", "tokens with a loss: the answers, or the prompts too")
    role: str | None = setting(None, "role-play: the character whose speech is trained, where the rows name none")
    profiles: str | None = setting(None, "role-play: a folder of role files, or a JSON object of name to description")
    quote: bool = setting(True, "role-play: speech between quotation marks, as Generate does by default")

    def __post_init__(self) -> None:
        if self.max_length < 1:
            raise SettingsError(f"max_length is {self.max_length}: give a number of at least 1")
