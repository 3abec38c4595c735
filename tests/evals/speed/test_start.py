"""Start-up time: timed to the first byte of the output; a failing process is an error."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from egosrag.errors import EgosRagError
from evals.speed.start import commands, measure, seconds


def test_the_time_ends_with_the_first_byte_of_the_output() -> None:
    talks = "import sys, time; print(input(), end='', flush=True); time.sleep(1.5)"
    began = time.perf_counter()
    first = seconds([sys.executable, "-c", talks], "hello")
    assert 0 < first < time.perf_counter() - began - 1.4, "the process sleeps for 1.5 seconds after its first byte"


def test_a_silent_process_is_timed_to_its_end() -> None:
    assert seconds([sys.executable, "-c", "import time; time.sleep(0.3)"]) >= 0.3


def test_a_failing_process_is_an_error() -> None:
    with pytest.raises(EgosRagError, match=r"failed \(3\): out of order"):
        seconds([sys.executable, "-c", "import sys; print('out of order', file=sys.stderr); sys.exit(3)"])


def test_every_start_is_measured(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps(["I am Edda.”"]), encoding="utf-8")
    found = measure(2, model=f"scripted:{script}", peer=False)
    assert found["peers"] == {}
    assert {name for name in found["ours"] if " of " not in name} == {"import_s", "help_s", "chat_first_token_s"}
    assert 0 < found["ours"]["import_s of the processor"] < found["ours"]["chat_first_token_s of the processor"]
    assert all(took > 0 for took in found["ours"].values())
    assert found["ours"]["import_s"] < found["ours"]["chat_first_token_s"]


_COUNTS = """
import gc, sys
counts = [0, 0, 0]
def count(phase, info):
    counts[info["generation"]] += phase == "start"
gc.callbacks.append(count)
from egosrag.cli.main import main
code = main()
print(*counts, file=sys.stderr)
sys.exit(code)
"""


def test_imports_run_without_garbage_collection(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps(["I am Edda.”"]), encoding="utf-8")
    command, line = commands(tmp_path, f"scripted:{script}")["chat_first_token_s"]
    counting = [sys.executable, "-c", _COUNTS, *command[3:]]
    done = subprocess.run(counting, input=f"{line}\n", capture_output=True, text=True, check=True)
    assert "I am Edda." in done.stdout
    young, middle, old = map(int, done.stderr.split()[-3:])
    assert old == 0 and middle < 10 and young < 100, "by default 2, 28 and 300"
