"""llama.cpp in this process: a loaded GGUF file as a server of xllamacpp, token ids in, text out.

Its slots share one KV cache, so that several conversations run at once with their prefixes kept; those that are pushed
out of it wait in main memory, up to a limit.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from egosrag.caller import POLL_S, cache_key, check_cancelled, current_caller
from egosrag.errors import ModelError, WindowError
from egosrag.models.runtime.gguf_file import GgufFile
from egosrag.models.runtime.gguf_tokenizer import GgufTokenizer, loopback_client, message_of, post
from egosrag.models.runtime.kv_cache import common_prefix_length
from egosrag.models.runtime.prompt_files import PromptFiles

SLOTS = 4
"""Conversations that run at once; more wait."""

_CERTAIN = 1000.0  # added to a logit
_REMEMBERED_PROMPTS = 16  # of each caller, to state how much of the next one the caller itself has sent before


@dataclass
class LlamaGeneration:
    """One generation: pass it to ``LlamaServer.generate``, and read its counts at any time.

    Attributes:
        ids: the prompt's token ids.
        request: sampling parameters by llama.cpp's names.
        budget: tokens that may be generated.
        new_tokens: tokens generated so far.
        cached_tokens: ids of the prompt that were found in the KV cache.
        reached_end: the model ended the reply itself.
        cancelled: set to stop.
    """

    ids: list[int]
    request: Mapping[str, Any]
    budget: int
    new_tokens: int = 0
    cached_tokens: int = 0
    reached_end: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def prompt_tokens(self) -> int:
        """Ids of the prompt."""
        return len(self.ids)


class LlamaServer:
    """A GGUF file in memory, with or without a LoRA adapter.

    Args:
        file: its header.
        server: xllamacpp's.
        cache_tokens: tokens of the KV cache that all slots share.
        key: of the server's own port.
        files: prompts of earlier processes, and where those of this one are saved when it ends; None for none.

    Attributes:
        name: what the user called the file, for errors.
        tokenizer: the file's.
    """

    def __init__(
        self, file: GgufFile, server: Any, *, cache_tokens: int, key: str, files: PromptFiles | None = None
    ) -> None:
        self.name = file.name
        self._post = partial(post, loopback_client(server.listening_address, key))
        self.tokenizer = GgufTokenizer(file, self._post)
        self._server = server
        self._files = files
        self._used = False  # by a first prompt
        self._shared = False  # by callers who may not learn of each other's prompts
        self._freed = threading.Condition()
        self._free_tokens = cache_tokens
        self._running: set[int] = set()  # identities of the generations
        self._prompts: dict[str, deque[list[int]]] = {}  # the last ones of each caller, by its cache key
        self._stopping = 0  # generations that were cancelled and still hold their slot

    def start(
        self, prompt: Sequence[int], request: Mapping[str, Any], *, window: int, max_new_tokens: int
    ) -> LlamaGeneration:
        """Check that the prompt fits, and prepare its generation.

        Args:
            prompt: token ids.
            request: sampling parameters by llama.cpp's names.
            window: tokens of prompt and reply together.
            max_new_tokens: limit of the reply; reduced to what the window leaves.

        Raises:
            WindowError: the prompt leaves no token of the window for a reply.
        """
        remaining = window - len(prompt)
        if remaining < 1:
            raise WindowError(
                f"the prompt has {len(prompt)} tokens and the window of {self.name} holds {window}:"
                " shorten it, or use a model with a longer window"
            )
        return LlamaGeneration(list(prompt), request, min(remaining, max_new_tokens))

    def generate(self, generation: LlamaGeneration) -> Generator[str, None, None]:
        """Yield the reply as it comes, whole characters only. Close the iterator to stop."""
        events: SimpleQueue[dict[str, Any] | ModelError | None] = SimpleQueue()
        own = self._own_prefix(generation.ids) if cache_key() else None
        self._take_over_saved(generation.ids)
        self._acquire(generation)
        threading.Thread(target=self._run, args=(generation, events), name="llama.cpp").start()
        try:
            while (event := _next(events)) is not None:
                if isinstance(event, ModelError):
                    raise event
                timings, choice = event.get("timings") or {}, event["choices"][0]
                cached = int(timings.get("cache_n", generation.cached_tokens))
                generation.cached_tokens = min(cached, own) if own is not None else cached
                generation.new_tokens = int(timings.get("predicted_n", generation.new_tokens))
                generation.reached_end = choice.get("finish_reason") == "stop"
                if text := choice.get("text"):
                    yield text
        finally:
            self._cancel(generation)

    def log_likelihoods(self, generation: LlamaGeneration, start: int) -> list[float]:
        """The log-likelihood in nats of each id of the prompt of ``generation`` from ``start`` on; none is sampled.

        llama.cpp's server states those of generated tokens only, so each id is generated: a bias makes it certain, and
        what is stated is computed without it. For a token that ends inside a character it states nothing, so that one
        is left out.
        """
        self._acquire(generation)
        try:
            ids = generation.ids
            found = (self._log_likelihood(ids[:n], ids[n]) for n in range(start, len(ids)))
            return [value for value in found if value is not None]
        finally:
            self._release(generation)

    def _log_likelihood(self, prompt: list[int], token: int) -> float | None:
        check_cancelled()
        request = {"max_tokens": 1, "temperature": 0, "samplers": ["temperature"], "logit_bias": [[token, _CERTAIN]]}
        answer = self._server.handle_completions({**request, "prompt": prompt, "logprobs": 1})
        if "choices" not in answer:
            raise ModelError(f"llama.cpp cannot score a text with {self.name}: {message_of(answer)}")
        stated = answer["choices"][0]["logprobs"]
        return float(stated["content"][0]["logprob"]) if stated else None

    def _take_over_saved(self, prompt: list[int]) -> None:
        """Read what an earlier process saved of the first prompt into the slot that llama.cpp will choose for it."""
        with self._freed:
            first, self._used = not self._used, True
            self._shared |= bool(cache_key())
        if not first or not self._files or self._shared:
            return
        with suppress(ModelError, OSError):  # another process may delete it meanwhile: then the prompt is read
            if path := self._files.best_for(prompt):
                self._post("/slots/0?action=restore", {"filename": path.name})

    def save_prompts(self) -> None:
        """Save the prompts of this process for later ones, unless several callers share it."""
        if self._files and self._used and not self._shared:
            for number in range(SLOTS):
                path = self._files.slot(number)
                with suppress(Exception):  # a cache: whatever fails, the prompt is read again
                    self._post(f"/slots/{number}?action=save", {"filename": path.name})
                    self._files.keep(path)

    def _own_prefix(self, prompt: list[int]) -> int:
        """Ids with which ``prompt`` and an earlier prompt of the same caller begin, and remembers this one.

        The callers share the cache, but do not learn which part of a prompt others have sent.
        """
        with self._freed:
            earlier = self._prompts.setdefault(cache_key(), deque(maxlen=_REMEMBERED_PROMPTS))
            length = max((common_prefix_length(ids, prompt) for ids in earlier), default=0)
            earlier.append(prompt)
        return length

    def _acquire(self, generation: LlamaGeneration) -> None:
        # A call that finds the shared KV cache full would fail, so it waits for one to end; and for those that were
        # cancelled to leave their slot, so that it finds the prefix that it has in common with them.
        need = generation.prompt_tokens + generation.budget
        with self._freed:
            while not self._freed.wait_for(
                lambda: not self._stopping and (need <= self._free_tokens or not self._running),
                timeout=POLL_S if current_caller() else None,
            ):
                check_cancelled()
            self._free_tokens -= need
            self._running.add(id(generation))

    def _release(self, generation: LlamaGeneration) -> None:
        with self._freed:
            self._free_tokens += generation.prompt_tokens + generation.budget
            self._running.discard(id(generation))
            self._stopping -= generation.cancelled.is_set()
            self._freed.notify_all()

    def _cancel(self, generation: LlamaGeneration) -> None:
        with self._freed:
            if id(generation) in self._running:
                self._stopping += 1
                generation.cancelled.set()

    def _run(self, generation: LlamaGeneration, events: SimpleQueue[dict[str, Any] | ModelError | None]) -> None:
        """Generate in a thread of its own: xllamacpp calls back for each token, and returns at the end."""
        request = {
            **generation.request,
            "prompt": generation.ids,
            "max_tokens": generation.budget,
            "stream": True,
            "timings_per_token": True,
            "return_progress": True,  # a call back for each batch of the prompt, so that it can be cancelled there
        }

        def receive(event: dict[str, Any]) -> bool:
            """Take an event; True stops llama.cpp."""
            failed = "choices" not in event
            events.put(
                ModelError(f"llama.cpp cannot answer with {self.name}: {message_of(event)}") if failed else event
            )
            return failed or generation.cancelled.is_set()

        try:
            self._server.handle_completions(request, receive)
        except Exception as error:
            events.put(ModelError(f"llama.cpp fails with {self.name}: {error}"))
        finally:
            self._release(generation)
            events.put(None)


def _next(events: SimpleQueue[Any]) -> Any:
    """The next event; waits no longer than the caller does."""
    while current_caller():
        check_cancelled()
        with suppress(Empty):
            return events.get(timeout=POLL_S)
    return events.get()
