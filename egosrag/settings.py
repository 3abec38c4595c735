"""All settings in one frozen model: flags override the environment, that the settings files, those the defaults.

A flag is a keyword of :meth:`Settings.load`, an environment variable is ``EGOSRAG_<FIELD>``, and the file is
``egosrag.toml`` in the current folder or the one of ``--config``. Before it comes ``settings.toml`` in the data folder,
the user's settings, which ``egosrag models default`` writes. An unknown key in any of them is an error that suggests
the closest setting.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

from platformdirs import user_cache_path, user_data_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from egosrag.errors import SettingsError
from egosrag.presets import PRESETS, STYLES, Style, Unknown, preset

_FILE = "egosrag.toml"
_USER_FILE = "settings.toml"
_PREFIX = "EGOSRAG_"
# Environment variables that are not settings: the programs themselves read them, and no file or log shows them.
_NOT_SETTINGS = ("SERVE_", "APP_", "TEST_")


class Settings(BaseModel):
    """All settings, validated; ``egosrag.assemble`` builds the objects from them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str | None = Field(None, description=f"system of the report (7.3.2): {', '.join(PRESETS)}")
    model: str = Field(
        "pocket",
        description="chat model: pocket (embedded), a name of `egosrag models`, a GGUF file, a hub id, a folder, "
        "deepseek:NAME, openai:NAME or scripted:FILE; default: the one of `egosrag models default`, else pocket",
    )
    adapter: str | None = Field(None, description="folder of a PEFT adapter (LoRA) for a local model")
    template: bool = Field(True, description="use the model's chat template; false for a base model (report 5.1, 5.2)")
    dtype: str | None = Field(None, description="dtype of a local model, such as float32; default: by model and device")
    device: str | None = Field(None, description="device of a local model, such as cpu or cuda:0; default: the fastest")
    context_window: int | None = Field(
        None, ge=64, description="tokens of prompt and reply together; default: the model's context window"
    )
    prefix_style: Literal["vllm", "deepseek", "none"] | None = Field(
        None, description="how a server is asked to continue a given prefix; vllm also for SGLang and llama.cpp"
    )
    sampling: Style = Field(
        "model", description=f"how conversations are sampled, {' or '.join(STYLES)}: model as its publisher recommends"
    )
    temperature: float | None = Field(
        None, ge=0, description="sampling temperature, 0 is greedy; default: of conversations as sampling, else 0"
    )
    top_p: float | None = Field(
        None, gt=0, le=1, description="nucleus sampling: share of the probability mass to sample from"
    )
    sampling_top_k: int | None = Field(None, ge=0, description="number of likeliest tokens to sample from; 0 for all")
    min_p: float | None = Field(
        None, ge=0, le=1, description="leave out tokens below this share of the likeliest one's probability"
    )
    repetition_penalty: float | None = Field(
        None, gt=0, description="above 1: tokens that the text contains already become less likely"
    )
    max_new_tokens: int = Field(256, ge=1, description="token limit of one reply")
    seed: int | None = Field(None, description="random seed of sampling; default: a new one each time")

    embedder: str | None = Field(
        None, description="embedding model to combine with BM25: minilm, e5, a hub id or a folder; default: BM25 alone"
    )
    window: int = Field(300, ge=20, description="passage size in characters")
    overlap: int = Field(100, ge=0, description="characters that neighbouring passages share")
    top_k: int = Field(5, ge=1, description="number of retrieved passages in the prompt")
    answers: Literal["auto", "model", "quote"] = Field(
        "auto", description="model: it writes the answer; quote: the manual is quoted; auto: by what the model can do"
    )
    reranker: str | None = Field(
        None,
        description="reranks the first passages: a cross-encoder (hub id or folder), or model: the chat model, which "
        "takes seconds; default: none",
    )
    condense: bool = Field(True, description="rewrite a follow-up as a standalone question before retrieval")
    decompose: bool = Field(False, description="let the model split a question that needs several facts")
    rewrites: int = Field(
        0, ge=0, le=3, description="rounds of query rewriting by the model while the evidence is too weak"
    )
    unsupported: Literal["drop", "mark"] = Field(
        "drop", description="what to do with sentences of an answer that no passage supports"
    )

    history: Literal["single", "multiple"] | None = Field(
        None, description="past turns as one chat message, or one message each; default: as the model was trained"
    )
    quote: bool = Field(True, description="generate a role's speech in quotation marks (report 7.2.3)")
    unknown: Unknown = Field(
        "decline",
        description="a question of fact that a role's prompt does not answer: it says so (decline; local checkpoints "
        "only), or invents an answer (invent)",
    )
    prompt_tokens: int | None = Field(
        None, ge=64, description="token budget of a role's prompt, kept by Summarize; default: the context window's"
    )
    memory: Literal["static", "dynamic", "both", "none"] = Field(
        "both", description="static: scenes summarize old turns; dynamic: old turns are retrieved for each line"
    )
    strategy: Literal["static", "dynamic", "none"] | None = Field(
        None,
        description="a role's sources become a card (static), are searched for each line (dynamic), or enter the "
        "prompt as they are (none); default: static, or dynamic beside a card",
    )
    extract_model: str | None = Field(None, description="model for Extract; default: the chat model")
    keep_turns: int = Field(4, ge=0, description="number of last turns that Summarize leaves as they are")
    store: str | None = Field(
        None, description="session store: an SQLite file or a postgresql:// URL; default: a file in data_dir"
    )

    prompt_cache_mb: int = Field(
        512,
        ge=0,
        description="MiB on disk for what `egosrag chat` and `ask` have read with GGUF models, so that the next start "
        "need not read it again; 0 for none",
    )
    hub_mirror: str | None = Field(
        None, description="address of a mirror of the Hugging Face hub, which `egosrag models get` tries after it"
    )
    data_dir: Path = Field(
        default_factory=lambda: user_data_path("egosrag"),
        description="folder of what has to persist: sessions, models, the user's settings",
    )
    cache_dir: Path = Field(
        default_factory=lambda: user_cache_path("egosrag"), description="folder of what can be rebuilt: indexes"
    )

    @field_validator("data_dir", "cache_dir")
    @classmethod
    def _expand_home(cls, path: Path) -> Path:
        return path.expanduser()

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not values.get("preset"):
            return values
        defaults = preset(values["preset"])
        if "model" in values:
            defaults.pop("adapter", None)  # it was trained on the preset's own model
        return {**defaults, **values}

    @model_validator(mode="after")
    def _check_overlap(self) -> Self:
        if self.overlap >= self.window:
            raise ValueError(f"overlap ({self.overlap}) must be smaller than window ({self.window})")
        return self

    @property
    def session_store(self) -> str:
        """Where sessions are stored: the path of an SQLite file, or a ``postgresql://`` URL."""
        return self.store or str(self.data_dir / "sessions.sqlite")

    @property
    def models_dir(self) -> Path:
        """The folder of the models that ``egosrag models`` fetched."""
        return self.data_dir / "models"

    @property
    def saved_prompts_dir(self) -> Path:
        """The folder of the prompts that are saved between processes."""
        return self.cache_dir / "prompts"

    @classmethod
    def load(cls, config: Path | None = None, **flags: Any) -> Self:
        """The settings from flags, environment, settings file, the user's settings and defaults.

        Args:
            config: a TOML file that must exist; None reads ``egosrag.toml`` if there is one.
            **flags: settings by name; None for a flag that was not given.

        Raises:
            SettingsError: a key is unknown, a value is invalid, or the file cannot be read.
        """
        file, file_values = _read_file(config)
        environment = {
            name.removeprefix(_PREFIX).lower(): value
            for name, value in os.environ.items()
            if name.startswith(_PREFIX) and not name.removeprefix(_PREFIX).startswith(_NOT_SETTINGS) and value != ""
        }
        arguments = {name: value for name, value in flags.items() if value is not None}
        data_dir = (file_values | environment | arguments).get("data_dir") or user_data_path("egosrag")
        data_dir = Path(str(data_dir)).expanduser()
        user = (str(data_dir / _USER_FILE), user_settings(data_dir))
        merged: dict[str, Any] = {}
        for place, values in (
            user,
            (file, file_values),
            ("the environment", environment),
            ("the arguments", arguments),
        ):
            _check_keys(values, place)
            if values.get("preset"):  # its settings override the places before, as if they were written in this one
                merged = {key: value for key, value in merged.items() if key not in preset(values["preset"])}
            merged |= values
        try:
            return cls(**merged)
        except ValidationError as error:
            raise SettingsError("; ".join(_invalid_value(e) for e in error.errors())) from error


