"""A day of talk in one process: prints, as a list, how many bytes more than after its warm-up it holds as it goes on.

A program of its own, so that nothing else is in its memory: ``python -m tests.soak FOLDER WARM TURNS SECONDS``.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from egosrag import assemble
from egosrag.egos.pipeline import Conversation
from egosrag.settings import Settings
from tests.conftest import SAMPLES

EVERY = 10  # turns from one look at the memory to the next
LINES = {
    "en": ("Who are you?", "What do you fear?", "I bring salt.", "Where do you live?", "Do you like the winter?"),
    "zh": ("你是谁？", "你害怕什么？", "我带来了盐。", "你住在哪里？", "你喜欢冬天吗？"),
}
ROLES = {"en": SAMPLES / "edda.en.json", "zh": SAMPLES / "gu.zh.json"}


def resident() -> int:
    """The bytes of memory that this process holds."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def say(talk: Conversation, language: str, turn: int) -> None:
    assert talk.say(f"{LINES[language][turn % 5]} ({turn})").text


def main(folder: Path, warm: int, turns: int, seconds: float) -> None:
    settings = Settings(
        data_dir=folder / "data", cache_dir=folder / "cache", prompt_tokens=480, max_new_tokens=12, memory="both"
    )
    # Half a gigabyte of keys and values, the default, would be full only after hours of such short turns.
    model = assemble.chat_model(settings).model_copy(update={"kv_cache_mb": 64})
    more, until = list[int](), time.monotonic() + seconds
    with ExitStack() as held:
        # One conversation stays open all day, and of six others one is opened for each turn, as egosrag serve does.
        long = held.enter_context(assemble.conversation(settings, ROLES["en"], "long", model))
        before, turn = 0, 0
        while turn < warm + turns and time.monotonic() < until:
            if turn == warm:
                before = resident()
            if turn % 2:
                say(long, "en", turn)
            else:
                language = "zh" if turn % 4 else "en"
                with assemble.conversation(settings, ROLES[language], f"{language}{turn % 6}", model) as talk:
                    say(talk, language, turn)
            turn += 1
            if turn > warm and (turn - warm) % EVERY == 0:
                more.append(resident() - before)
        told = {"turns": turn - warm, "scenes": len(long.scenes()), "long": len(long.turns()), "before": before}
    print(json.dumps({**told, "more": more}))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)  # a memory that is full says so at every turn
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
