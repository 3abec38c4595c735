"""The traits that checkpoint and adapter folders state: read, written, and kept by what other tools do with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from egosrag.errors import ModelError
from egosrag.traits import Traits, read_traits, write_traits


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint folder that states no traits."""
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    return tmp_path


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """An adapter folder that states no traits."""
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    return tmp_path


def test_a_checkpoint_that_states_nothing_has_no_traits(checkpoint: Path) -> None:
    assert read_traits(checkpoint) == Traits()


def test_a_checkpoint_states_its_traits_in_its_config(checkpoint: Path) -> None:
    write_traits(checkpoint, single_turn=True)
    write_traits(checkpoint, extractive_only=True)
    assert json.loads((checkpoint / "config.json").read_text()) == {
        "model_type": "qwen2",
        "egosrag_traits": {"single_turn": True, "extractive_only": True},
    }
    assert read_traits(checkpoint) == Traits(single_turn=True, extractive_only=True)


def test_an_adapter_states_its_traits_in_a_file_of_its_own(adapter: Path) -> None:
    write_traits(adapter, single_turn=True)
    assert json.loads((adapter / "traits.json").read_text()) == {"single_turn": True}
    assert json.loads((adapter / "adapter_config.json").read_text()) == {"peft_type": "LORA"}


def test_what_an_adapter_does_not_state_is_its_base_models(adapter: Path) -> None:
    base = Traits(extractive_only=True)
    assert read_traits(adapter, base) == base
    write_traits(adapter, single_turn=True)
    assert read_traits(adapter, base) == Traits(extractive_only=True, single_turn=True)
    write_traits(adapter, extractive_only=False)
    assert read_traits(adapter, base) == Traits(single_turn=True)


def test_traits_of_a_later_version_are_ignored(checkpoint: Path) -> None:
    (checkpoint / "config.json").write_text('{"egosrag_traits": {"sees_images": ["yes"], "single_turn": true}}')
    assert read_traits(checkpoint) == Traits(single_turn=True)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("yes", 'egosrag_traits is "yes", which must be an object'),
        ({"single_turn": "yes"}, 'the trait single_turn is "yes", which must be true or false'),
        ({"prompts": True}, "the trait prompts is true, which must be a string"),
    ],
)
def test_traits_of_a_wrong_type_are_an_error(checkpoint: Path, stated: Any, message: str) -> None:
    (checkpoint / "config.json").write_text(json.dumps({"egosrag_traits": stated}))
    with pytest.raises(ModelError, match=message) as error:
        read_traits(checkpoint)
    assert str(checkpoint / "config.json") in str(error.value)


def test_a_trait_that_does_not_exist_cannot_be_stated(checkpoint: Path) -> None:
    with pytest.raises(TypeError, match="no trait single_turns"):
        write_traits(checkpoint, single_turns=True)


def test_a_folder_trained_before_traits_were_stated_is_single_turn(checkpoint: Path) -> None:
    (checkpoint / "run.json").write_text("{}")
    assert read_traits(checkpoint) == Traits(single_turn=True)
    write_traits(checkpoint, single_turn=False)
    assert read_traits(checkpoint) == Traits()
