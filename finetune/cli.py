"""Command line of every ``python -m finetune.X``: a dataclass of settings, filled from ``--config FILE`` and options.

The YAML file and the command line take the same keys, and the command line wins. An unknown key is an error whose
message names the key that was probably meant.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from egosrag.errors import EgosRagError, SettingsError

T = TypeVar("T")

# Names of the same settings in transformers and LLaMA-Factory: the most likely wrong keys.
_SYNONYMS = {
    "learning_rate": "lr",
    "lr_scheduler_type": "schedule",
    "warmup_ratio": "warmup",
    "warmup_steps": "warmup",
    "num_train_epochs": "epochs",
    "per_device_train_batch_size": "micro_batch",
    "gradient_accumulation_steps": "batch_size",
    "gradient_checkpointing": "activation_checkpointing",
    "output_dir": "out",
    "model_name_or_path": "model",
    "dataset": "data",
    "cutoff_len": "max_length",
    "max_samples": "max_rows",
    "bf16": "precision",
    "finetuning_type": "lora",
    "lora_rank": "lora_r",
    "lora_target": "lora_targets",
    "logging_steps": "log_steps",
    "save_total_limit": "keep",
    "resume_from_checkpoint": "resume",
    "overwrite_output_dir": "overwrite",
}


def required(help_text: str) -> Any:
    """A field of a settings dataclass that must be set; ``help_text`` is shown by ``--help``."""
    return dataclasses.field(metadata={"help": help_text})


def setting(default: Any, help_text: str) -> Any:
    """A field of a settings dataclass with a default; ``help_text`` is shown by ``--help``."""
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata={"help": help_text})
    return dataclasses.field(default=default, metadata={"help": help_text})


class _Parser(argparse.ArgumentParser):
    """An argument parser that raises ``SettingsError`` instead of exiting."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message}; --help lists every key")


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of the description and adds the defaults."""


def parse(kind: type[T], argv: Sequence[str], *, name: str | None = None, doc: str | None = None) -> T:
    """Fill the dataclass ``kind`` from ``--config`` and the command line.

    Args:
        kind: a dataclass whose fields come from ``required`` and ``setting``.
        argv: the arguments after the command's name.
        name: the command's module, for ``--help``.
        doc: the text that ``--help`` opens with; the class docstring if None.

    Raises:
        SettingsError: a key is unknown, missing, or has a value of the wrong type.
    """
    from transformers import HfArgumentParser

    class SettingsParser(_Parser, HfArgumentParser):
        """HfArgumentParser with the error handling of ``_Parser``."""

    parser = SettingsParser(
        kind,
        prog=f"python -m {name}" if name else None,
        description=doc or kind.__doc__,
        allow_abbrev=False,
        formatter_class=_HelpFormatter,
    )
    parser.add_argument("--config", metavar="FILE", help="a YAML file with the keys above")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    known = [f.name for f in dataclasses.fields(kind)]  # type: ignore[arg-type]
    config_parser = _Parser(add_help=False, allow_abbrev=False)
    config_parser.add_argument("--config")
    config, _ = config_parser.parse_known_args(argv)
    # The file's arguments come first, so that the command line overrides them.
    arguments = (_yaml_arguments(config.config, known) if config.config else []) + list(argv)
    values, _, rest = parser.parse_args_into_dataclasses(
        arguments, return_remaining_strings=True, look_for_args_file=False
    )
    if rest:
        unknown = [word[2:].split("=")[0].replace("-", "_") for word in rest if word.startswith("--")]
        raise SettingsError(_unknown_keys(unknown or rest, known, "the command"))
    return values  # type: ignore[no-any-return]


def _yaml_arguments(path: str, known: Sequence[str]) -> list[str]:
    """The file's keys as command-line arguments, so that the same rules check both."""
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read --config {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise SettingsError(f"{path} is not a configuration: it should be lines of 'key: value'")
    unknown = [str(key) for key in values if key not in known]
    if unknown:
        raise SettingsError(_unknown_keys(unknown, known, path))
    arguments: list[str] = []
    for key, value in values.items():
        if isinstance(value, list):
            arguments += [f"--{key}", *map(str, value)]
        elif value is not None:
            arguments.append(f"--{key}={str(value).lower() if isinstance(value, bool) else value}")
    return arguments


def _unknown_keys(keys: Sequence[str], known: Sequence[str], where: str) -> str:
    named = []
    for key in keys:
        close = difflib.get_close_matches(key, [*known, *_SYNONYMS], n=1, cutoff=0.7)
        meant = _SYNONYMS.get(close[0], close[0]) if close else None
        named.append(f"{key} (did you mean {meant}?)" if meant in known else key)
    return f"unknown in {where}: {', '.join(named)}; --help lists every key"


def run_command(
    name: str, kind: type[T], run: Callable[[T], object], argv: Sequence[str] | None = None, *, doc: str | None
) -> int:
    """Parse the settings, run the command, and report an error in one line on standard error.

    Args:
        name: the command's module.
        kind: the command's settings dataclass.
        run: the command.
        argv: the arguments after the command's name; ``sys.argv`` if None.
        doc: the text that ``--help`` opens with.

    Returns:
        The exit code: 0 done, 1 it could not be done, 2 wrong usage.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        run(parse(kind, arguments, name=name, doc=doc))
    except EgosRagError as error:
        if "--debug" in arguments:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, SettingsError) else 1
    except KeyboardInterrupt:
        print("interrupted: continue from the last checkpoint with --resume true", file=sys.stderr)
        return 1
    return 0
