"""Load checkpoints and LoRA adapters: safetensors only, and no code from the folder is run.

A base model is loaded once and shared by all models that use it, with or without adapters. What is wrong with a folder
is an error of one line, where possible before anything is loaded.
"""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egosrag.errors import ModelError
from egosrag.models.runtime.cpu import has_fast_bfloat16, use_onednn
from egosrag.models.runtime.engine import Engine
from egosrag.models.sampling import read_sampling
from egosrag.models.weights import check_files, first_line, load_adapter, load_causal_lm, stored_dtype
from egosrag.traits import read_traits

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

EMBEDDED_MODEL = "pocket"
"""The name of the checkpoint that is part of the package."""

DTYPES = ("float32", "bfloat16", "float16")
_HUB_ID = re.compile(r"^[\w.-]+(/[\w.-]+)?$")
_DOWNLOADED_FILES = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]
_DEFAULT_WINDOW = 4096  # tokens, where the config states none

_LOADING = threading.Lock()
_ENGINES: weakref.WeakValueDictionary[tuple[object, ...], Engine] = weakref.WeakValueDictionary()
# The last engine is kept although nothing uses it: a command that loads the same model twice waits once.
_LAST_ENGINE: list[Engine] = []


def open_engine(name: str, *, dtype: str | None = None, device: str | None = None) -> Engine:
    """The engine of a checkpoint, loaded or shared.

    Args:
        name: ``pocket``, a folder, or a hub id.
        dtype: float32, bfloat16 or float16; None for bfloat16 where the checkpoint is stored in 16 bits and the device
            multiplies bfloat16 (``has_fast_bfloat16``), else float32.
        device: as torch names it; None for CUDA where there is one, else the CPU.

    Raises:
        ModelError: there is no such checkpoint, the hub cannot be reached, or it cannot be loaded safely.
    """
    folder = checkpoint_folder(name)
    check_files(folder, name)
    device = device or _default_device()
    if dtype is None:
        halved = stored_dtype(folder) in ("bfloat16", "float16")
        dtype = "bfloat16" if halved and has_fast_bfloat16(device) else "float32"
    if dtype not in DTYPES:
        raise ModelError(f"unknown dtype {dtype!r}: use one of {', '.join(DTYPES)}")
    # A folder that was written again is another model.
    modified = max(file.stat().st_mtime_ns for file in folder.iterdir())
    key = (str(folder.resolve()), modified, dtype, device)
    with _LOADING:
        engine = _ENGINES.get(key)
        if engine is None:
            _LAST_ENGINE.clear()
            engine = _load(folder, name, dtype, device)
            _ENGINES[key] = engine
        _LAST_ENGINE[:] = [engine]
    return engine


def embedded_folder() -> Path:
    """The folder of the embedded checkpoint."""
    return Path(str(files("egosrag") / "data" / EMBEDDED_MODEL))


def checkpoint_folder(name: str) -> Path:
    """The folder of a checkpoint, downloaded where the name is a hub id: safetensors, never pickles.

    Raises:
        ModelError: there is none, or the hub cannot be reached.
    """
    if name == EMBEDDED_MODEL:
        return embedded_folder()
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise ModelError(f"{name} is a file: give the folder that holds config.json and *.safetensors")
    if not _HUB_ID.match(name) or name.startswith("."):
        raise ModelError(f"no model at {name}: there is no such folder (looked for {path.absolute()}/config.json)")
    return _download(name)


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    advice = f"run `hf download {name}` where there is a network, or give a folder as the model"
    try:
        return Path(snapshot_download(name, allow_patterns=_DOWNLOADED_FILES))
    except GatedRepoError as error:
        raise ModelError(
            f"the hub gives {name} only after its terms are accepted: log in with `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(f"no model at {name}: neither a folder here nor a repository on the hub") from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise ModelError(f"no model at {name}: no such folder, and the hub cannot be reached: {advice}") from error


def _load(folder: Path, name: str, dtype: str, device: str) -> Engine:
    import torch
    from transformers import AutoTokenizer

    traits = read_traits(folder)
    model: Any = load_causal_lm(folder, name, dtype=getattr(torch, dtype))
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = model.to(device).eval()
        use_onednn(model, pack=True)
    except Exception as error:  # the loaders raise errors of any kind
        raise ModelError(f"the model at {name} cannot be loaded: {first_line(error)}") from error
    return Engine(
        name,
        model,
        tokenizer,
        window=_window(model),
        eos_ids=_eos_ids(model, tokenizer),
        traits=traits,
        talk_sampling=read_sampling(folder),
    )


def _window(model: PreTrainedModel) -> int:
    window = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    return int(window) if window else _DEFAULT_WINDOW


def _eos_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    ids: set[int] = set()
    for source in (getattr(model.generation_config, "eos_token_id", None), tokenizer.eos_token_id):
        ids.update(source if isinstance(source, list) else [source] if source is not None else [])
    return frozenset(ids)


def _default_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def open_adapter(engine: Engine, path: str) -> str:
    """Load the PEFT adapter folder ``path`` onto ``engine``, unless it is there, and give the name that selects it.

    Raises:
        ModelError: the folder is not an adapter, is not safe to load, or was trained on another base model.
    """
    folder = Path(path).expanduser()
    modified = max((file.stat().st_mtime_ns for file in folder.glob("adapter_*")), default=0)
    key = f"{folder.resolve()}@{modified}"
    with engine.lock:
        if key not in engine.adapters:
            if engine.adapters:
                _patch_trainable_tokens()
            adapter = f"adapter{len(engine.adapters)}"
            engine.add_adapter(load_adapter(engine.model, path, engine.name, adapter), key, adapter)
        return engine.adapters[key]


def _patch_trainable_tokens() -> None:
    """Let an adapter without trained tokens be loaded beside one that has some.

    PEFT up to 0.21.2 looks for the token rows of one adapter in the file of every later one, and fails: its wrapper of
    whole modules checks which adapter they belong to, the wrapper of tokens does not.
    """
    from peft.utils.other import TrainableTokensWrapper

    original: Callable[[Any, str], dict[str, str]] = TrainableTokensWrapper.adapter_state_dict_load_map
    if original.__module__ == __name__:
        return

    def load_map(self: Any, adapter_name: str) -> dict[str, str]:
        return original(self, adapter_name) if adapter_name in self._adapters else {}

    TrainableTokensWrapper.adapter_state_dict_load_map = load_map  # type: ignore[method-assign]
