"""What a trained or merged model states about itself: its own trait, and those of the model it started from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from egosrag.models import load_chat_model
from egosrag.models.traits import traits_of
from egosrag.traits import Traits, read_traits, write_traits
from finetune.merge import MergeArgs, merge
from finetune.sft import sft
from tests.finetune.conftest import alpaca, roleplay, texts, write_jsonl

Make = Callable[..., Any]
OF_POCKET = {"extractive_only": True, "revises_drafts": True, "prompts": "pocket"}


def conversations(n: int) -> list[dict[str, Any]]:
    """ShareGPT rows of two questions each."""
    turns = [{"from": "human", "value": "One?"}, {"from": "gpt", "value": "Two."}]
    return [{"conversations": [*turns, {"from": "human", "value": f"Row {i}?"}, turns[1]]} for i in range(n)]


@pytest.fixture()
def base(tiny_qwen: Path, tmp_path: Path) -> Path:
    """A checkpoint that states traits of its own, none of them about turns."""
    folder = Path(shutil.copytree(tiny_qwen, tmp_path / "base"))
    write_traits(folder, **OF_POCKET)
    return folder


@pytest.mark.parametrize(
    ("rows", "single_turn"),
    [
        pytest.param(alpaca, True, id="alpaca"),
        # Generate renders a role-play conversation into one user message, whatever its length.
        pytest.param(roleplay, True, id="roleplay"),
        pytest.param(conversations, False, id="conversations"),
        pytest.param(lambda n: [*alpaca(n), *conversations(1)], False, id="mixed"),
    ],
)
@pytest.mark.parametrize("lora", [False, True], ids=["weights", "lora"])
def test_the_result_states_whether_its_rows_were_single_turns(
    settings: Make, tmp_path: Path, base: Path, rows: Any, single_turn: bool, lora: bool
) -> None:
    write_traits(base, single_turn=not single_turn)
    sources = [str(write_jsonl(tmp_path / f"{n}.jsonl", [row])) for n, row in enumerate(rows(4))]  # a shape each
    sft(settings(model=str(base), data=sources, max_steps=1, lora=lora))
    out = tmp_path / "out"
    model = load_chat_model(str(base), adapter=str(out)) if lora else load_chat_model(str(out))
    assert traits_of(model) == Traits(single_turn=single_turn, **OF_POCKET)
    assert (out / "traits.json").exists() == lora


@pytest.mark.parametrize("single_turn", [True, False])
@pytest.mark.parametrize("lora", [False, True], ids=["weights", "lora"])
def test_training_on_documents_keeps_the_trait_of_the_base(
    settings: Make, tmp_path: Path, base: Path, single_turn: bool, lora: bool
) -> None:
    write_traits(base, single_turn=single_turn)
    file = write_jsonl(tmp_path / "texts.jsonl", texts(4))
    sft(settings(model=str(base), data=[str(file)], max_steps=1, lora=lora))
    assert read_traits(tmp_path / "out", read_traits(base)) == Traits(single_turn=single_turn, **OF_POCKET)


def test_a_merged_model_has_the_traits_of_base_and_adapter(settings: Make, tmp_path: Path, base: Path) -> None:
    sft(settings(model=str(base), max_steps=1, lora=True))
    merge(MergeArgs(adapter=str(tmp_path / "out"), out=str(tmp_path / "merged")))
    assert read_traits(tmp_path / "merged") == Traits(single_turn=True, **OF_POCKET)
    assert not (tmp_path / "merged" / "traits.json").exists()


def test_a_merged_model_has_the_adapters_trait_where_both_state_one(settings: Make, tmp_path: Path, base: Path) -> None:
    write_traits(base, single_turn=True)
    data = [str(write_jsonl(tmp_path / "c.jsonl", conversations(4)))]
    sft(settings(model=str(base), data=data, max_steps=1, lora=True))
    merge(MergeArgs(adapter=str(tmp_path / "out"), out=str(tmp_path / "merged")))
    assert read_traits(tmp_path / "merged") == Traits(single_turn=False, **OF_POCKET)


def test_every_model_of_the_inverse_experiment_is_single_turn(settings: Make, tmp_path: Path, base: Path) -> None:
    from finetune.inverse.args import InverseArgs
    from finetune.inverse.experiment import experiment

    shared = {key: value for key, value in vars(settings(model=str(base))).items() if key != "max_steps"}
    experiment(InverseArgs(**{**shared, "epochs": 1, "rows": 4, "probe": 1, "min_output": 1, "seeds": [1]}))
    assert read_traits(tmp_path / "out" / "seed-1") == Traits(single_turn=True, **OF_POCKET)


def test_the_trait_is_written_with_the_longest_conversation_of_the_data(settings: Make, tmp_path: Path) -> None:
    data = [str(write_jsonl(tmp_path / "c.jsonl", conversations(3)))]
    assert sft(settings(data=data, max_steps=1))["data"]["max_turns"] == 2
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["egosrag_traits"] == {"single_turn": False}
