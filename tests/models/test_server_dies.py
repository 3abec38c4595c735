"""A model server's process is killed in the middle of a reply: the session keeps the line and the interrupted reply."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from egosrag.errors import ModelError
from egosrag.models import load_chat_model
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.store import open_store
from tests.conftest import ROOT
from tests.roles.cards import TIM


@contextmanager
def serving(how: str, port: int = 0) -> Iterator[tuple[int, int]]:
    """The process id and the port of a server."""
    command = [sys.executable, "-m", "tests.models.dying_server", str(port), how]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


@pytest.mark.parametrize("how", ["chunked", "closed"])
def test_a_server_that_is_killed_in_the_middle_of_a_reply(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "talk.sqlite"

    def turns(talk: Conversation) -> list[tuple[str, str, str]]:
        return [(turn.speaker, turn.text, turn.status) for turn in talk.turns()]

    with serving(how) as (server, port), open_store(path) as store:
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{port}/v1")
        model = load_chat_model("openai:m", prefix_style="vllm", max_retries=0)
        talk = Conversation(model, TIM, checkpointer=store, session="s")
        assert talk.say("line 0").text == "So it is."
        chunks = talk.stream("Tell me a long story")
        assert next(chunks) == "So"
        os.kill(server, signal.SIGKILL)
        with pytest.raises(ModelError, match=f"127.0.0.1:{port}") as error:
            list(chunks)
        assert "\n" not in str(error.value)
        broken = [("Me", "line 0", "complete"), ("Tim", "So it is.", "complete")]
        broken += [("Me", "Tell me a long story", "complete"), ("Tim", "So it", "interrupted")]
        assert turns(talk) == broken
        with pytest.raises(ModelError, match=f"no connection to 127.0.0.1:{port}"):
            talk.say("line 1")
    with serving(how, port), open_store(path) as store:
        talk = Conversation(model, TIM, checkpointer=store, session="s")
        assert turns(talk)[:4] == broken
        assert talk.say("line 1").text == "So it is."
        assert turns(talk) == [*broken, ("Me", "line 1", "complete"), ("Tim", "So it is.", "complete")]
