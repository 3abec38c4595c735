"""Clients that cancel or leave, over standard input and output of a real process; what that carries."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio

from egosrag.sessions.catalog import archive_of
from egosrag.sessions.store import open_store
from tests.mcp.client import PROGRAM, Connection, connected, program

SOON = 5.0  # seconds


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"the condition was still false after {seconds} seconds"
        time.sleep(0.05)


def written(pieces: Path) -> int:
    return pieces.stat().st_size if pieces.exists() else 0


def test_a_call_that_is_cancelled_stops_the_model_and_frees_the_session(tmp_path: Path) -> None:
    store, pieces = tmp_path / "talk.sqlite", tmp_path / "pieces"
    with connected(program(tmp_path, "-m", "tests.mcp.slow_server", str(store), str(pieces))) as host:

        async def cancelled() -> None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(host.client.call_tool, "say_to_role", {"line": "Tell me all."})
                while written(pieces) < 3:
                    await anyio.sleep(0.05)
                tasks.cancel_scope.cancel()

        host.portal.call(cancelled)
        _stops(pieces)
        fields = _said_in_time(host)
        assert fields["reply"].startswith("word word")
    with open_store(store) as opened:
        line, broken_off, _, whole = archive_of(opened, "mcp-edda").turns[-4:]
    assert (line.text, broken_off.status, whole.status) == ("Tell me all.", "interrupted", "complete")
    assert broken_off.text.startswith("wor")


def _said_in_time(host: Connection) -> dict[str, object]:
    """The reply in the session of the call before, once that has let it go."""
    started = time.monotonic()
    while (result := host.call("say_to_role", line="A quick word.")).is_error:
        assert time.monotonic() - started < SOON, result.content
    assert isinstance(result.structured_content, dict)
    return result.structured_content


def _stops(pieces: Path) -> None:
    started, size = time.monotonic(), -1
    while size != written(pieces):
        assert time.monotonic() - started < SOON, "the model went on"
        size = written(pieces)
        time.sleep(0.6)


@contextmanager
def raw(folder: Path, *words: str) -> Iterator[Raw]:
    """A server to which lines are written, after the handshake."""
    command = program(folder, *words)
    with subprocess.Popen(
        [command.command, *command.args],
        env=command.env,
        cwd=command.cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        server = Raw(process)
        client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
        server.send(id=1, method="initialize", params=client)
        assert server.receive()["result"]["serverInfo"]["name"] == "egosrag"
        server.send(method="notifications/initialized")
        try:
            yield server
        finally:
            process.kill()


class Raw(NamedTuple):
    process: subprocess.Popen[str]

    def write(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def send(self, **message: object) -> None:
        self.write(json.dumps({"jsonrpc": "2.0", **message}))

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout
        message: dict[str, Any] = json.loads(self.process.stdout.readline())
        return message


def test_standard_output_carries_the_protocol_alone_and_its_end_ends_the_program(tmp_path: Path) -> None:
    pieces = tmp_path / "pieces"
    with raw(tmp_path, "-m", "tests.mcp.slow_server", str(tmp_path / "talk.sqlite"), str(pieces)) as server:
        server.write("this is no JSON")
        server.send(id=2, method="tools/call", params={"name": "say_to_role", "arguments": {"line": "A quick word."}})
        while (answer := server.receive()).get("id") != 2:
            assert answer["jsonrpc"] == "2.0"
        assert answer["result"]["structuredContent"]["speaker"] == "Edda"
        pieces.unlink()
        server.send(id=3, method="tools/call", params={"name": "say_to_role", "arguments": {"line": "Tell me all."}})
        wait_until(lambda: written(pieces) > 2)
        out, err = server.process.communicate(timeout=30)  # closes its input in the middle of a reply
    for line in filter(None, out.splitlines()):
        assert json.loads(line)["jsonrpc"] == "2.0"
    assert "noise of a library" in err and "noise of a child" in err
    assert server.process.returncode == 0, err


def test_a_host_need_not_wait_until_everything_is_loaded(tmp_path: Path) -> None:
    with raw(tmp_path, *PROGRAM, "--role", "edda") as server:
        assert server.process.communicate(timeout=30)[0] == ""
    assert server.process.returncode == 0


def test_ctrl_c_ends_it(tmp_path: Path) -> None:
    with raw(tmp_path, *PROGRAM, "--role", "edda") as server:
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == -signal.SIGINT
