"""llama.cpp in this process: GGUF files as servers of xllamacpp, token ids in, text out.

A file is loaded once and shared by all models that use it. Its slots share one KV cache, so that several conversations
run at once with their prefixes kept; those that are pushed out of it wait in main memory, up to a limit.

xllamacpp has no function for the tokenizer: llama.cpp's own server on the loopback interface answers for it, behind a
key that only this process has.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import signal
import threading
import weakref
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from egosrag.errors import ModelError, WindowError
from egosrag.models.runtime.gguf_file import INSTALL, read_metadata
from egosrag.prompts.templates import render_chat

SLOTS = 4
"""Conversations that run at once; more wait."""

DEFAULT_WINDOW = 8192
"""Tokens of the context window, where none is given and the file allows more: llama.cpp allocates it all at once."""

_CACHE_TOKENS = 16_384  # of the KV cache that the slots share
_BATCH = 256  # tokens of a prompt that are processed between two looks at whether the call was cancelled
_SPECIAL_TYPES = (2, 3)  # of tokens: unknown, control
_USER_DEFINED_TYPE = 4
_SPECIAL_KEYS = ("bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "mask")

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


@dataclass(frozen=True)
class AddedToken:
    """A token beside the vocabulary of text."""

    text: str
    special: bool

    def __str__(self) -> str:
        return self.text


class GgufTokenizer:
    """The tokenizer of a loaded GGUF file, with what ``prompts.encode`` needs of one of transformers.

    Args:
        metadata: the file's.
        post: sends a JSON object to llama.cpp's server and gives its answer.

    Attributes:
        chat_template: Jinja source; None where the file has none.
        bos_token_id: the beginning of sequence, where the file has one.
        added_tokens_decoder: the special and added tokens by id.
        added_tokens_encoder: their ids by text.
        all_special_tokens: texts of the special ones.
    """

    def __init__(self, metadata: Mapping[str, Any], post: Any) -> None:
        tokens: list[str] = metadata["tokenizer.ggml.tokens"]
        types: list[int] = metadata.get("tokenizer.ggml.token_type") or [1] * len(tokens)
        ids = {name: metadata.get(f"tokenizer.ggml.{name}_token_id") for name in _SPECIAL_KEYS}
        special = {n for n, kind in enumerate(types) if kind in _SPECIAL_TYPES}
        special |= {n for n in ids.values() if n is not None and 0 <= n < len(tokens)}
        added = special | {n for n, kind in enumerate(types) if kind == _USER_DEFINED_TYPE}
        self.chat_template: str | None = metadata.get("tokenizer.chat_template")
        self.bos_token_id: int | None = ids["bos"]
        self.added_tokens_decoder = {n: AddedToken(tokens[n], n in special) for n in sorted(added)}
        self.added_tokens_encoder = {token.text: n for n, token in self.added_tokens_decoder.items()}
        self.all_special_tokens = [tokens[n] for n in sorted(special)]
        self._names = {f"{name}_token": tokens[n] for name in ("bos", "eos") if (n := ids[name]) is not None}
        self._post = post
        # Turns come again in every prompt of a conversation.
        self._encode = lru_cache(maxsize=4096)(self._encode_uncached)

    def encode(
        self, text: str, add_special_tokens: bool = True, split_special_tokens: bool = False, verbose: bool = True
    ) -> list[int]:
        """Token ids of ``text``; with ``split_special_tokens`` its special tokens are ordinary characters."""
        return list(self._encode(text, add_special_tokens, not split_special_tokens))

    def _encode_uncached(self, text: str, add_special: bool, parse_special: bool) -> tuple[int, ...]:
        # A lone surrogate is no character of UTF-8.
        content = text.encode("utf-8", "replace").decode("utf-8")
        answer = self._post("/tokenize", content=content, add_special=add_special, parse_special=parse_special)
        return tuple(answer["tokens"])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens included."""
        return str(self._post("/detokenize", tokens=list(ids))["content"])

    def apply_chat_template(
        self, chat: Sequence[Mapping[str, str]], tokenize: bool = False, add_generation_prompt: bool = False
    ) -> str:
        """The text of a conversation by the file's chat template."""
        assert not tokenize, "prompts.encode does it"
        return render_chat(self.chat_template or "", chat, add_generation_prompt=add_generation_prompt, **self._names)


