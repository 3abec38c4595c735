"""Child processes that hold an endless conversation until they are killed at a random moment."""

from __future__ import annotations

import os
import random
import select
import signal
import time
from collections.abc import Callable

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.base import id as checkpoint_id

from egosrag.models.scripted import ScriptedCall, ScriptedChatModel
from egosrag.sessions.conversation import Conversation
from egosrag.sessions.store import exclusive, open_store
from tests.roles.cards import TIM


class EchoModel(ScriptedChatModel):
    """Answers “line 7” with “This is the reply to line 7.”"""

    responses: list[str] = []
    chunk_size: int = 6

    def _next(self, messages: list[BaseMessage], stop: list[str] | None) -> str:
        self._calls.append(ScriptedCall(tuple(messages), None, ()))
        last = str(messages[-2].text).rsplit('Me: "', 1)[1].split('"')[0]
        return f'This is the reply to {last}."'


def shift_clock(nanoseconds: int) -> None:
    """Moves the clock of this process, as if it had just begun with it."""
    true = time.time_ns
    time.time_ns = lambda: true() + nanoseconds
    checkpoint_id._last_v6_timestamp = None


def answer_lines(url: str, clock_ns: int = 0) -> Callable[[int], None]:
    """The work of a child: continues session "s" of a store, and writes the number of each line that was answered.

    Args:
        url: the store.
        clock_ns: nanoseconds by which the child's clock is ahead.
    """

    def work(pipe: int) -> None:
        shift_clock(clock_ns)
        with open_store(url) as store:
            talk = Conversation(EchoModel(), TIM, checkpointer=store, session="s")
            with exclusive(store, "s"):  # waits until the server has done what a killed process sent
                turns = talk.turns()
            number = sum(turn.speaker == "Me" for turn in turns) - bool(turns and turns[-1].speaker == "Me")
            while True:
                assert talk.say(f"line {number}").text == f"This is the reply to line {number}."
                os.write(pipe, f"{number}\n".encode())
                number += 1

    return work


def run_and_kill(work: Callable[[int], None], is_enough: Callable[[list[int]], bool], rng: random.Random) -> list[int]:
    """Runs ``work`` in a child, and kills it at a random moment.

    The child is a fork of this process, since a new one would take seconds to start.

    Args:
        work: receives the file descriptor to which it writes one number per line.
        is_enough: whether the numbers so far are enough; the child is killed after them, within the time that the last
            one took.
        rng: chooses the moment.

    Returns:
        The numbers that the child wrote.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            work(writing)
        finally:
            os._exit(3)  # the work ended by itself, and the test fails
    os.close(writing)
    numbers, step, before = list[int](), 0.0, time.monotonic()
    try:
        while not is_enough(numbers):
            assert select.select([reading], [], [], 60)[0], "the child has written nothing for a minute"
            numbers += _read(reading)
            step, before = time.monotonic() - before, time.monotonic()
        time.sleep(rng.uniform(0, step))
    finally:
        os.kill(child, signal.SIGKILL)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended == -signal.SIGKILL, "the child ended before it was killed"
    numbers += _read(reading)
    os.close(reading)
    return numbers


def _read(pipe: int) -> list[int]:
    text = os.read(pipe, 65536).decode() if select.select([pipe], [], [], 0)[0] else ""
    return [int(number) for number in text.splitlines()]
