"""How conversations are sampled: as the publisher recommends, unless the user chose; everything else stays greedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from egosrag.chatbot import Chatbot
from egosrag.egos.generate import Generate
from egosrag.models import load_chat_model
from egosrag.models.api import ApiChatModel
from egosrag.models.runtime.sampling import Sampler, Sampling
from egosrag.models.sampling import TalkSampling, gguf_sampling, read_sampling, recommended_sampling, talk_sampling
from egosrag.models.scripted import ScriptedChatModel
from egosrag.sessions.conversation import Conversation

QWEN = {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.1}


class Recommends(ScriptedChatModel):
    """A script whose publisher recommends Qwen2.5's sampling; records the arguments of its calls."""

    temperature: float = 0.0
    top_p: float = 1.0
    arguments: list[dict[str, Any]] = []

    def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        self.arguments.append(kwargs)
        return super()._stream(messages, stop, run_manager, **kwargs)

    @property
    def talk_sampling(self) -> TalkSampling:
        return TalkSampling(**QWEN)  # type: ignore[typeddict-item]


# --- what is recommended ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "recommended"),
    [
        ({"do_sample": True, **QWEN, "eos_token_id": [1, 2]}, QWEN),
        ({"do_sample": True}, {"temperature": 1.0}),
        ({"do_sample": True, "temperature": 0.6, "min_p": 0.05, "top_k": None}, {"temperature": 0.6, "min_p": 0.05}),
        ({"do_sample": False, **QWEN}, {}),
        ({**QWEN}, {}),
        ({"do_sample": "yes", **QWEN}, {}),
        ({"do_sample": True, "temperature": "hot", "top_p": 7, "top_k": -1, "min_p": True}, {"temperature": 1.0}),
    ],
)
def test_a_generation_config_recommends_what_it_samples_with(config: dict[str, Any], recommended: Any) -> None:
    assert recommended_sampling(config) == recommended


def test_a_checkpoint_states_it_in_its_folder(tiny_qwen: Path, tmp_path: Path) -> None:
    assert load_chat_model(str(tiny_qwen)).talk_sampling == QWEN  # type: ignore[attr-defined]
    assert read_sampling(tmp_path) == {}
    (tmp_path / "generation_config.json").write_text("[1]")
    assert read_sampling(tmp_path) == {}
    (tmp_path / "generation_config.json").write_text("{")
    assert read_sampling(tmp_path) == {}
    (tmp_path / "generation_config.json").write_text(json.dumps({"do_sample": True, "temperature": 0.2}))
    assert read_sampling(tmp_path) == {"temperature": 0.2}


def test_a_gguf_file_has_what_is_beside_it_else_what_its_family_has(tiny_qwen: Path, tmp_path: Path) -> None:
    assert gguf_sampling(tmp_path / "model.gguf", "qwen2") == QWEN
    assert gguf_sampling(tmp_path / "model.gguf", "mamba") == {}
    (tmp_path / "generation_config.json").write_text(json.dumps({"do_sample": True, "temperature": 0.2}))
    assert gguf_sampling(tmp_path / "model.gguf", "qwen2") == {"temperature": 0.2}


def test_pocket_stays_greedy_in_conversations() -> None:
    assert talk_sampling(load_chat_model("pocket")) == {}


# --- what a conversation passes to its model -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "passed"),
    [
        ({}, QWEN),
        ({"temperature": 0.3}, {"top_p": 0.8, "top_k": 20, "repetition_penalty": 1.1}),
        ({"top_p": 0.5}, {"temperature": 0.7, "top_k": 20, "repetition_penalty": 1.1}),
        ({"temperature": 0.0}, {}),
    ],
)
def test_what_the_user_set_is_never_overridden_and_0_is_greedy(chosen: dict[str, Any], passed: dict[str, Any]) -> None:
    assert talk_sampling(Recommends(responses=[], **chosen)) == passed
    assert talk_sampling(Recommends(responses=[]).bind(**chosen)) == passed
    assert talk_sampling(Recommends(responses=[]).model_copy(update=chosen)) == passed


def test_a_style_changes_the_temperature_of_the_recommended_sampling() -> None:
    model, greedy = Recommends(responses=[]), ScriptedChatModel(responses=[])
    assert talk_sampling(model, "precise") == {**QWEN, "temperature": 0.3}
    assert talk_sampling(model, "creative") == {**QWEN, "temperature": 1.0, "top_p": 0.95}
    assert talk_sampling(model, "greedy") == {"temperature": 0.0}
    assert talk_sampling(greedy, "precise") == {}
    assert talk_sampling(greedy, "creative") == {"temperature": 1.0, "top_p": 0.95}
    assert talk_sampling(Recommends(responses=[], temperature=0.5), "creative")["top_p"] == 0.95


def test_a_conversation_and_the_chatbot_pass_it_to_each_call() -> None:
    model = Recommends(responses=['One."', "Two."], arguments=[])
    Conversation(model, "Tim").say("Who are you?")
    Chatbot(model).say("Who are you?")
    assert model.arguments == [QWEN, QWEN]
    chosen = Recommends(responses=['One."', "Two."], arguments=[])
    Conversation(chosen, "Tim", sampling={"temperature": 0.1}).say("Who are you?")
    Chatbot(chosen, sampling={"temperature": 0.1}).say("Who are you?")
    assert chosen.arguments == [{"temperature": 0.1}] * 2


def test_a_regenerated_reply_keeps_it_and_a_greedy_model_gets_a_temperature() -> None:
    model = Recommends(responses=['One."', 'Two."'], arguments=[])
    talk = Conversation(model, "Tim")
    talk.say("Who are you?")
    talk.regenerate()
    assert model.arguments[1] == QWEN
    assert Generate(model.bind(temperature=0), model.count_tokens).is_greedy
    assert not Generate(model, model.count_tokens).is_greedy


def test_a_server_samples_by_its_own_defaults() -> None:
    model = ApiChatModel(model="m", base_url="http://127.0.0.1:9/v1", api_key="none")  # type: ignore[arg-type]
    assert model.temperature == 0.0, "greedy when it is invoked directly"
    assert talk_sampling(model) == {"temperature": None}
    assert talk_sampling(model.model_copy(update={"temperature": 0.4})) == {}


# --- the warpers -----------------------------------------------------------------------------------------------------


def test_the_warpers_are_those_of_transformers_in_its_order(tiny_qwen: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    settings: dict[str, Any] = {"temperature": 1.7, "top_k": 30, "top_p": 0.9, "min_p": 0.2, "repetition_penalty": 1.3}
    reference = AutoModelForCausalLM.from_pretrained(tiny_qwen)
    config = GenerationConfig(do_sample=True, **settings)
    theirs = reference._get_logits_processor(config, input_ids_seq_length=3)
    ours = Sampler(Sampling(**settings, seed=1), torch.device("cpu"))._processors
    assert [type(warper) for warper in ours] == [type(warper) for warper in theirs]
    ids, logits = torch.tensor([[5, 6, 7]]), torch.randn(1, 640, generator=torch.Generator().manual_seed(0)) * 4
    assert torch.equal(ours(ids, logits.clone()), theirs(ids, logits.clone()))


def test_min_p_leaves_out_what_is_unlikely_beside_the_likeliest() -> None:
    import torch

    logits = torch.tensor([[0.5, 0.3, 0.2]]).log()
    drawn = [Sampler(Sampling(temperature=1.0, min_p=0.5, seed=n), torch.device("cpu"))([], logits) for n in range(40)]
    assert set(drawn) == {0, 1}
    assert {Sampler(Sampling(min_p=0.9), torch.device("cpu"))([], logits)} == {0}
