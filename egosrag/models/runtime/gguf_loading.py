"""A GGUF file is loaded once, and shared by all models that use it."""

from __future__ import annotations

import atexit
import ctypes
import os
import secrets
import signal
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from egosrag.errors import ModelError
from egosrag.models.runtime.gguf_file import INSTALL, GgufFile, read_gguf
from egosrag.models.runtime.llama_cpp import SLOTS, LlamaServer
from egosrag.models.runtime.prompt_files import PromptFiles, SavedPrompts

DEFAULT_WINDOW = 8192
"""Tokens of the context window, where none is given and the file allows more: llama.cpp allocates it all at once."""

CACHE_MB = 512
"""MiB of main memory for prefixes that do not fit into the KV cache."""

_CACHE_TOKENS = 16_384  # of the KV cache that the slots share
# A prompt takes over a slot with which it shares this part of itself. With less it takes the least recently used one:
# else a short prompt that begins alike would cost a conversation its prefix.
_SAME_CONVERSATION = 0.5
_BATCH = 256  # tokens of a prompt that are processed between two looks at whether the call was cancelled

_LOADING = threading.Lock()
_SERVERS: weakref.WeakValueDictionary[tuple[object, ...], LlamaServer] = weakref.WeakValueDictionary()
# The last server is kept although nothing uses it: a command that loads the same model twice waits once.
_LAST_SERVER: list[LlamaServer] = []


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
