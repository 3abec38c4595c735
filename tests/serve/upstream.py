"""The server of a model on loopback, for a server that passes requests on to it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import SecretStr

from egosrag.models.api import ApiChatModel


class Upstream:
    """A server of a model that notes what it is sent."""

    def __init__(self, text: str) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.requests: list[str] = []
        bodies, requests = self.bodies, self.requests

        class Handler(BaseHTTPRequestHandler):
            def parse_request(self) -> bool:
                requests.append(str(self.raw_requestline))
                return super().parse_request()

            def do_POST(self) -> None:
                bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                usage = {"prompt_tokens": 2000, "completion_tokens": 3, "total_tokens": 2003}
                for piece in (
                    {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]},
                    {"choices": [], "usage": {**usage, "prompt_tokens_details": {"cached_tokens": 1900}}},
                ):
                    self.wfile.write(f"data: {json.dumps(piece)}\n\n".encode())
                self.wfile.write(b"data: [DONE]\n\n")

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        address = f"http://127.0.0.1:{self._server.server_port}/v1"
        self.model = ApiChatModel(model="far", base_url=address, api_key=SecretStr("none"), max_retries=0)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
