"""A data set of the hub, with the hub's own client; the hub is a server on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
COMMIT = "0" * 40
ROWS = b'{"instruction": "Say a.", "output": "a"}\n{"instruction": "Say nothing."}\n'
FILE = {"type": "file", "path": "train.jsonl", "size": len(ROWS), "oid": COMMIT}


class Hub(BaseHTTPRequestHandler):
    """Serves one repository, tiny/rows, with one file."""

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path == f"/datasets/tiny/rows/resolve/{COMMIT}/train.jsonl":
            self._send(ROWS)
        elif "/tree/" in path and path.startswith("/api/datasets/tiny/rows/"):
            self._send(json.dumps([FILE]).encode())
        elif path in ("/api/datasets/tiny/rows", f"/api/datasets/tiny/rows/revision/{COMMIT}"):
            self._send(
                json.dumps({"id": "tiny/rows", "sha": COMMIT, "siblings": [{"rfilename": FILE["path"]}]}).encode()
            )
        else:
            self._send(b"", 404)

    do_HEAD = do_GET

    def _send(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.send_header("X-Repo-Commit", COMMIT)
        if status == 404:
            self.send_header("X-Error-Code", "EntryNotFound" if "/resolve/" in self.path else "RepoNotFound")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture()
def hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_rows_of_the_hub_have_locations(hub: str, tmp_path: Path) -> None:
    code = """
import json
from finetune.data.rows import read_rows
from egosrag.errors import TrainingError
print(json.dumps([(row.location, row.columns) for row in read_rows("tiny/rows")]))
for name, split in (("tiny/none", "train"), ("tiny/rows", "test")):
    try:
        list(read_rows(name, split))
    except TrainingError as error:
        print(error)
"""
    env = {**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows, *errors = done.stdout.splitlines()
    assert json.loads(rows) == [
        ["tiny/rows[train] row 1", {"instruction": "Say a.", "output": "a"}],
        ["tiny/rows[train] row 2", {"instruction": "Say nothing.", "output": None}],
    ]
    assert [error.split(" is neither")[0] for error in errors] == ["tiny/none (split train)", "tiny/rows (split test)"]
