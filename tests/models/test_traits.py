"""A copy and a fine-tune of the embedded model behave as the original: traits come from the folder, not from a name."""

from __future__ import annotations

import json
import re
import shutil
from importlib.resources import files
from pathlib import Path

import pytest

import egosrag
from egosrag import ManualEngine, ManualIndex, Settings, assemble
from egosrag.models import load_chat_model
from egosrag.models.local import LocalChatModel
from egosrag.models.scripted import ScriptedChatModel
from egosrag.models.traits import traits_of
from egosrag.traits import Traits, write_traits
from tests.tiny import make_tiny_adapter

POCKET = Path(str(files("egosrag"))) / "data" / "pocket"
MANUAL = POCKET.parent / "samples" / "manual.en.pdf"
POCKET_TRAITS = Traits(single_turn=True, extractive_only=True, revises_drafts=True, prompts="pocket")


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(POCKET, tmp_path_factory.mktemp("copied") / "mine"))


@pytest.fixture(scope="module")
def fine_tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that any training with transformers writes: loaded, changed, saved."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("tuned")
    model = AutoModelForCausalLM.from_pretrained(POCKET)
    with torch.no_grad():
        model.model.norm.weight.mul_(1.01)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(POCKET).save_pretrained(folder)
    return folder


def test_the_embedded_model_states_its_traits() -> None:
    assert traits_of(load_chat_model("pocket")) == POCKET_TRAITS


def test_a_copy_has_the_same_traits(copied: Path) -> None:
    assert traits_of(LocalChatModel(model=str(copied))) == POCKET_TRAITS


def test_a_fine_tune_has_the_same_traits(fine_tuned: Path) -> None:
    assert traits_of(LocalChatModel(model=str(fine_tuned))) == POCKET_TRAITS


def test_a_merged_adapter_has_the_same_traits(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    make_tiny_adapter(POCKET, tmp_path / "adapter")
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(POCKET), str(tmp_path / "adapter"))
    model.merge_and_unload().save_pretrained(tmp_path / "merged")
    shutil.copy(POCKET / "tokenizer.json", tmp_path / "merged")
    shutil.copy(POCKET / "tokenizer_config.json", tmp_path / "merged")
    assert traits_of(LocalChatModel(model=str(tmp_path / "merged"))) == POCKET_TRAITS


@pytest.mark.parametrize("name", ["copied", "fine_tuned"])
def test_a_manual_is_quoted_for_a_copy_and_a_fine_tune(name: str, request: pytest.FixtureRequest) -> None:
    model = LocalChatModel(model=str(request.getfixturevalue(name)))
    answer = ManualEngine(ManualIndex.build([MANUAL]), model).ask("Where is the release lever of the hood?")
    assert answer.mode == "quoted" and answer.usage.completion_tokens == 0, "the model itself was not asked"
    assert answer.answer in answer.citations[0].quote or answer.citations[0].quote in answer.answer


def test_a_role_speaks_the_same_by_the_folder_of_a_copy(copied: Path) -> None:
    replies = []
    for model in ("pocket", str(copied)):
        settings = Settings(model=model, store=":memory:")
        with assemble.conversation(settings, POCKET.parent / "samples" / "edda.en.json") as conversation:
            replies.append([conversation.say(line).text for line in ("Who is Pip?", "What are you afraid of?")])
    assert replies[0] == replies[1]
    assert replies[0][0] == "Pip is my apprentice, sailor."


def test_an_adapter_states_traits_over_those_of_its_base(tiny_qwen: Path, tmp_path: Path) -> None:
    make_tiny_adapter(tiny_qwen, tmp_path)
    assert traits_of(LocalChatModel(model=str(tiny_qwen), adapter=str(tmp_path))) == Traits()
    write_traits(tmp_path, single_turn=True)
    assert traits_of(LocalChatModel(model=str(tiny_qwen), adapter=str(tmp_path))) == Traits(single_turn=True)
    assert traits_of(LocalChatModel(model=str(tiny_qwen))) == Traits(), "the shared base is not changed"


def test_without_a_template_there_are_no_turns(tiny_qwen: Path) -> None:
    assert traits_of(LocalChatModel(model=str(tiny_qwen))) == Traits()
    assert traits_of(LocalChatModel(model=str(tiny_qwen), template=False)) == Traits(single_turn=True)


def test_traits_are_those_of_the_model_inside_a_binding() -> None:
    model = ScriptedChatModel(responses=[])
    assert traits_of(model.bind(stop=["x"]).with_config(tags=["y"])) == model.traits == Traits(single_turn=True)


def test_a_model_that_states_none_gets_its_history_as_one_message() -> None:
    from langchain_core.language_models.fake import FakeListLLM

    assert traits_of(FakeListLLM(responses=[])) == Traits(single_turn=True)


def test_only_the_resolution_of_names_knows_the_embedded_model() -> None:
    folder = Path(egosrag.__file__).parent / "models"
    naming = {f.name for f in folder.rglob("*.py") if re.search(r"\bpocket\b", f.read_text(encoding="utf-8"))}
    assert naming == {"load.py", "checkpoint.py"}


def test_the_config_of_the_embedded_model_is_what_transformers_writes(fine_tuned: Path) -> None:
    assert json.loads((fine_tuned / "config.json").read_text()) == json.loads((POCKET / "config.json").read_text())
