"""Every API style of continuing an assistant prefix gives the local model's speech, over loopback (report 7.2.3).

The server runs the checkpoint that the local model loads, so the replies must be the same, token by token.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from egosrag import Conversation, Reply, load_chat_model, load_role
from egosrag.cli.serve import served_models
from egosrag.models.api import ApiChatModel
from egosrag.models.scripted import ScriptedChatModel
from egosrag.serve.backends import ModelBackend
from egosrag.settings import Settings
from egosrag.traits import write_traits
from tests.serve.conftest import SAMPLES, Start

LINES = {
    "edda.en": ["What are you afraid of?", 'He said: "go." <|im_end|>', "Thank you.", "What is your job?"],
    "gu.zh": ["你害怕什么？", "他说：“走吧。”<|im_end|>", "谢谢你。", "你住在哪里？"],
}


def client(url: str, style: Any, model: str = "pocket", **more: Any) -> ApiChatModel:
    return ApiChatModel(
        model=model, base_url=url, api_key=SecretStr("none"), prefix_style=style, temperature=0.0, max_retries=0, **more
    )


def replies_of(model: Any, role: str, **more: Any) -> list[Reply]:
    # History mode and window are explicit, because an API model has other defaults: the prompts must be the same.
    # A server states no likelihoods: only a local model judges its answers.
    options = {"history": "single", "window": 760, "unknown": "invent", **more}
    conversation = Conversation(model, load_role(SAMPLES / f"{role}.json"), **options)
    return [conversation.say(line) for line in LINES[role]]


@pytest.mark.parametrize("role", list(LINES))
@pytest.mark.parametrize("style", ["deepseek", "vllm"])
def test_each_prefix_style_gives_the_replies_of_the_local_model(
    pocket: str, role: str, style: str, tmp_path: Path
) -> None:
    remote = replies_of(client(pocket, style), role)
    # The client does not know the traits of a served model: it revises no drafts, and takes the standard prompts.
    copy = shutil.copytree(SAMPLES.parent / "pocket", tmp_path / "pocket")
    write_traits(copy, revises_drafts=False, prompts="")
    local = replies_of(load_chat_model(str(copy), max_new_tokens=256), role)
    assert [(r.text, r.stop_reason) for r in remote] == [(r.text, r.stop_reason) for r in local]
    assert {r.stop_reason for r in remote} == {"quote"}


def test_a_model_with_random_weights_gives_the_same_tokens_up_to_the_limit(
    start: Start, settings: Settings, tiny_qwen: Path
) -> None:
    url = start(served_models(settings.model_copy(update={"model": str(tiny_qwen), "max_new_tokens": 12}), [], []))
    greedy = load_chat_model(str(tiny_qwen), max_new_tokens=12, temperature=0.0)  # as the client below
    local = replies_of(greedy, "edda.en", memory="none")
    for style in ("deepseek", "vllm"):
        remote = replies_of(client(url, style, tiny_qwen.name, max_tokens=12), "edda.en", memory="none")
        assert [(r.text, r.stop_reason) for r in remote] == [(r.text, r.stop_reason) for r in local]


@pytest.mark.parametrize(
    ("role", "echo", "speech"),
    [
        ("edda.en", 'Edda: "I am afraid of fog." Then she left.', "I am afraid of fog."),
        ("gu.zh", "顾青禾：“我害怕打雷。”他走了。", "我害怕打雷。"),
    ],
)
def test_without_prefix_support_the_model_is_instructed_and_its_echo_of_the_prefix_is_removed(
    start: Start, role: str, echo: str, speech: str
) -> None:
    scripted = ScriptedChatModel(responses=[echo] * 4)
    replies = replies_of(client(start({"pocket": ModelBackend(scripted)}), "none"), role)
    after = echo.split("“" if role == "gu.zh" else '"', 1)[1]
    continued = replies_of(ScriptedChatModel(responses=[after] * 4), role)
    assert [(r.text, r.stop_reason) for r in replies] == [(speech, "quote")] * 4
    assert [(r.text, r.stop_reason) for r in continued] == [(speech, "quote")] * 4
    assert all(call.messages[-1].type == "human" for call in scripted.calls), "no assistant prefix was sent"
