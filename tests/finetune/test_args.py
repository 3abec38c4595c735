"""Settings: the same keys in the YAML file and on the command line; unknown keys fail with a suggestion."""

from __future__ import annotations

from pathlib import Path

import pytest

from egosrag.errors import SettingsError
from finetune.cli import parse
from finetune.trainer.args import SftArgs

REQUIRED = ["--model", "m", "--out", "o", "--data", "a", "b"]


def test_the_command_line_alone_is_enough() -> None:
    args = parse(SftArgs, [*REQUIRED, "--lr", "1e-4", "--lora", "true", "--max-steps", "7"])
    assert (args.model, args.data, args.lr, args.lora, args.max_steps) == ("m", ["a", "b"], 1e-4, True, 7)


def test_the_command_line_overrides_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("model: m\nout: o\ndata: [a]\nlr: 2e-5\nlora: true\nmax_steps: -1\nmax_rows: null\nepochs: 2\n")
    args = parse(SftArgs, ["--config", str(file), "--epochs", "6", "--lora", "false"])
    assert (args.lr, args.epochs, args.lora, args.max_steps, args.max_rows) == (2e-5, 6.0, False, -1, None)


@pytest.mark.parametrize(
    ("key", "meant"),
    [("learning_rate", "lr"), ("num_train_epoch", "epochs"), ("batchsize", "batch_size"), ("warmup_ratio", "warmup")],
)
def test_an_unknown_key_fails_and_the_message_suggests_the_right_one(tmp_path: Path, key: str, meant: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(f"model: m\nout: o\ndata: [a]\n{key}: 3\n")
    with pytest.raises(SettingsError, match=rf"{key} \(did you mean {meant}\?\)"):
        parse(SftArgs, ["--config", str(file)])
    with pytest.raises(SettingsError, match=rf"{key} \(did you mean {meant}\?\)"):
        parse(SftArgs, [*REQUIRED, f"--{key}", "3"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "is not a configuration"),
        ("model: [\n", "is not YAML"),
        ("model: m\nout: o\ndata: [a]\nlr: fast\n", "argument --lr: invalid float value: 'fast'"),
        ("model: m\nout: o\ndata: [a]\nschedule: cosin\n", "choose from 'cosine', 'linear', 'constant'"),
        ("model: m\ndata: [a]\n", "required: --out"),
        ("model: m\nout: o\ndata: [a]\nbatch_size: 0\n", "batch_size is 0"),
        ("model: m\nout: o\ndata: [a]\nresume: true\noverwrite: true\n", "choose one"),
    ],
)
def test_a_wrong_file_is_reported_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as error:
        parse(SftArgs, ["--config", str(file)])
    assert message in str(error.value) and "\n" not in str(error.value)


def test_the_message_names_a_missing_file() -> None:
    with pytest.raises(SettingsError, match=r"cannot read --config nope\.yaml"):
        parse(SftArgs, ["--config", "nope.yaml"])
