"""A day of talk with the embedded model and a real store in one process: its memory stays what it was.

A day is a turn a minute, 1,440; ``make nightly`` draws as many of them as ten minutes hold, ``make test`` sixty.
"""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.soak import resident

FULL = os.environ.get("EGOSRAG_TEST_PROFILE") == "full"
#: A quarter of a megabyte a turn in the short run. Before PyTorch was told to keep fewer shapes it grew by a half.
BOUND = (32 if FULL else 16) << 20
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="a process sees its memory elsewhere here"
)


@pytest.mark.timeout(900)
def test_a_day_of_talk_leaves_the_memory_as_it_was(tmp_path: Path) -> None:
    warm, turns, seconds = (140, 24 * 60 - 140, 600) if FULL else (60, 60, 280)
    command = [sys.executable, "-m", "tests.soak", str(tmp_path), str(warm), str(turns), str(seconds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    print(f"\n{told['turns']} turns on {told['before'] >> 20} MiB, then {[n >> 20 for n in told['more']]} MiB more")
    assert told["turns"] >= (200 if FULL else turns)
    assert told["long"] >= told["turns"] // 2 and told["scenes"] > 3, "the long one was answered, and summed up"
    assert max(told["more"][-3:]) < BOUND, f"{[n >> 20 for n in told['more']]} MiB more than after the warm-up"


def test_what_is_kept_would_be_seen() -> None:
    before = resident()
    with mmap.mmap(-1, BOUND) as kept:  # new pages, where the heap might have some left over
        kept.write(b"x" * BOUND)
        assert resident() - before > 0.9 * BOUND
