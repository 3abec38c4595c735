"""Several tokens on one server: none sees the caches of another, and each has a limited number of sessions."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from egosrag import ManualIndex, load_chat_model
from egosrag.models.scripted import ScriptedChatModel
from egosrag.serve import backends
from egosrag.serve.backends import ManualBackend, ModelBackend, RoleBackend
from egosrag.sessions.catalog import list_sessions
from egosrag.sessions.store import open_store
from egosrag.settings import Settings
from tests.serve.client import chat, post, text_of
from tests.serve.conftest import SAMPLES, Start
from tests.serve.upstream import Upstream

EDDA = SAMPLES / "edda.en.json"
TOKENS = ("0123456789abcdef-one", "0123456789abcdef-two")


def cached(url: str, text: str, token: str) -> int:
    response = post(url, chat("m", text, max_tokens=1), Authorization=f"Bearer {token}")
    return int(response.json()["usage"]["prompt_tokens_details"]["cached_tokens"])


@pytest.mark.parametrize("kind", ["local", "gguf"])
def test_cached_tokens_say_nothing_about_prompts_of_others(kind: str, start: Start, tiny_qwen: Path) -> None:
    if kind == "gguf":
        pytest.importorskip("xllamacpp", reason="llama.cpp is in the extra gguf")
        from tests.models.conftest import gguf_of

        model = load_chat_model(str(gguf_of(tiny_qwen)))
    else:
        model = load_chat_model(str(tiny_qwen))
    url = start({"m": ModelBackend(model)}, TOKENS)
    secret = f"My name is Ann and my key is 12345, said the {kind} cat."
    assert cached(url, secret, TOKENS[0]) == cached(url, secret, TOKENS[1]) == 0
    assert cached(url, secret, TOKENS[0]) > 10, "a tenant's own prefix is cached"
    assert cached(url, secret.replace("12345", "12346"), TOKENS[1]) > 10
    assert cached(url, secret + " Good night.", TOKENS[0]) > 10


def test_a_servers_cached_tokens_are_not_passed_on_to_several_tenants(upstream: Upstream, start: Start) -> None:
    assert cached(start({"m": ModelBackend(upstream.model)}, TOKENS), "Hello", TOKENS[0]) == 0
    assert cached(start({"m": ModelBackend(upstream.model)}, TOKENS[:1]), "Hello", TOKENS[0]) == 1900


@pytest.mark.parametrize("name", ["edda", "car"])
def test_a_role_and_a_manual_share_no_cache_between_tenants(
    name: str, start: Start, settings: Settings, tiny_qwen: Path, tmp_path: Path
) -> None:
    """Their steps run in threads of LangGraph, and of their own."""
    ManualIndex.build([SAMPLES / "manual.en.md"], tmp_path / "index")
    model = load_chat_model(str(tiny_qwen), max_new_tokens=2)
    generated = settings.model_copy(update={"answers": "model", "prompt_tokens": 1000})
    url = start(
        {"edda": RoleBackend(generated, EDDA, model), "car": ManualBackend(generated, str(tmp_path / "index"), model)},
        TOKENS,
    )

    def cached_of(token: str) -> int:
        response = post(url, chat(name, "How often is the oil changed?", seed=1), Authorization=f"Bearer {token}")
        assert response.json()["usage"]["prompt_tokens"] > 50, response.text
        return int(response.json()["usage"]["prompt_tokens_details"]["cached_tokens"])

    first, second = (cached_of(token) for token in TOKENS)
    assert first == second, "what one step of an answer has read, another need not: that is all"
    assert all(cached_of(token) > first + 10 for token in TOKENS)


def test_metrics_are_read_by_the_first_of_several_tokens(start: Start) -> None:
    """They would tell one tenant how long the prompts of another are."""
    url = start({"m": ModelBackend(ScriptedChatModel(responses=[]))}, TOKENS).removesuffix("/v1")
    statuses = [
        httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {token}"}).status_code for token in TOKENS
    ]
    assert statuses == [200, 403]
    alone = start({"m": ModelBackend(ScriptedChatModel(responses=[]))}, TOKENS[1:]).removesuffix("/v1")
    assert httpx.get(f"{alone}/metrics", headers={"Authorization": f"Bearer {TOKENS[1]}"}).status_code == 200


def test_a_token_has_a_limited_number_of_sessions(
    start: Start, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "TOKEN_SESSIONS", 2)
    model = ScriptedChatModel(responses=['Yes."'] * 20)
    url = start({"edda": RoleBackend(settings, EDDA, model)}, TOKENS)
    first, second = ({"Authorization": f"Bearer {token}"} for token in TOKENS)
    for name in ("a", "b", "a"):
        text_of(post(url, chat("edda"), X_Session=name, **first))
    response = post(url, chat("edda"), X_Session="c", **first)
    assert response.status_code == 403 and response.json()["error"]["code"] == "too_many_sessions"
    text_of(post(url, chat("edda"), X_Session="c", **second))
    text_of(post(url, chat("edda"), X_Session="b", **first))
    with open_store(settings.session_store) as store:
        assert len(list_sessions(store)) == 3
