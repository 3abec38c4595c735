"""A real server on loopback: uvicorn in a thread, on a free port."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from egosrag.cli.serve import served_models
from egosrag.serve.api import create_app
from egosrag.serve.backends import Backend
from egosrag.serve.guard import Guard, Limits
from egosrag.serve.protocol import server_config
from egosrag.settings import Settings
from tests.serve.upstream import Upstream

SAMPLES = Path(__file__).parents[2] / "egosrag" / "data" / "samples"
Start = Callable[..., str]


@pytest.fixture
def start() -> Iterator[Start]:
    """``start(backends)`` starts a server and returns its base URL."""
    servers: list[tuple[uvicorn.Server, threading.Thread]] = []

    def begin(
        backends: Mapping[str, Backend],
        tokens: Sequence[str] = (),
        limits: Limits = Limits(),  # noqa: B008
        **options: Any,
    ) -> str:
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(server_config(create_app(backends, Guard(tokens, limits), **options)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        servers.append((server, thread))
        return f"http://127.0.0.1:{listening.getsockname()[1]}/v1"

    yield begin
    for server, thread in servers:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", cache_dir=tmp_path / "cache")


@pytest.fixture
def pocket(start: Start, settings: Settings) -> str:
    """The base URL of a server with the model pocket and two roles."""
    return start(served_models(settings, [SAMPLES / "edda.en.json", SAMPLES / "gu.zh.json"], []))


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream("The car has seven airbags.")
    yield server
    server.close()
