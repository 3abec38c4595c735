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
from pathlib import Path

from egosrag import assemble
from egosrag.sessions.conversation import Conversation
from egosrag.settings import Settings
from tests.conftest import SAMPLES

EVERY = 10  # turns from one look at the memory to the next
HOUR = 60  # turns after which others begin: what an open conversation takes grows with its own length
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
    before, turn, scenes, answered = 0, 0, 0, 0
    while turn < warm + turns and time.monotonic() < until:
        # One conversation stays open for an hour, and of six others one is opened for each turn, as egosrag serve does.
        with assemble.conversation(settings, ROLES["en"], f"long{turn}", model) as long:
            hour = turn // HOUR
            while turn // HOUR == hour and turn < warm + turns and time.monotonic() < until:
                if turn == warm:
                    before = resident()
                if turn % 2:
                    say(long, "en", turn)
                else:
                    language = "zh" if turn % 4 else "en"
                    name = f"{language}{turn % 6} of hour {hour}"
                    with assemble.conversation(settings, ROLES[language], name, model) as talk:
                        say(talk, language, turn)
                turn += 1
                if turn > warm and (turn - warm) % EVERY == 0:
                    more.append(resident() - before)
            scenes, answered = scenes + len(long.scenes()), answered + len(long.turns()) // 2
    print(json.dumps({"turns": turn - warm, "scenes": scenes, "long": answered, "before": before, "more": more}))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)  # a memory that is full says so at every turn
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
