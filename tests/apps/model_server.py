"""A server of a chat model for the tests of the pages: it writes slowly, or fails, as a test says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ModelServer(ThreadingHTTPServer):
    """An OpenAI-compatible server.

    Attributes:
        words: what it says, a word each ``pause`` seconds.
        pause: seconds before each word.
        thinks: seconds before the first word.
        fails: whether it answers with an error.
    """

    daemon_threads = True

    def reset(self) -> None:
        """As at the beginning of each test."""
        self.words, self.pause, self.thinks, self.fails = "Sit down, sailor.", 0.0, 0.0, False

    @property
    def address(self) -> str:
        """What OPENAI_BASE_URL is set to."""
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: ModelServer

    def do_GET(self) -> None:
        self._send(json.dumps({"data": [{"id": "slow"}]}).encode(), "application/json")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.server.fails:
            self._send(b'{"error": {"message": "out of order"}}', "application/json", 400)
            return
        time.sleep(self.server.thinks)
        if not body.get("stream"):
            message = {"role": "assistant", "content": self.server.words}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            whole = {"id": "1", "object": "chat.completion", "created": 1, "model": "slow", "choices": [choice]}
            self._send(json.dumps(whole).encode(), "application/json")
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for word in self.server.words.split(" "):
            time.sleep(self.server.pause)
            self._event({"content": word + " "}, None)
        self._event({}, "stop")
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, delta: dict[str, str], reason: str | None) -> None:
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": reason}
        event = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "slow", "choices": [choice]}
        self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.wfile.flush()

    def _send(self, data: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        """Keep the output of the tests clean."""

    def handle(self) -> None:
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):  # the page was stopped
            return


@contextmanager
def model_server() -> Iterator[ModelServer]:
    """A running server."""
    server = ModelServer(("127.0.0.1", 0), _Handler)
    server.reset()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
