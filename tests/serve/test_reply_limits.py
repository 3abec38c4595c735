"""Token limits and stop strings of a request apply to every kind of model, also on another server."""

from __future__ import annotations

from pathlib import Path

import pytest

from egosrag import ManualIndex, load_chat_model
from egosrag.models.scripted import ScriptedChatModel
from egosrag.serve.backends import ManualBackend, ModelBackend, RoleBackend
from egosrag.settings import Settings
from tests.serve.client import chat, post, text_of
from tests.serve.conftest import SAMPLES, Start
from tests.serve.upstream import Upstream

EDDA = SAMPLES / "edda.en.json"


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_token_limit_and_stop_strings_apply_to_every_kind_of_model(
    field: str, start: Start, settings: Settings, tmp_path: Path
) -> None:
    ManualIndex.build([SAMPLES / "manual.en.md"], tmp_path / "index")
    words = "one two three four five six seven eight nine ten."
    scripted = ScriptedChatModel(responses=[f'{words}"'] * 9)
    pocket = load_chat_model("pocket")
    url = start(
        {
            "edda": RoleBackend(settings, EDDA, scripted),
            "gu": RoleBackend(settings, SAMPLES / "gu.zh.json", pocket),
            "car": ManualBackend(settings, str(tmp_path / "index"), pocket),
            "m": ModelBackend(scripted),
        }
    )
    for model in ("edda", "m"):
        response = post(url, chat(model, **{field: 3}))
        assert text_of(response).strip() == "one two three"
        assert response.json()["choices"][0]["finish_reason"] == "length"
        response = post(url, chat(model, stop=["five"]))
        assert text_of(response).strip() == "one two three four"
        assert response.json()["choices"][0]["finish_reason"] == "stop"
    for model, line in (("car", "How many airbags does the car have?"), ("gu", "你害怕什么？")):
        whole = text_of(post(url, chat(model, line)))
        response = post(url, chat(model, line, **{field: 3}))
        assert whole.startswith(text_of(response)) and 0 < pocket.get_num_tokens(text_of(response)) <= 3
        assert response.json()["choices"][0]["finish_reason"] == "length"
        stop = whole[4:7]
        assert text_of(post(url, chat(model, line, stop=stop))) == whole[: whole.index(stop)]
        streamed = post(url, chat(model, line, stop=stop, stream=True))
        assert text_of(streamed) == whole[: whole.index(stop)]


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_limits_reach_a_models_server(
    field: str, upstream: Upstream, start: Start, settings: Settings, tmp_path: Path
) -> None:
    ManualIndex.build([SAMPLES / "manual.en.md"], tmp_path / "index")
    far = upstream.model
    url = start(
        {
            "edda": RoleBackend(settings, EDDA, far),
            "car": ManualBackend(settings, str(tmp_path / "index"), far),
            "m": ModelBackend(far),
        }
    )
    for model in ("edda", "car", "m"):
        upstream.bodies.clear()
        text_of(post(url, chat(model, "How many airbags does the car have?", stop=["zz"], seed=5, **{field: 7})))
        assert [body["max_tokens"] for body in upstream.bodies] == [7] * len(upstream.bodies), model
        if model != "car":
            assert upstream.bodies[-1]["stop"] == ["zz"] and upstream.bodies[-1]["seed"] == 5