def _read_file(config: Path | None) -> tuple[str, dict[str, Any]]:
    try:
        path = Path(config or _FILE)
    except TypeError as error:
        raise SettingsError(f"config is {config!r}: give it the path of a TOML file") from error
    if config and not path.is_file():
        raise SettingsError(f"there is no settings file {config}: give --config the path of a TOML file")
    return str(path), _read_toml(path)


def _read_toml(path: Path) -> dict[str, Any]:
    """The values of a TOML file; none where there is no such file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} cannot be read as TOML: {error}") from error


def user_settings(data_dir: Path) -> dict[str, Any]:
    """The user's settings, in the data folder: those that hold in every folder.

    Raises:
        SettingsError: the file cannot be read as TOML.
    """
    return _read_toml(data_dir / _USER_FILE)


def save_default_model(data_dir: Path, model: str | None) -> None:
    """Write the model that is used where none is named into the user's settings; None removes it.

    Raises:
        SettingsError: the user's settings cannot be read as TOML.
        OSError: they cannot be written.
    """
    values = user_settings(data_dir) | {"model": model}
    # A JSON string, number or boolean is one of TOML too, and settings have no other values.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items() if value is not None]
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / _USER_FILE).write_text("".join(lines), encoding="utf-8")


def _check_keys(values: Mapping[str, Any], place: str) -> None:
    unknown = []
    for key in values:
        if key not in Settings.model_fields:
            close = get_close_matches(key, Settings.model_fields, n=1)
            unknown.append(f"{key} (did you mean {close[0]}?)" if close else key)
    if unknown:
        known = ", ".join(Settings.model_fields)
        raise SettingsError(f"no such setting in {place}: {', '.join(unknown)}; the settings are {known}")


def _invalid_value(error: Any) -> str:
    name = ".".join(map(str, error["loc"]))
    message = error["msg"].removeprefix("Value error, ")
    return f"{name} is {error['input']!r}: {message[0].lower()}{message[1:]}" if name else message
