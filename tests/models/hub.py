"""A hub of one file on loopback, which can break off, ignore ranges, serve wrong bytes or wait."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Hub:
    """What the server does, and what it was asked for."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.status = 200
        self.ranges = True
        self.cuts: list[int] = []
        """Bytes after which the next answers break off, one number an answer."""
        self.asked, self.may_answer = threading.Event(), threading.Event()
        self.may_answer.set()
        self.requests: list[Request] = []
        self.address = ""


class Request(NamedTuple):
    path: str
    start: int


@contextmanager
def serving(data: bytes) -> Iterator[Hub]:
    """A running hub; ``hub.address`` is its address."""
    hub = Hub(data)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(asked[1]) if asked else 0
            hub.requests.append(Request(self.path, start))
            hub.asked.set()
            hub.may_answer.wait(60)
            if hub.status != 200:
                self.send_error(hub.status)
                return
            if asked and hub.ranges:
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(hub.data) - 1}/{len(hub.data)}")
            else:
                self.send_response(200)
                start = 0
            body = hub.data[start:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: hub.cuts.pop(0)] if hub.cuts else body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
