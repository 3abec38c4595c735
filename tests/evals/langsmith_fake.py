"""A LangSmith server on loopback: the datasets, examples, tags and experiments that the evaluations use."""

from __future__ import annotations

import json
import re
import threading
import uuid
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class FakeLangSmith:
    """Serves at ``url`` until ``close``; its attributes hold what it received.

    Attributes:
        calls: (method, path) of each writing request.
        datasets: Datasets by id.
        examples: Examples by id.
        tags: (dataset id, tag) of each tagged version.
        runs: Every posted run by id, with later patches applied.
        sessions: Experiments.
        feedback: Scores.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.datasets: dict[str, dict[str, Any]] = {}
        self.examples: dict[str, dict[str, Any]] = {}
        self.tags: list[tuple[str, str]] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        self.feedback: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes, kind: str) -> tuple[int, Any]:
        if method != "GET":
            self.calls.append((method, re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", path)))
        if path == "/info":
            return 200, {"instance_flags": {"dataset_examples_multipart_enabled": True}}
        if path == "/datasets":
            return self._datasets(method, query, body)
        if re.fullmatch(r"/datasets/[^/]+/tags", path):
            self.tags.append((path.split("/")[2], json.loads(body)["tag"]))
            return 200, {}
        if re.fullmatch(r"/v1/platform/datasets/[^/]+/examples", path):
            return self._write_examples(path.split("/")[4], body, kind)
        if path == "/examples":
            return self._examples(method, query)
        if path.startswith("/sessions"):
            return self._sessions(method, path, query, body)
        if path.startswith("/runs"):
            run = json.loads(body)
            self.runs.setdefault(run.get("id") or path.split("/")[2], {}).update(run)
            return 200, {}
        if path == "/feedback":
            self.feedback.append(json.loads(body))
            return 200, {}
        return 404, {"detail": f"{method} {path}"}

    def _datasets(self, method: str, query: dict[str, list[str]], body: bytes) -> tuple[int, Any]:
        if method == "POST":
            now = datetime.now(UTC).isoformat()
            created = {
                **json.loads(body),
                "id": str(uuid.uuid4()),
                "created_at": now,
                "tenant_id": str(uuid.UUID(int=1)),
            }
            self.datasets[created["id"]] = created
            return 200, created
        names = query.get("name", [])
        return 200, [d for d in self.datasets.values() if not names or d["name"] in names]

    def _write_examples(self, dataset: str, body: bytes, kind: str) -> tuple[int, Any]:
        boundary = re.search(r'boundary="?([^";]+)', kind)
        assert boundary, kind
        ids = set()
        for part in body.split(b"--" + boundary[1].encode())[1:-1]:
            head, _, content = part.strip(b"\r\n").partition(b"\r\n\r\n")
            name = re.search(rb'name="([^"]+)"', head)
            assert name, head
            example_id, _, field = name[1].decode().partition(".")
            value = json.loads(content)
            now = datetime.now(UTC).isoformat()
            example = self.examples.setdefault(example_id, {"id": example_id, "created_at": now, "dataset_id": dataset})
            example.update({field: value} if field else value)
            ids.add(example_id)
        return 200, {"example_ids": sorted(ids), "count": len(ids)}

    def _examples(self, method: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        if method == "DELETE":
            for example_id in query["example_ids"]:
                del self.examples[example_id]
            return 200, {}
        offset, limit = int(query["offset"][0]), int(query["limit"][0])
        found = [e for e in self.examples.values() if e["dataset_id"] in query["dataset"]]
        return 200, found[offset : offset + limit]

    def _sessions(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, Any]:
        if method == "POST":
            created = {**json.loads(body), "tenant_id": str(uuid.UUID(int=1))}
            self.sessions[created["id"]] = created
            return 200, created
        if method == "PATCH":
            return 200, self.sessions[path.split("/")[2]]
        found = [s for s in self.sessions.values() if path.endswith(s["id"]) or s["name"] in query.get("name", [])]
        return (200, found[0]) if path != "/sessions" else (200, found)


def _handler(fake: FakeLangSmith) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = (
            True  # headers and body are written separately: with Nagle each response would wait 40 ms
        )

        def _do(self) -> None:
            parts = urlsplit(self.path)
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b"".join(iter(self._chunk, b""))
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content = fake.answer(
                self.command, parts.path, parse_qs(parts.query), body, self.headers.get("Content-Type", "")
            )
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _chunk(self) -> bytes:
            size = int(self.rfile.readline().strip(), 16)
            data = self.rfile.read(size)
            self.rfile.readline()
            return data

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _do

        def log_message(self, *arguments: Any) -> None:
            return

    return Handler
