"""A server of one role for the load test, in its own process: ``python -m tests.serve.load_server STORE FOLDER``."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langchain_core.outputs import ChatGenerationChunk

from egosrag.cli.serve import run
from egosrag.serve.api import create_app
from egosrag.serve.backends import RoleBackend
from egosrag.serve.guard import Guard, Limits
from egosrag.settings import Settings
from tests.conftest import SAMPLES
from tests.sessions.child_process import EchoModel


class SlowEchoModel(EchoModel):
    """Answers “line 7” with “This is the reply to line 7.”, and takes a moment for each piece of it."""

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for chunk in super()._stream(*args, **kwargs):
            time.sleep(random.uniform(0, 0.02))
            yield chunk

    def _next(self, *args: Any) -> str:
        reply = super()._next(*args)
        self._calls.clear()  # or the memory would grow with each of them
        return reply


if __name__ == "__main__":
    settings = Settings(data_dir=Path(sys.argv[2]), store=sys.argv[1], memory="none", prompt_tokens=1200)
    role = RoleBackend(settings, SAMPLES / "edda.en.json", SlowEchoModel())
    run(create_app({"edda": role}, Guard((), Limits())), ["edda"], "127.0.0.1", 0, "/v1")
