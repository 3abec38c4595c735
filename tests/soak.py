"""Conversations in one process for up to a day of turns: prints by how many bytes its memory grew after the warm-up.

It is a separate program so that nothing else is in its memory: ``python -m tests.soak FOLDER WARM TURNS SECONDS``.
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

EVERY = 10  # turns between two measurements of the memory
HOUR = 60  # turns after which new conversations begin, since the memory of an open one grows with its length
LINES = {
    "en": ("Who are you?", "What do you fear?", "I bring salt.", "Where do you live?", "Do you like the winter?"),
    "zh": ("你是谁？", "你害怕什么？", "我带来了盐。", "你住在哪里？", "你喜欢冬天吗？"),
}
ROLES = {"en": SAMPLES / "edda.en.json", "zh": SAMPLES / "gu.zh.json"}


def resident() -> int:
    """Resident memory of this process in bytes."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def say(talk: Conversation, language: str, turn: int) -> None:
    assert talk.say(f"{LINES[language][turn % 5]} ({turn})").text


def main(folder: Path, warm: int, turns: int, seconds: float) -> None:
    settings = Settings(
        data_dir=folder / "data", cache_dir=folder / "cache", prompt_tokens=480, max_new_tokens=12, memory="both"
    )
    # The default KV cache of half a gigabyte would fill only after hours of such short turns.
    model = assemble.chat_model(settings).model_copy(update={"kv_cache_mb": 64})
    growth, deadline = list[int](), time.monotonic() + seconds
    before, turn, scenes, answered = 0, 0, 0, 0
    while turn < warm + turns and time.monotonic() < deadline:
        # One conversation stays open for an hour; every second turn opens one of six others, as egosrag serve does.
        with assemble.conversation(settings, ROLES["en"], f"long{turn}", model) as long:
            hour = turn // HOUR
            while turn // HOUR == hour and turn < warm + turns and time.monotonic() < deadline:
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
                    growth.append(resident() - before)
            scenes, answered = scenes + len(long.scenes()), answered + len(long.turns()) // 2
    print(json.dumps({"turns": turn - warm, "scenes": scenes, "long": answered, "before": before, "more": growth}))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)  # a full memory logs a notice at every turn
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
