"""Requests as front ends and OpenAI's clients send them: roles, models and manuals answer each of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import openai
import pytest

from egosrag import ManualIndex, load_chat_model
from egosrag.models.scripted import ScriptedChatModel
from egosrag.serve.answer import LEFT_OUT
from egosrag.serve.backends import ManualBackend, ModelBackend, RoleBackend
from egosrag.settings import Settings
from tests.serve.client import chat, post, text_of
from tests.serve.conftest import SAMPLES, Start
from tests.serve.front_ends import BODIES, LINE, READ_BY_A_ROLE

EDDA = SAMPLES / "edda.en.json"
NODE_MODULES = os.environ.get("EGOSRAG_TEST_NODE_MODULES", "missing")


@pytest.mark.parametrize("name", BODIES)
def test_a_front_ends_request_is_answered_by_a_role(name: str, start: Start, settings: Settings) -> None:
    model = ScriptedChatModel(responses=['Of thunder."'])
    url = start({"edda.en": RoleBackend(settings, EDDA, model)})
    response = post(url, BODIES[name])
    assert text_of(response) == "Of thunder."
    assert response.headers.get(LEFT_OUT, "") == ", ".join(READ_BY_A_ROLE[name])
    prompt = "\n".join(str(message.content) for message in model.calls[0].messages)
    assert LINE in prompt
    assert ("Write the next reply only" in prompt, "Noon" in prompt) == (False, name == "LibreChat, after a tool")
    assert not (settings.data_dir / "sessions.sqlite").exists(), "nothing is stored without a session"


@pytest.mark.parametrize("name", BODIES)
def test_a_front_ends_request_is_answered_by_a_model_and_a_manual(
    name: str, start: Start, settings: Settings, tmp_path: Path
) -> None:
    ManualIndex.build([SAMPLES / "manual.en.md"], tmp_path / "index")
    pocket = load_chat_model("pocket", max_new_tokens=4)
    url = start({"car": ManualBackend(settings, str(tmp_path / "index"), pocket), "m": ModelBackend(pocket)})
    for model in ("car", "m"):
        text_of(post(url, {**BODIES[name], "model": model}))


def test_the_field_user_is_an_account_and_no_conversation(start: Start, settings: Settings) -> None:
    model = ScriptedChatModel(responses=[f'Reply {n}."' for n in range(9)])
    role = RoleBackend(settings, EDDA, model)
    url = start({"edda": role})
    post(url, chat("edda", "My name is Ann.", user="account"))
    history = [{"role": "user", "content": "My cat is Tom."}, {"role": "assistant", "content": "I see."}]
    body = {"model": "edda", "user": "account", "messages": [*history, {"role": "user", "content": "Who am I?"}]}
    post(url, body)
    prompt = str(model.calls[-1].messages)
    assert "Ann" not in prompt and "Tom" in prompt
    url = start({"edda": role}, user_is_session=True)
    post(url, chat("edda", "My name is Ann.", user="account"))
    post(url, chat("edda", "Who am I?", user="account"))
    assert "Ann" in str(model.calls[-1].messages)


def test_two_user_turns_a_greeting_and_empty_lines(start: Start, settings: Settings) -> None:
    model = ScriptedChatModel(responses=['Yes."'] * 9)
    url = start({"edda": RoleBackend(settings, EDDA, model)})
    messages = [
        {"role": "assistant", "content": "Welcome aboard."},
        {"role": "user", "content": "I am Ann."},
        {"role": "user", "content": "And I am cold."},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "Do you hear me?"},
        {"role": "user", "content": "   "},
    ]
    response = post(url, {"model": "edda", "messages": messages})
    assert text_of(response) == "Yes."
    assert response.headers[LEFT_OUT] == "messages.3 (empty), messages.5 (empty)"
    prompt = str(model.calls[0].messages[-2].content)
    assert 'Edda: "Welcome aboard."\nMe: "I am Ann."\nMe: "And I am cold."\nMe: "Do you hear me?"' in prompt


@pytest.mark.parametrize(
    ("end", "left_out"),
    [
        ({"role": "user", "content": " "}, "messages.2 (empty)"),
        ({"role": "tool", "tool_call_id": "a", "content": "42"}, "messages.2 (tool)"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "messages.2.content.0 (image_url), messages.2 (empty)"),
    ],
)
@pytest.mark.parametrize("name", ["m", "edda"])
def test_what_ends_in_something_unread_is_answered(
    name: str, end: dict[str, Any], left_out: str, start: Start, settings: Settings
) -> None:
    model = ScriptedChatModel(responses=['Yes."'] * 2)
    url = start({"m": ModelBackend(model), "edda": RoleBackend(settings, EDDA, model)})
    messages = [{"role": "user", "content": "Do you hear me?"}, {"role": "assistant", "content": "Let me see."}, end]
    response = post(url, {"model": name, "messages": messages})
    assert "Yes." in text_of(response)
    assert response.headers[LEFT_OUT] == f"{left_out}, messages.1 (assistant)"
    if name == "m":
        assert [message.text for message in model.calls[0].messages] == ["Do you hear me?"]
        assert post(url, {"model": "m", "messages": messages[:2]}).json()["error"]["code"] == "prefix"


def test_openais_python_client_reads_everything(start: Start, settings: Settings) -> None:
    url = start({"edda/v1": RoleBackend(settings, EDDA, ScriptedChatModel(responses=['Of thunder."'] * 9))})
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    assert client.models.retrieve("edda/v1").owned_by == "role"
    with pytest.raises(openai.NotFoundError) as missing:
        client.models.retrieve("nobody")
    assert missing.value.code == "model_not_found" and missing.value.param == "model"
    with pytest.raises(openai.NotFoundError) as nowhere:
        client.embeddings.create(model="edda/v1", input="x")
    assert nowhere.value.code == "not_found" and nowhere.value.type == "invalid_request_error"
    messages: Any = [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": LINE}]
    raw = client.chat.completions.with_raw_response.create(model="edda/v1", messages=messages)
    assert raw.parse().choices[0].message.content == "Of thunder."
    assert raw.headers[LEFT_OUT] == "messages.0 (developer)"
    with client.chat.completions.stream(model="edda/v1", messages=messages) as stream:
        assert stream.get_final_completion().choices[0].message.content == "Of thunder."


_JAVASCRIPT = """
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "What are you afraid of?" }];
const whole = await client.chat.completions.create({ model: "edda", messages });
const stream = await client.chat.completions.create({ model: "edda", messages, stream: true });
let text = "";
for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
const names = (await client.models.list()).data.map((model) => model.id);
const missing = await client.models.retrieve("nobody").catch((error) => [error.status, error.code]);
console.log(JSON.stringify({ whole: whole.choices[0].message.content, text, names, missing }));
"""


def test_openais_javascript_client(start: Start, settings: Settings, tmp_path: Path) -> None:
    """Where node and a folder with the package are: EGOSRAG_TEST_NODE_MODULES=.../node_modules."""
    modules = Path(NODE_MODULES)
    if shutil.which("node") is None or not (modules / "openai").is_dir():
        pytest.skip("node, or the folder with its package openai (EGOSRAG_TEST_NODE_MODULES), is missing")
    (tmp_path / "node_modules").symlink_to(modules)
    (tmp_path / "client.mjs").write_text(_JAVASCRIPT)
    url = start({"edda": RoleBackend(settings, EDDA, ScriptedChatModel(responses=['Of thunder."'] * 2))})
    done = subprocess.run(
        ["node", str(tmp_path / "client.mjs"), url], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    expected = {"whole": "Of thunder.", "text": "Of thunder.", "names": ["edda"], "missing": [404, "model_not_found"]}
    assert json.loads(done.stdout) == expected
