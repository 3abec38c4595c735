"""llama.cpp in this process: GGUF files as servers of xllamacpp, token ids in, text out.

A file is loaded once and shared by all models that use it. Its slots share one KV cache, so that several conversations
run at once with their prefixes kept; those that are pushed out of it wait in main memory, up to a limit.

xllamacpp has no function for the tokenizer: llama.cpp's own server on the loopback interface answers for it, behind a
key that only this process has.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import secrets
import signal
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from egosrag.caller import POLL_S, cache_key, check_cancelled, current_caller
from egosrag.errors import ModelError, WindowError
from egosrag.models.runtime.gguf_file import INSTALL, GgufFile, read_gguf
from egosrag.models.runtime.kv_cache import common_prefix_length
from egosrag.models.runtime.prompt_files import PromptFiles, SavedPrompts
from egosrag.prompts.templates import render_chat

if TYPE_CHECKING:
    import httpx

SLOTS = 4
"""Conversations that run at once; more wait."""

DEFAULT_WINDOW = 8192
"""Tokens of the context window, where none is given and the file allows more: llama.cpp allocates it all at once."""

CACHE_MB = 512
"""MiB of main memory for prefixes that do not fit into the KV cache."""

_CACHE_TOKENS = 16_384  # of the KV cache that the slots share
# A prompt takes over a slot with which it shares this part of itself. With less it takes the least recently used one:
# else a short prompt that begins alike would cost a conversation its prefix.
_SAME_CONVERSATION = 0.5
_CERTAIN = 1000.0  # added to a logit
_REMEMBERED_PROMPTS = 16  # of each caller, to state how much of the next one the caller itself has sent before
_BATCH = 256  # tokens of a prompt that are processed between two looks at whether the call was cancelled

_LOADING = threading.Lock()
_SERVERS: weakref.WeakValueDictionary[tuple[object, ...], LlamaServer] = weakref.WeakValueDictionary()
# The last server is kept although nothing uses it: a command that loads the same model twice waits once.
_LAST_SERVER: list[LlamaServer] = []


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


class GgufTokenizer:
    """The tokenizer of a loaded GGUF file, with what ``prompts.encode`` needs of one of transformers.

    Args:
        file: its header.
        ask: sends a JSON object to a path of llama.cpp's server, and gives its answer.

    Attributes:
        chat_template: Jinja source; None where the file has none.
        bos_token_id: the beginning of sequence, where the file has one.
        added_tokens_decoder: the special and added tokens by id.
        added_tokens_encoder: their ids by text.
        all_special_tokens: texts of the special ones.
    """

    def __init__(self, file: GgufFile, ask: Callable[[str, Mapping[str, Any]], Any]) -> None:
        self.chat_template = file.chat_template
        self.bos_token_id = file.special_id("bos")
        self.added_tokens_decoder = file.added_tokens
        self.added_tokens_encoder = {token.text: n for n, token in file.added_tokens.items()}
        self.all_special_tokens = [token.text for token in file.added_tokens.values() if token.special]
        ids = {name: file.special_id(name) for name in ("bos", "eos")}
        self._names = {f"{name}_token": str(file.added_tokens[n]) for name, n in ids.items() if n is not None}
        self._ask = ask
        # Turns come again in every prompt of a conversation.
        self._encode = lru_cache(maxsize=4096)(partial(_tokenize, ask))

    def encode(
        self, text: str, add_special_tokens: bool = True, split_special_tokens: bool = False, verbose: bool = True
    ) -> list[int]:
        """Token ids of ``text``; with ``split_special_tokens`` its special tokens are ordinary characters."""
        return list(self._encode(text, add_special_tokens, not split_special_tokens))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens included."""
        return str(self._ask("/detokenize", {"tokens": list(ids)})["content"])

    def apply_chat_template(
        self, chat: Sequence[Mapping[str, str]], tokenize: bool = False, add_generation_prompt: bool = False
    ) -> str:
        """The text of a conversation by the file's chat template."""
        assert not tokenize, "prompts.encode does it"
        return render_chat(self.chat_template or "", chat, add_generation_prompt=add_generation_prompt, **self._names)


def _tokenize(
    ask: Callable[[str, Mapping[str, Any]], Any], text: str, add_special: bool, parse_special: bool
) -> tuple[int, ...]:
    content = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate is no character of UTF-8
    return tuple(
        ask("/tokenize", {"content": content, "add_special": add_special, "parse_special": parse_special})["tokens"]
    )


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
        self._post = partial(_post, _client(server.listening_address, key))
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
            raise ModelError(f"llama.cpp cannot score a text with {self.name}: {_message(answer)}")
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
            events.put(ModelError(f"llama.cpp cannot answer with {self.name}: {_message(event)}") if failed else event)
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


