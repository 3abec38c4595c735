"""Sixty-four clients of which a third leaves at random moments: nothing is lost, stuck, mixed up, or kept in memory.

Five minutes on each kind of store in ``make nightly``, some seconds in ``make test``.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from egosrag.sessions.catalog import list_sessions
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.store import open_store
from tests.conftest import ROOT
from tests.serve.client import chat, send, wait_until, working
from tests.sessions.child_process import EchoModel

FULL = os.environ.get("EGOSRAG_TEST_PROFILE") == "full"
CLIENTS, SECONDS = (64, float(os.environ.get("EGOSRAG_TEST_LOAD_S", "300"))) if FULL else (12, 6.0)
LEAVING = 1 / 3
MORE_BYTES = 64 << 20
pytestmark = [
    pytest.mark.timeout(SECONDS + 300),
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the test reads /proc/PID/statm"),
]


class Client(threading.Thread):
    """Says one line after another in a session of its own; about a third of them without waiting for the reply."""

    def __init__(self, number: int, url: str, until: float) -> None:
        super().__init__()
        self.number, self.url, self.until = number, url, until
        self.answered: list[int] = []
        self.left = 0
        self.statuses = Counter[int]()
        self.wrong: list[str] = []

    def run(self) -> None:
        rng, line = random.Random(self.number), 0
        headers = {"X-Session": f"c{self.number}"}
        with httpx.Client(timeout=120) as http:
            while time.monotonic() < self.until:
                text, stream = f"line {self.number}x{line}", rng.random() < 0.5
                if rng.random() < LEAVING:
                    connection = send(self.url, chat("edda", text, stream=stream), headers)
                    time.sleep(rng.choice((0, 0.01, 0.1, 0.5)) * rng.random())
                    connection.close()
                    self.left += 1
                    line += 1
                    continue
                try:
                    response = http.post(f"{self.url}/chat/completions", json=chat("edda", text), headers=headers)
                except httpx.HTTPError as error:  # else the thread would end unseen
                    self.wrong.append(f"{text}: no answer in two minutes ({type(error).__name__})")
                    return
                self.statuses[response.status_code] += 1
                if response.status_code == 200:
                    said = response.json()["choices"][0]["message"]["content"]
                    if said != f"This is the reply to {text}.":
                        self.wrong.append(f"{text}: {said}")
                    self.answered.append(line)
                    line += 1
                elif response.status_code in (409, 429):
                    time.sleep(0.2 * rng.random())
                else:
                    self.wrong.append(response.text)


def resident(process: int) -> int:
    """Resident memory of a process in bytes."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_clients_that_leave_lose_keep_and_mix_nothing(any_store: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.serve.load_server", any_store, str(tmp_path / "data")]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    line = next(line for line in process.stderr if line.startswith("serves "))
    threading.Thread(target=lambda: list(process.stderr or ()), daemon=True).start()  # or its log would fill the pipe
    url = line.split(" at ")[1].strip()
    clients = [Client(number, url, time.monotonic() + SECONDS) for number in range(CLIENTS)]
    memory: list[int] = []
    try:
        for client in clients:
            client.start()
        while any(client.is_alive() for client in clients):
            time.sleep(SECONDS / 60)
            memory.append(resident(process.pid))
        wait_until(lambda: working(url) == 0, 10)
        for client in clients:  # no session is stuck
            body = chat("edda", f"line {client.number}x999999")
            headers = {"X-Session": f"c{client.number}"}
            response = httpx.post(f"{url}/chat/completions", json=body, headers=headers, timeout=60)
            assert response.status_code == 200, response.text
        assert working(url) == 0
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    answered, left = sum(len(c.answered) for c in clients), sum(c.left for c in clients)
    statuses = sum((c.statuses for c in clients), Counter[int]())
    warm = len(memory) // 3
    print(f"\n{answered} answered, {left} left, {dict(statuses)}; MiB {[m >> 20 for m in memory[:: len(memory) // 8]]}")
    assert not [wrong for client in clients for wrong in client.wrong]
    assert answered > CLIENTS and left > CLIENTS / 2
    assert max(memory[-5:]) - max(memory[: warm + 1]) < MORE_BYTES, [m >> 20 for m in memory]
    check_records(any_store, clients)


def check_records(url: str, clients: list[Client]) -> None:
    """Each session has the lines of one client alone, in their order, and every reply that the client was given."""
    seen = set[int]()
    with open_store(url) as store:
        for info in list_sessions(store):
            talk = Conversation(EchoModel(), "Edda", checkpointer=store, session=info.session)
            turns = [turn for turn in talk.turns() if turn.speaker == "Me" or turn.text.startswith("This is")]
            numbers = [re.findall(r"line (\d+)x(\d+)", turn.text) for turn in turns if turn.speaker == "Me"]
            owners = {int(found[0][0]) for found in numbers}
            assert len(owners) == 1, "a session holds lines of two clients"
            (owner,) = owners
            assert owner not in seen
            seen.add(owner)
            lines = [int(found[0][1]) for found in numbers]
            assert lines == sorted(set(lines)), "lines are out of order, or stored twice"
            complete = set[int]()
            for turn, reply in zip(turns, turns[1:], strict=False):
                if turn.speaker == "Me" and reply.speaker == "Edda":
                    whole = f"This is the reply to {turn.text}."
                    assert whole.startswith(reply.text), (turn.text, reply.text)
                    if reply.text == whole and reply.status == "complete":
                        complete.add(int(turn.text.rsplit("x", 1)[1]))
            assert set(clients[owner].answered) <= complete, "a reply that was sent is not in the record"
    assert seen == set(range(len(clients)))