class LlamaServer:
    """A GGUF file in memory, with or without a LoRA adapter.

    Args:
        name: what the user called the file, for errors.
        metadata: the file's.
        window: tokens of prompt and reply together.
        server: xllamacpp's.
        cache_tokens: tokens of the KV cache that all slots share.
        key: of the server's own port.
    """

    def __init__(self, name: str, metadata: Mapping[str, Any], server: Any, *, cache_tokens: int, key: str) -> None:
        import httpx

        self.name = name
        self._server = server
        self._client = httpx.Client(
            base_url=server.listening_address, headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=60
        )
        self.tokenizer = GgufTokenizer(metadata, self._post)
        self._freed = threading.Condition()
        self._free_tokens = cache_tokens
        self._running: set[int] = set()  # identities of the generations
        self._stopping = 0  # generations that were cancelled and still hold their slot

    def _post(self, path: str, **content: Any) -> Any:
        answer = self._client.post(path, json=content)
        if answer.is_error:
            raise ModelError(f"llama.cpp refuses a request for {self.name}: {_message(answer.json())}")
        return answer.json()

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
        self._acquire(generation)
        threading.Thread(target=self._run, args=(generation, events), name="llama.cpp").start()
        try:
            while (event := events.get()) is not None:
                if isinstance(event, ModelError):
                    raise event
                timings, choice = event.get("timings") or {}, event["choices"][0]
                generation.cached_tokens = int(timings.get("cache_n", generation.cached_tokens))
                generation.new_tokens = int(timings.get("predicted_n", generation.new_tokens))
                generation.reached_end = choice.get("finish_reason") == "stop"
                if text := choice.get("text"):
                    yield text
        finally:
            self._cancel(generation)

    def _acquire(self, generation: LlamaGeneration) -> None:
        # A call that finds the shared KV cache full would fail, so it waits for one to end; and for those that were
        # cancelled to leave their slot, so that it finds the prefix that it has in common with them.
        need = generation.prompt_tokens + generation.budget
        with self._freed:
            self._freed.wait_for(lambda: not self._stopping and (need <= self._free_tokens or not self._running))
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


def open_server(
    name: str, *, adapter: str | None = None, window: int | None = None, cache_mb: int = 512
) -> tuple[LlamaServer, int]:
    """The server of a GGUF file, loaded or shared.

    Args:
        name: the file.
        adapter: a GGUF file of a LoRA adapter; a file with an adapter is loaded beside the one without.
        window: tokens of prompt and reply together; ``DEFAULT_WINDOW`` when None, never above the file's own.
        cache_mb: MiB of main memory for the prefixes that do not fit into the KV cache.

    Returns:
        The server, and the window.

    Raises:
        ModelError: there is no such file, it cannot be loaded, the adapter does not fit, or a package is missing.
    """
    path = Path(name).expanduser()
    metadata = _metadata(path, name)
    own = metadata.get(f"{metadata.get('general.architecture')}.context_length") or DEFAULT_WINDOW
    window = min(window or DEFAULT_WINDOW, int(own))
    cache_tokens = max(window, min(_CACHE_TOKENS, SLOTS * window))
    adapter_path = None if adapter is None else _check_adapter(adapter, metadata, name)
    key = (_version(path), adapter_path and _version(adapter_path), cache_tokens, cache_mb)
    with _LOADING:
        server = _SERVERS.get(key)
        if server is None:
            _LAST_SERVER.clear()
            server = _load(path, adapter_path, name, metadata, cache_tokens, cache_mb)
            _SERVERS[key] = server
        _LAST_SERVER[:] = [server]
    return server, window


def _version(path: Path) -> tuple[str, int]:
    return str(path.resolve()), path.stat().st_mtime_ns  # a file that was written again is another model


@lru_cache(maxsize=4)
def _read_once(path: Path, version: tuple[str, int], name: str) -> Mapping[str, Any]:
    return read_metadata(path, name)


def _metadata(path: Path, name: str) -> Mapping[str, Any]:
    if not path.is_file():
        raise ModelError(f"no model at {name}: there is no such file (looked for {path.absolute()})")
    metadata = _read_once(path, _version(path), name)
    if metadata.get("general.type") == "adapter":
        raise ModelError(f"{name} is a LoRA adapter: give its base as the model, and it as the adapter")
    if "tokenizer.ggml.tokens" not in metadata:
        raise ModelError(f"{name} has no tokenizer in it: it is no language model, or a later part of one")
    return metadata


def _check_adapter(adapter: str, base: Mapping[str, Any], name: str) -> Path:
    path = Path(adapter).expanduser()
    if path.suffix.lower() != ".gguf" or not path.is_file():
        raise ModelError(f"no adapter at {adapter}: a GGUF model needs a GGUF file of a LoRA adapter")
    metadata = read_metadata(path, adapter)
    if metadata.get("general.type") != "adapter" or metadata.get("adapter.type") != "lora":
        raise ModelError(f"{adapter} is not a LoRA adapter: convert one with llama.cpp's convert_lora_to_gguf.py")
    if metadata.get("general.architecture") != base.get("general.architecture"):
        raise ModelError(f"the adapter at {adapter} does not fit {name}: it is for another architecture")
    return path


def _load(
    path: Path, adapter: Path | None, name: str, metadata: Mapping[str, Any], cache_tokens: int, cache_mb: int
) -> LlamaServer:
    xllamacpp = _import_xllamacpp()
    key = secrets.token_urlsafe(32)
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    if adapter is not None:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter), 1.0)]
    params.verbosity = 0
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [key]
    params.ui = params.endpoint_slots = params.warmup = False
    params.n_ctx, params.n_parallel, params.kv_unified = cache_tokens, SLOTS, True
    params.n_batch = params.n_ubatch = _BATCH
    params.cache_ram_mib = cache_mb
    params.cache_prompt = cache_mb > 0
    threads = os.cpu_count() or 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    try:
        with _own_signal_handlers():
            server = xllamacpp.Server(params)
    except RuntimeError as error:
        architecture = metadata.get("general.architecture")
        where = f"the adapter at {adapter} onto {name}" if adapter else f"{name} (architecture {architecture})"
        raise ModelError(
            f"llama.cpp cannot load {where}: it is damaged, too new for the installed xllamacpp, or too large"
        ) from error
    return LlamaServer(name, metadata, server, cache_tokens=cache_tokens, key=key)


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
