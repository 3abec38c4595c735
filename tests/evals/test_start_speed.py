"""How soon the program answers: what is timed ends with the first byte of an answer, and failures are told."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from egosrag.errors import EgosRagError
from evals.speed.start import measure, seconds


def test_the_first_byte_of_the_answer_ends_the_time() -> None:
    talks = "import sys, time; print(input(), end='', flush=True); time.sleep(1.5)"
    assert 0 < seconds([sys.executable, "-c", talks], "hello") < 1.5


def test_a_silent_process_is_timed_to_its_end() -> None:
    assert seconds([sys.executable, "-c", "import time; time.sleep(0.3)"]) >= 0.3


def test_a_process_that_fails_is_no_time_but_an_error() -> None:
    with pytest.raises(EgosRagError, match=r"failed \(3\): out of order"):
        seconds([sys.executable, "-c", "import sys; print('out of order', file=sys.stderr); sys.exit(3)"])


def test_every_kind_of_start_is_measured(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps(["I am Edda.”"]), encoding="utf-8")
    found = measure(2, model=f"scripted:{script}", peer=False)
    assert found["peers"] == {}
    assert {name for name in found["ours"] if "first run" not in name} == {"import_s", "help_s", "chat_first_token_s"}
    assert all(took > 0 for took in found["ours"].values())
    assert found["ours"]["import_s"] < found["ours"]["chat_first_token_s"]