def open_server(
    file: GgufFile,
    *,
    adapter: str | None = None,
    window: int | None = None,
    cache_mb: int = CACHE_MB,
    saved: SavedPrompts | None = None,
) -> tuple[LlamaServer, int]:
    """The server of a GGUF file, loaded or shared.

    Args:
        file: its header.
        adapter: a GGUF file of a LoRA adapter; a file with an adapter is loaded beside the one without.
        window: tokens of prompt and reply together; ``DEFAULT_WINDOW`` when None, never above the file's own.
        cache_mb: MiB of main memory for the prefixes that do not fit into the KV cache.
        saved: where prompts are saved between processes; None for nowhere.

    Returns:
        The server, and the window.

    Raises:
        ModelError: the file cannot be loaded, the adapter does not fit, or xllamacpp is not installed.
    """
    if file.kind == "adapter":
        raise ModelError(f"{file.name} is a LoRA adapter: give its base as the model, and it as the adapter")
    if not file.added_tokens:
        raise ModelError(f"{file.name} has no tokenizer: it is no language model, or not the first part of one")
    window = min(window or DEFAULT_WINDOW, file.window or DEFAULT_WINDOW)
    cache_tokens = max(window, min(_CACHE_TOKENS, SLOTS * window))
    lora = None if adapter is None else _read_adapter(adapter, file)
    key = (*_identity(file), *(_identity(lora) if lora else ()), cache_tokens, cache_mb, saved)
    with _LOADING:
        server = _SERVERS.get(key)
        if server is None:
            save_prompts()
            _LAST_SERVER.clear()
            server = _load(file, lora, cache_tokens, cache_mb, saved)
            _SERVERS[key] = server
        _LAST_SERVER[:] = [server]
    return server, window


def _identity(file: GgufFile) -> tuple[str, int]:
    return str(file.path.resolve()), file.version


def _read_adapter(adapter: str, base: GgufFile) -> GgufFile:
    path = Path(adapter).expanduser()
    if path.suffix.lower() != ".gguf" or not path.is_file():
        raise ModelError(f"no adapter at {adapter}: a GGUF model needs a GGUF file of a LoRA adapter")
    file = read_gguf(adapter)
    if file.kind != "adapter":
        raise ModelError(f"{adapter} is not a LoRA adapter: convert one with llama.cpp's convert_lora_to_gguf.py")
    if file.architecture != base.architecture:
        raise ModelError(f"the adapter at {adapter} does not fit {base.name}: it is for another architecture")
    return file


@atexit.register
def save_prompts() -> None:
    """Save the prompts of the loaded files, those that save any."""
    for server in list(_SERVERS.values()):
        server.save_prompts()


def _load(
    file: GgufFile, lora: GgufFile | None, cache_tokens: int, cache_mb: int, saved: SavedPrompts | None
) -> LlamaServer:
    xllamacpp = _import_xllamacpp()
    key = secrets.token_urlsafe(32)
    params = xllamacpp.CommonParams()
    params.model.path = str(file.path)
    if lora is not None:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(lora.path), 1.0)]
    params.verbosity = 0
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [key]
    params.ui = params.endpoint_slots = params.warmup = False
    params.n_ctx, params.n_parallel, params.kv_unified = cache_tokens, SLOTS, True
    params.n_batch = params.n_ubatch = _BATCH
    # Weights that are repacked for AVX2 generate a fifth faster, but where llama.cpp was built for AVX-512 a prompt
    # takes one and a half times as long with them, and loading twice as long (evals/speed/RESULTS.md).
    params.no_extra_bufts = "AVX512_VNNI = 1" in xllamacpp.get_system_info()
    files = None
    if saved:
        model = (*_identity(file), *(_identity(lora) if lora else ()), xllamacpp.__version__)
        with suppress(OSError):  # no disk, no cache
            files = PromptFiles(saved, model)
            params.slot_save_path = f"{files.folder}{os.sep}"
    params.cache_ram_mib = cache_mb
    params.cache_prompt = cache_mb > 0
    params.slot_prompt_similarity = _SAME_CONVERSATION
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = _processors()
    try:
        with _own_signal_handlers():
            server = xllamacpp.Server(params)
    except RuntimeError as error:
        where = f"the adapter at {lora.name} onto {file.name}" if lora else f"{file.name} ({file.architecture})"
        raise ModelError(
            f"llama.cpp cannot load {where}: it is damaged, too new for the installed xllamacpp, or too large"
        ) from error
    return LlamaServer(file, server, cache_tokens=cache_tokens, key=key, files=files)


def _processors() -> int:
    """The processors that this process may use: more threads than these wait for each other."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _client(address: str, key: str) -> httpx.Client:
    import httpx

    return httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=60)


def _post(client: httpx.Client, path: str, content: Mapping[str, Any]) -> Any:
    answer = client.post(path, json=content)
    if answer.is_error:
        raise ModelError(f"llama.cpp's tokenizer fails: {_message(answer.json())}")
    return answer.json()


def _import_xllamacpp() -> Any:
    # OpenMP's threads spin while they wait, and where other programs use the processor too, they take it from those
    # they wait for: a prompt took 15 times as long. OpenMP reads the variable once, when it is loaded.
    policy = os.environ.get("OMP_WAIT_POLICY")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import xllamacpp
    except ImportError as error:
        raise ModelError(f"GGUF files need another package: {INSTALL} ({error})") from error
    finally:
        if policy is None:
            del os.environ["OMP_WAIT_POLICY"]
    return xllamacpp


@contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Keep this process's handlers of Ctrl-C and SIGTERM: llama.cpp's server sets its own, which end it."""
    if os.name != "posix":
        yield
        return
    libc = ctypes.CDLL(None)
    # Room for a struct sigaction of any platform; its content is not looked at.
    saved = {number: ctypes.create_string_buffer(512) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, action in saved.items():
        libc.sigaction(number, None, action)
    try:
        yield
    finally:
        for number, action in saved.items():
            libc.sigaction(number, action, None)


def _message(event: Any) -> str:
    """The message of an error of llama.cpp's server, as one line."""
    with suppress(AttributeError, TypeError):
        event = event.get("error", event)
        event = event.get("message", event)
    text = event if isinstance(event, str) else json.dumps(event)
    return " ".join(text.split())
