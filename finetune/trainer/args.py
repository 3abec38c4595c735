"""Settings of a training run: a dataclass, filled from ``--config FILE.yaml`` and then from ``--key value``.

The file and the command line take the same keys; the command line wins. A key that is not known fails, and the
message says which one was probably meant.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

from egosrag.errors import EgosRagError, SettingsError

T = TypeVar("T")

# What the same setting is called elsewhere (transformers, LLaMA-Factory): the likeliest wrong keys of all.
_ELSEWHERE = {
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


def _f(default: Any, text: str) -> Any:
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={"help": text})
    return field(default=default, metadata={"help": text})


@dataclass(kw_only=True)
class SftArgs:
    """Everything that one supervised or continued training needs; ``finetune/configs`` has an example of each."""

    model: str = field(metadata={"help": "what to start from: a hub id or a checkpoint folder"})
    out: str = field(metadata={"help": "the folder that gets the result"})
    data: list[str] = field(metadata={"help": "hub ids, or JSON, JSONL, Parquet, CSV or text files or folders of text"})
    split: str = _f("train", "the split of a hub data set")
    shape: Literal["auto", "alpaca", "sharegpt", "chatml", "roleplay", "text"] = _f(
        "auto", "how a row is laid out; auto tells by its columns"
    )
    bad_rows: Literal["skip", "fatal"] = _f("skip", "what to do with rows that cannot be used: count them, or stop")
    max_rows: int | None = _f(None, "use the first N rows only")
    max_length: int = _f(1024, "tokens of a row, at most; what is over is cut from the prompt")
    template: bool = _f(True, "render rows by the tokenizer's chat template")
    system: str | None = _f(None, "the system prompt of rows that have none of their own")
    loss: Literal["answer", "all"] = _f("answer", "which tokens are learned: the answers, or the prompts too")
    role: str | None = _f(None, "role-play: the character whose speeches are learned, where the rows name none")
    profiles: str | None = _f(None, "role-play: a folder of role files, or a JSON object of name to description")
    quote: bool = _f(True, "role-play: speak between quotation marks, as Generate does by default")

    lr: float = _f(2e-5, "peak learning rate of AdamW")
    schedule: Literal["cosine", "linear", "constant"] = _f("cosine", "how the learning rate falls after the warm-up")
    warmup: float = _f(0.0, "warm-up: steps from 1 on, a share of all steps below 1")
    batch_size: int = _f(8, "rows a step over all processes, however they are split")
    micro_batch: int | None = _f(None, "rows a process takes at once; all of its share unless given")
    epochs: float = _f(3.0, "passes over the data")
    max_steps: int = _f(-1, "stop after this many steps; -1: after the epochs")
    weight_decay: float = _f(0.0, "AdamW's weight decay")
    max_grad_norm: float = _f(1.0, "gradients are clipped to this norm; 0: not at all")
    seed: int = _f(42, "of the order of the rows, of dropout and of new weights")
    precision: Literal["bf16", "fp32"] = _f("bf16", "bf16: trained weights in fp32, computing in bf16 (needs a GPU)")
    activation_checkpointing: bool = _f(False, "compute activations twice to save memory, about a quarter slower")
    fsdp: bool = _f(False, "shard weights and optimizer over the processes (FSDP2)")
    workers: int = _f(0, "processes that prepare batches")

    lora: bool = _f(False, "train a LoRA adapter instead of the weights")
    lora_r: int = _f(8, "its rank")
    lora_alpha: int = _f(16, "its scale is lora_alpha / lora_r")
    lora_dropout: float = _f(0.0, "dropout before its A")
    lora_targets: str = _f("all-linear", "all-linear, or names of modules joined by commas")
    train_special_tokens: bool = _f(False, "LoRA: train the embeddings of the template's tokens too (base models)")

    log_steps: int = _f(10, "steps between two points of the loss curve")
    save_steps: int = _f(500, "steps between two checkpoints")
    keep: int = _f(2, "checkpoints to keep")
    sample_prompts: list[str] = _f([], "what to ask at every save_steps; answers go into samples.jsonl")
    resume: bool = _f(False, "go on from the last whole checkpoint in out")
    overwrite: bool = _f(False, "replace what is in out")

    def __post_init__(self) -> None:
        for name in ("max_length", "batch_size", "log_steps", "save_steps", "keep", "lora_r"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}: give a number from 1 on")
        if self.micro_batch is not None and self.micro_batch < 1:
            raise SettingsError(f"micro_batch is {self.micro_batch}: give a number from 1 on, or leave it out")
        if self.lr <= 0 or self.warmup < 0 or (self.epochs <= 0 and self.max_steps < 1):
            raise SettingsError("lr and epochs must be over 0 and warmup not under it: mend them in the configuration")
        if self.sample_prompts and self.fsdp:
            raise SettingsError("sample_prompts needs the whole model on each device: leave out it or fsdp")
        if self.resume and self.overwrite:
            raise SettingsError("resume goes on with what is in out and overwrite throws it away: choose one of them")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message}; --help lists every key")


def _unknown(keys: Sequence[str], known: Sequence[str], where: str) -> str:
    said = []
    for key in keys:
        close = difflib.get_close_matches(key, [*known, *_ELSEWHERE], n=1, cutoff=0.7)
        meant = _ELSEWHERE.get(close[0], close[0]) if close else None
        meant = meant if meant in known else None
        said.append(f"{key} (did you mean {meant}?)" if meant else key)
    return f"unknown in {where}: {', '.join(said)}; --help lists every key"


def _from_yaml(path: str, known: Sequence[str]) -> list[str]:
    """The file's keys as command-line words, so that both are checked by the same rules."""
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read --config {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise SettingsError(f"{path} is not a configuration: it should be lines of 'key: value'")
    wrong = [str(key) for key in values if key not in known]
    if wrong:
        raise SettingsError(_unknown(wrong, known, path))
    words: list[str] = []
    for key, value in values.items():
        if isinstance(value, list):
            words += [f"--{key}", *map(str, value)]
        elif value is not None:
            words.append(f"--{key}={str(value).lower() if isinstance(value, bool) else value}")
    return words


def parse(kind: type[T], argv: Sequence[str], *, doc: str | None = None) -> T:
    """Fill the dataclass ``kind`` from ``--config`` and the command line.

    Args:
        kind: a dataclass whose fields carry a ``help`` text in their metadata.
        argv: the words after the command.
        doc: the text that ``--help`` opens with; the class docstring otherwise.

    Raises:
        SettingsError: a key is unknown, missing, or has a value of the wrong kind.
    """
    from transformers import HfArgumentParser

    class Parser(_Parser, HfArgumentParser):
        """HfArgumentParser whose errors are ours."""

    parser = Parser(
        kind,
        description=doc or kind.__doc__,
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--config", metavar="FILE", help="a YAML file of the keys below")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    known = [f.name for f in dataclasses.fields(kind)]  # type: ignore[arg-type]
    first = _Parser(add_help=False, allow_abbrev=False)
    first.add_argument("--config")
    config, _ = first.parse_known_args(argv)
    words = (_from_yaml(config.config, known) if config.config else []) + list(argv)
    values, _, left = parser.parse_args_into_dataclasses(words, return_remaining_strings=True, look_for_args_file=False)
    if left:
        wrong = [word[2:].split("=")[0].replace("-", "_") for word in left if word.startswith("--")]
        raise SettingsError(_unknown(wrong or left, known, "the command"))
    return values  # type: ignore[no-any-return]


def command(kind: type[T], run: Callable[[T], object], argv: Sequence[str] | None = None, *, doc: str | None) -> int:
    """What every ``python -m finetune.X`` is: parse, run, and an error as one line.

    Returns:
        0 done, 1 it could not be done, 2 wrong usage.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        run(parse(kind, words, doc=doc))
    except EgosRagError as error:
        if "--debug" in words:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, SettingsError) else 1
    except KeyboardInterrupt:
        print("stopped: go on from the last checkpoint with --resume true", file=sys.stderr)
        return 1
    return 0
