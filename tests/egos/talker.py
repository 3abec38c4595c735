"""A process that talks on and on, says what was answered, and can be killed at any moment."""

from __future__ import annotations

import os
import random
import select
import signal
import time
from collections.abc import Callable

from langchain_core.messages import BaseMessage

from egosrag.models.scripted import ScriptedCall, ScriptedChatModel
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.store import exclusive, open_store
from tests.roles.cards import TIM


class Counter(ScriptedChatModel):
    """Answers “line 7” with “This is the reply to line 7.”, whoever asks it."""

    responses: list[str] = []
    chunk_size: int = 6

    def _next(self, messages: list[BaseMessage], stop: list[str] | None) -> str:
        self._calls.append(ScriptedCall(tuple(messages), None, ()))
        last = str(messages[-2].text).rsplit('Me: "', 1)[1].split('"')[0]
        return f'This is the reply to {last}."'


def talker(url: str, session: str = "s", model: ScriptedChatModel | None = None) -> Callable[[int], None]:
    """What a child does: goes on where the record ends, and writes the number of every line that was answered."""

    def work(out: int) -> None:
        with open_store(url) as store:
            talk = Conversation(model or Counter(), TIM, checkpointer=store, session=session)
            with exclusive(store, session):  # what the killed one had sent to its database may still be on its way in
                turns = talk.turns()
            number = sum(turn.speaker == "Me" for turn in turns) - bool(turns and turns[-1].speaker == "Me")
            while True:
                assert talk.say(f"line {number}").text == f"This is the reply to line {number}."
                os.write(out, f"{number}\n".encode())
                number += 1

    return work


def killed(work: Callable[[int], None], enough: Callable[[list[int]], bool], chance: random.Random) -> list[int]:
    """Runs ``work`` in a child until it wrote ``enough``, and kills it at a random moment of what it does next.

    The child is this process's fork, so that it does not take seconds to begin.

    Returns:
        The numbers that it wrote.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            work(writing)
        finally:
            os._exit(3)  # it ended by itself: the test fails
    os.close(writing)
    numbers, step, before = list[int](), 0.0, time.monotonic()
    try:
        while not enough(numbers):
            assert select.select([reading], [], [], 60)[0], "the child does nothing"
            numbers += _read(reading)
            step, before = time.monotonic() - before, time.monotonic()
        time.sleep(chance.uniform(0, step))
    finally:
        os.kill(child, signal.SIGKILL)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended == -signal.SIGKILL, "the child ended before it was killed"
    numbers += _read(reading)
    os.close(reading)
    return numbers


def _read(pipe: int) -> list[int]:
    found = os.read(pipe, 65536).decode() if select.select([pipe], [], [], 0)[0] else ""
    return [int(number) for number in found.splitlines()]
