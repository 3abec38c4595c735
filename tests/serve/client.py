"""Clients: one on a plain socket, which can leave or stop reading at any moment, and one that reads whole answers."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx


def send(url: str, body: dict[str, Any] | bytes, headers: dict[str, str] | None = None) -> socket.socket:
    """Sends a chat completion request, and gives the open socket."""
    place = urlsplit(url)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Host": place.netloc, "Content-Type": "application/json", "Content-Length": str(len(content))}
    head = "".join(f"{name}: {value}\r\n" for name, value in {**lines, **(headers or {})}.items())
    connection = socket.create_connection((str(place.hostname), place.port or 80), timeout=30)
    connection.sendall(f"POST {place.path}/chat/completions HTTP/1.1\r\n{head}\r\n".encode() + content)
    return connection


def chat(model: str, text: str = "Hello?", *, stream: bool = False, **more: Any) -> dict[str, Any]:
    """The body of a request with one user message."""
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": text}], **more}


def post(url: str, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    return httpx.post(f"{url}/chat/completions", content=content, headers=headers, timeout=60)


def text_of(response: httpx.Response) -> str:
    """The answer, whole or streamed."""
    assert response.status_code == 200, response.text
    if response.headers["content-type"].startswith("application/json"):
        return str(response.json()["choices"][0]["message"]["content"])
    assert response.text.endswith("data: [DONE]\n\n")
    events = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    return "".join(e["choices"][0]["delta"].get("content") or "" for e in events if e["choices"])


def working(url: str, key: str = "none") -> int:
    """The number of requests that the server works on."""
    page = httpx.get(url.removesuffix("/v1") + "/metrics", headers={"Authorization": f"Bearer {key}"}).text
    found = re.search(r"^egosrag_working (\S+)$", page, re.MULTILINE)
    assert found, page
    return int(float(found[1]))


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> float:
    """Waits until the condition is true, and gives the seconds that it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"the condition was still false after {seconds} seconds"
        time.sleep(0.01)
    return time.monotonic() - started
