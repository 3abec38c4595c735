"""An OpenAI-compatible server to be killed: prints its port, then streams a reply; of a long one only the beginning.

``python -m tests.models.dying_server PORT chunked|closed``: a reply ends with a last chunk, or with the connection.
"""

from __future__ import annotations

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    chunked: bool

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked = next(m["content"] for m in reversed(body["messages"]) if m["role"] == "user")
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header(*(("transfer-encoding", "chunked") if self.chunked else ("connection", "close")))
        self.end_headers()
        for chunk in ("So", " it", " is", "."):
            self._event({"index": 0, "delta": {"content": chunk}, "finish_reason": None})
            if chunk == " it" and "a long story" in asked.rsplit("Me:", 1)[-1]:
                time.sleep(600)
        self._event({"index": 0, "delta": {}, "finish_reason": "stop"})
        self._send("data: [DONE]\n\n")
        if self.chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _event(self, choice: dict[str, Any]) -> None:
        base = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        self._send(f"data: {json.dumps({**base, 'choices': [choice]})}\n\n")

    def _send(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if self.chunked else data)
        self.wfile.flush()

    def log_message(self, *args: Any) -> None:
        """Keep the test output clean."""


if __name__ == "__main__":
    Handler.chunked = sys.argv[2] == "chunked"
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
