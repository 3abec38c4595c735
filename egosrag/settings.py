"""One frozen Settings for everything that can be chosen: flags > environment > file > defaults.

A flag is a keyword of :meth:`Settings.load`; the environment gives ``EGOSRAG_<FIELD>``; the file is
``egosrag.toml`` in the current folder, or the one named with ``--config``. A key that is no setting fails in
all three, with the setting that was probably meant.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

from platformdirs import user_cache_path, user_data_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from egosrag.errors import SettingsError
from egosrag.presets import PRESETS, preset

FILE = "egosrag.toml"
PREFIX = "EGOSRAG_"
_NO_SETTINGS = ("SERVE_", "APP_", "TEST_")  # of that environment: read where they count, and kept out of files and logs


class Settings(BaseModel):
    """Everything that can be chosen, checked once; ``assemble`` turns it into objects."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str | None = Field(None, description=f"a system of the report (7.3.2): {', '.join(PRESETS)}")
    model: str = Field("pocket", description="pocket, a hub id, a folder, deepseek:NAME, openai:NAME or scripted:FILE")
    adapter: str | None = Field(None, description="folder of a PEFT adapter, put on a local model")
    template: bool = Field(True, description="use the model's chat template; false for a base model (report 5.1, 5.2)")
    dtype: str | None = Field(None, description="a local model's number format, such as bfloat16; absent: its own")
    device: str | None = Field(None, description="where a local model runs, such as cpu or cuda:0; absent: the best")
    context_window: int | None = Field(None, ge=64, description="tokens of prompt and reply; absent: the model's own")
    prefix_style: Literal["vllm", "deepseek", "none"] | None = Field(
        None, description="how a served model is told to go on with a begun reply; vllm for llama.cpp's server too"
    )
    temperature: float = Field(0.0, ge=0, description="spread of sampling; 0 always takes the likeliest token")
    top_p: float = Field(1.0, gt=0, le=1, description="share of the probability that sampling draws from")
    max_new_tokens: int = Field(256, ge=1, description="tokens that one reply may have at most")
    seed: int | None = Field(None, description="makes sampling repeatable")

    embedder: str | None = Field(
        None, description="hub id or folder of a sentence-transformers model; absent: words alone (BM25)"
    )
    window: int = Field(300, ge=20, description="characters of one passage of a manual")
    overlap: int = Field(100, ge=0, description="characters that neighbouring passages share")
    top_k: int = Field(5, ge=1, description="passages that the model reads for one question")
    answers: Literal["auto", "model", "quote"] = Field(
        "auto", description="the model writes answers from the passages, or the manual is quoted; auto: as pays"
    )
    reranker: str | None = Field(
        None, description="hub id or folder of a cross-encoder for the first ten; absent: none"
    )
    condense: bool = Field(True, description="make follow-ups stand alone before they are searched for")
    decompose: bool = Field(False, description="let the model take a question apart that needs several facts")
    rewrites: int = Field(0, ge=0, le=3, description="rounds in which the model asks again while too little is found")
    unsupported: Literal["drop", "mark"] = Field(
        "drop", description="what becomes of a model's sentences that no passage tells"
    )

    history: Literal["single", "multiple"] | None = Field(
        None, description="past turns in one message, or one each; absent: as the model was trained"
    )
    quote: bool = Field(True, description="let a role speak between quotation marks (report 7.2.3)")
    prompt_tokens: int | None = Field(
        None, ge=64, description="tokens of a role's prompt before Summarize; absent: what the model's window leaves"
    )
    memory: Literal["static", "dynamic", "both", "none"] = Field(
        "both", description="static: scenes stand for old turns; dynamic: a line finds the old turns it needs"
    )
    strategy: Literal["static", "dynamic", "none"] | None = Field(
        None, description="sources of a role become a card, are searched for each line, or are read raw; absent: a card"
    )
    extract_model: str | None = Field(None, description="the model of Extract; absent: the one that speaks")
    keep_turns: int = Field(4, ge=0, description="last turns that Summarize leaves as they are")
    store: str | None = Field(
        None, description="where sessions are kept: an SQLite file or postgresql://...; absent: in data_dir"
    )

    data_dir: Path = Field(
        default_factory=lambda: user_data_path("egosrag"), description="folder of what should stay: sessions"
    )
    cache_dir: Path = Field(
        default_factory=lambda: user_cache_path("egosrag"), description="folder of what can be made again: indexes"
    )

    @field_validator("data_dir", "cache_dir")
    @classmethod
    def _at_home(cls, path: Path) -> Path:
        return path.expanduser()

    @model_validator(mode="before")
    @classmethod
    def _of_preset(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not values.get("preset"):
            return values
        chosen = preset(values["preset"])
        if "model" in values:
            chosen.pop("adapter", None)  # it was trained on the preset's own model
        return {**chosen, **values}

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.overlap >= self.window:
            raise ValueError(f"overlap ({self.overlap}) must be smaller than window ({self.window})")
        return self

    @property
    def sessions(self) -> str:
        """The session store: a file's path, or a ``postgresql://`` URL."""
        return self.store or str(self.data_dir / "sessions.sqlite")

    @classmethod
    def load(cls, config: Path | None = None, **flags: Any) -> Self:
        """The settings from all four places.

        Args:
            config: a TOML file that must exist; without it ``egosrag.toml`` is read where there is one.
            **flags: settings by name; those that are None were not given.

        Raises:
            SettingsError: a key is unknown, a value does not fit, or the file cannot be read.
        """
        file, file_values = _from_file(config)
        environment = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in os.environ.items()
            if name.startswith(PREFIX) and not name.removeprefix(PREFIX).startswith(_NO_SETTINGS) and value != ""
        }
        given = {k: v for k, v in flags.items() if v is not None}
        merged: dict[str, Any] = {}
        for place, values in ((file, file_values), ("the environment", environment), ("the call", given)):
            _known(values, place)
            if values.get("preset"):  # what it chooses counts as if it had been written here, key by key
                merged = {key: value for key, value in merged.items() if key not in preset(values["preset"])}
            merged |= values
        try:
            return cls(**merged)
        except ValidationError as error:
            raise SettingsError("; ".join(_problem(e) for e in error.errors())) from error


def _from_file(config: Path | None) -> tuple[str, dict[str, Any]]:
    try:
        path = Path(config or FILE)
    except TypeError as error:
        raise SettingsError(f"config is {config!r}: give it the path of a TOML file") from error
    if not path.is_file():
        if config:
            raise SettingsError(f"there is no settings file {config}: give --config the path of a TOML file")
        return str(path), {}
    try:
        return str(path), tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} cannot be read as TOML: {error}") from error


def _known(values: Mapping[str, Any], place: str) -> None:
    unknown = [key for key in values if key not in Settings.model_fields]
    if not unknown:
        return
    hints = []
    for key in unknown:
        near = get_close_matches(key, Settings.model_fields, n=1)
        hints.append(f"{key} (did you mean {near[0]}?)" if near else key)
    known = ", ".join(Settings.model_fields)
    raise SettingsError(f"no such setting in {place}: {', '.join(hints)}; the settings are {known}")


def _problem(error: Any) -> str:
    name = ".".join(map(str, error["loc"]))
    message = error["msg"].removeprefix("Value error, ")
    return f"{name} is {error['input']!r}: {message[0].lower()}{message[1:]}" if name else message
