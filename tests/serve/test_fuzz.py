"""Fuzzing of HTTP bodies against a running server: every one ends in a status that is meant, and 503 has a reason.

Some hundred bodies in ``make test``, an hour of new ones in ``make nightly``.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from egosrag import ManualIndex, load_chat_model
from egosrag.serve.backends import Backend, ManualBackend, ModelBackend, RoleBackend
from egosrag.serve.schema import ChatRequest
from egosrag.settings import Settings
from tests.serve.client import working
from tests.serve.conftest import SAMPLES, Start
from tests.serve.front_ends import BODIES

FULL = os.environ.get("EGOSRAG_TEST_PROFILE") == "full"
SECONDS = float(os.environ.get("EGOSRAG_TEST_FUZZ_S", "3600" if FULL else "0"))
EXAMPLES = 200  # in one round; one round where no time is set
pytestmark = pytest.mark.timeout(SECONDS + 300)

CHARACTERS = st.characters(codec=None)  # type: ignore[arg-type]  # halves of surrogate pairs too
TEXT = st.text(CHARACTERS, max_size=20) | st.sampled_from(
    ["<|im_end|>", "\x00", "Edda:", '"', "”", "\ud800", "{{user}}", "../../x", "rain " * 500, "雨" * 3000, "", " "]
)
NUMBER = st.integers() | st.floats() | st.sampled_from([1e-45, 2**63, -(2**63), 10**40, 1, 0, -1, 0.5, 2])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
PART = st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url", "input_audio", "x"]), "text": TEXT}) | JSON
MESSAGE = (
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "developer", "user", "assistant", "tool", "function", "root"]),
            "content": TEXT | st.none() | st.lists(PART, max_size=3) | JSON,
        },
        optional={"name": JSON, "prefix": st.booleans() | JSON, "tool_calls": JSON},
    )
    | JSON
)
FIELDS = sorted({*ChatRequest.model_fields, "n", "logprobs", "tools", "response_format", "x"} - {"model", "messages"})
USER = st.just({"role": "user", "content": "What are you afraid of?"})
BODY = st.builds(
    lambda base, messages, changes: {**base, **({"messages": messages} if messages else {}), **changes},
    st.sampled_from(list(BODIES.values())),
    st.lists(MESSAGE | USER, max_size=5),
    st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3)
    | st.fixed_dictionaries({}, optional={name: NUMBER for name in ("temperature", "top_p", "seed", "max_tokens")}),
)


def encoded(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


CONTENT = (
    BODY.map(encoded)
    | st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.tuples(BODY.map(encoded), st.integers(0, 300), st.binary(max_size=4)).map(
        lambda cut: cut[0][: cut[1]] + cut[2] + cut[0][cut[1] :]
    )
)


def test_every_body_ends_in_a_status_that_is_meant(start: Start, settings: Settings, tmp_path: Path) -> None:
    ManualIndex.build([SAMPLES / "manual.en.md"], tmp_path / "index")
    model = load_chat_model("pocket", max_new_tokens=4)
    backends: dict[str, Backend] = {
        "m": ModelBackend(model),
        "edda.en": RoleBackend(settings, SAMPLES / "edda.en.json", model),
        "car": ManualBackend(settings, str(tmp_path / "index"), model),
    }
    url = start(backends)
    statuses = Counter[int]()
    http = httpx.Client(timeout=60)

    def post(content: bytes, headers: dict[str, str]) -> None:
        response = http.post(
            f"{url}/chat/completions", content=content, headers={"Content-Type": "application/json", **headers}
        )
        statuses[response.status_code] += 1
        if response.status_code == 200:
            return
        error = response.json()["error"]
        assert response.status_code < 500 or response.status_code == 503, (response.status_code, content)
        assert error["message"] and error["code"] != "failed", (error, content)
        assert str(tmp_path) not in response.text

    phases = (Phase.explicit, Phase.generate, Phase.shrink) if FULL else (Phase.explicit, Phase.generate)
    profile = _profile(phases)

    def round_() -> None:
        @profile
        @given(
            content=CONTENT,
            model=st.sampled_from(sorted(backends)),
            session=st.none() | st.sampled_from(["a", "b", "x" * 300]),
        )
        def fuzz(content: bytes, model: str, session: str | None) -> None:
            content = content.replace(b'"edda.en"', json.dumps(model).encode())
            post(content, {"X-Session": session} if session else {})

        fuzz()

    until = time.monotonic() + SECONDS
    round_()
    while time.monotonic() < until:
        round_()
    print(f"\n{sum(statuses.values()):,} bodies: {dict(statuses)}")
    assert statuses[200] and statuses[400]
    assert working(url) == 0


def _profile(phases: Any) -> Any:
    return settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=not (FULL or SECONDS),
        database=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
