"""The same speech over each way to continue a prefix, against a real server on loopback (report 7.2.3).

The server runs the same checkpoint that the local model loads, so every way must say the same, token by token.
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
from egosrag.serve.models import Plain
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


def spoken(model: Any, role: str, **more: Any) -> list[Reply]:
    # What an API model would choose by itself is given: the prompts must be the same.
    talk = Conversation(model, load_role(SAMPLES / f"{role}.json"), history="single", window=700, **more)
    return [talk.say(line) for line in LINES[role]]


@pytest.mark.parametrize("role", list(LINES))
@pytest.mark.parametrize("style", ["deepseek", "vllm"])
def test_each_way_says_what_the_local_model_says(pocket: str, role: str, style: str, tmp_path: Path) -> None:
    there = spoken(client(pocket, style), role)
    # The client knows no traits of a served model: its drafts are not revised.
    copy = shutil.copytree(SAMPLES.parent / "pocket", tmp_path / "pocket")
    write_traits(copy, revises_drafts=False)
    here = spoken(load_chat_model(str(copy), max_new_tokens=256), role)
    assert [(r.text, r.stop_reason) for r in there] == [(r.text, r.stop_reason) for r in here]
    assert {r.stop_reason for r in there} == {"quote"}


def test_a_model_of_random_weights_says_the_same_until_the_limit(
    start: Start, settings: Settings, tiny_qwen: Path
) -> None:
    url = start(served_models(settings.model_copy(update={"model": str(tiny_qwen), "max_new_tokens": 12}), [], []))
    local = load_chat_model(str(tiny_qwen), max_new_tokens=12)
    here = spoken(local, "edda.en", memory="none")
    for style in ("deepseek", "vllm"):
        there = spoken(client(url, style, tiny_qwen.name, max_tokens=12), "edda.en", memory="none")
        assert [(r.text, r.stop_reason) for r in there] == [(r.text, r.stop_reason) for r in here]


@pytest.mark.parametrize(
    ("role", "echo", "speech"),
    [
        ("edda.en", 'Edda: "I am afraid of fog." Then she left.', "I am afraid of fog."),
        ("gu.zh", "顾青禾：“我害怕打雷。”他走了。", "我害怕打雷。"),
    ],
)
def test_a_server_that_continues_nothing_is_asked_and_its_echo_decoded(
    start: Start, role: str, echo: str, speech: str
) -> None:
    scripted = ScriptedChatModel(responses=[echo] * 4)
    replies = spoken(client(start({"pocket": Plain(scripted)}), "none"), role)
    after = echo.split("“" if role == "gu.zh" else '"', 1)[1]
    continued = spoken(ScriptedChatModel(responses=[after] * 4), role)
    assert [(r.text, r.stop_reason) for r in replies] == [(speech, "quote")] * 4
    assert [(r.text, r.stop_reason) for r in continued] == [(speech, "quote")] * 4
    assert all(call.messages[-1].type == "human" for call in scripted.calls), "nothing was sent to be continued"
