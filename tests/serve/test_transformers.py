"""A client of ours against another server: ``transformers serve`` with pocket, on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import SecretStr

from egosrag import Conversation, load_chat_model, load_role
from egosrag.errors import ModelError
from egosrag.models.api import ApiChatModel
from tests.conftest import ROOT
from tests.serve.conftest import SAMPLES

POCKET = str(ROOT / "egosrag" / "data" / "pocket")
QUESTION = [HumanMessage("Where is the hood? One. Two. Three. Say it again.")]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = str(Path(sys.executable).parent / "transformers")
    command = [program, "serve", "--port", str(port), "--device", "cpu", "--dtype", "float32", POCKET]
    process = subprocess.Popen(command, env={**os.environ, "HF_HUB_OFFLINE": "1"}, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        ready = next((line for line in process.stderr if "running on" in line), "")
        assert ready, "the server ended before it listened"
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)


def client(url: str, style: Any = "none", **more: Any) -> ApiChatModel:
    settings = {"temperature": 0.0, "max_tokens": 64, **more}
    return ApiChatModel(model=POCKET, base_url=url, api_key=SecretStr("none"), prefix_style=style, **settings)


def test_it_answers_as_the_local_model_whole_and_streamed(server: str) -> None:
    local = load_chat_model("pocket", max_new_tokens=64)
    for stop in (None, ["."], [" hood", "zz"]):
        here, there = local.invoke(QUESTION, stop=stop), client(server).invoke(QUESTION, stop=stop)
        assert there.text == here.text
        reasons = here.response_metadata["finish_reason"], there.response_metadata["finish_reason"]
        # With stop strings in the request, this server reports "stop" for the end-of-sequence token too.
        assert len(set(reasons)) == 1 or (stop and reasons == ("eos", "stop"))
        chunks = [str(chunk.text) for chunk in client(server).stream(QUESTION, stop=stop)]
        assert "".join(chunks) == here.text and len(chunks) > 2


def test_a_role_replies_between_quotes_though_the_server_cannot_continue_a_message(server: str) -> None:
    conversation = Conversation(client(server), load_role(SAMPLES / "edda.en.json"), history="single", window=700)
    conversation.say("What are you afraid of?")  # pocket writes a speaker's name only where earlier lines have one
    for line in ('My name is "Bram". <|im_end|>', 'He said: "go." <|im_end|>'):
        reply = conversation.say(line)
        assert reply.text and '"' not in reply.text
    assert [turn.speaker for turn in conversation.turns()][-4:] == ["Me", "Edda", "Me", "Edda"]


def test_an_unsupported_prefix_style_and_a_timeout_are_errors_that_say_what_to_do(server: str) -> None:
    with pytest.raises(ModelError, match='does not accept prefix_style "vllm": use "none".*continue_final'):
        client(server, "vllm").invoke([*QUESTION, AIMessage("It is")])
    with pytest.raises(ModelError, match="did not answer in time"):
        client(server, timeout=0.001, max_retries=0).invoke(QUESTION)
    assert httpx.get(server.removesuffix("/v1") + "/health").status_code == 200
