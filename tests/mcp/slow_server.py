"""A server with a role whose model takes a tenth of a second a piece, prints, and writes each piece into a file.

``python -m tests.mcp.slow_server STORE PIECES``
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk

from egosrag.console import Progress
from egosrag.mcp.served import Once, Served
from egosrag.mcp.server import serve_stdio
from egosrag.models.scripted import ScriptedChatModel
from egosrag.samples import role_path
from egosrag.settings import Settings


class SlowModel(ScriptedChatModel):
    responses: list[str] = []
    pieces: str

    def _next(self, messages: list[BaseMessage], stop: list[str] | None) -> str:
        return "word " * 20 + '."' if "quick" in str(messages[-2].text) else "word " * 2000

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        delay = 0 if "quick" in str(messages[-2].text) else 0.1
        print("noise of a library")
        os.write(1, b"noise of a child\n")
        for chunk in super()._stream(messages, *args, **kwargs):
            time.sleep(delay)
            with open(self.pieces, "a") as file:
                file.write(".")
            yield chunk


if __name__ == "__main__":
    store, pieces = sys.argv[1:]
    model = SlowModel(pieces=pieces, max_new_tokens=4000, context_window=16000)
    roles: dict[str, Path] = {"edda": role_path("edda")}
    anyio.run(serve_stdio, Served(Settings(store=store), Once(lambda: model), {}, roles, Progress()))
