"""Load checkpoints and LoRA adapters: safetensors only, and no code from the folder is run.

A base model is loaded once and shared by all models that use it, with or without adapters. What is wrong with a folder
is an error of one line, where possible before anything is loaded.
"""

from __future__ import annotations

import json
import re
import threading
import weakref
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egosrag.errors import ModelError
from egosrag.models.runtime.cpu import use_onednn
from egosrag.models.runtime.engine import Engine
from egosrag.models.sampling import read_sampling
from egosrag.traits import read_traits

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

EMBEDDED_MODEL = "pocket"
"""The name of the checkpoint that is part of the package."""

DTYPES = ("float32", "bfloat16", "float16")
_HUB_ID = re.compile(r"^[\w.-]+(/[\w.-]+)?$")
_DOWNLOADED_FILES = ["*.json", "*.safetensors", "*.jinja", "*.txt", "tokenizer.model"]
_PICKLED_WEIGHTS = ("pytorch_model*.bin", "*.pt", "*.pth", "adapter_model.bin")
_DEFAULT_WINDOW = 4096  # tokens, where the config states none

_LOADING = threading.Lock()
_ENGINES: weakref.WeakValueDictionary[tuple[object, ...], Engine] = weakref.WeakValueDictionary()
# The last engine is kept although nothing uses it: a command that loads the same model twice waits once.
_LAST_ENGINE: list[Engine] = []


def open_engine(name: str, *, dtype: str | None = None, device: str | None = None) -> Engine:
    """The engine of a checkpoint, loaded or shared.

    Args:
        name: ``pocket``, a folder, or a hub id.
        dtype: float32, bfloat16 or float16; None for float32 on the CPU and bfloat16 on an accelerator.
        device: as torch names it; None for CUDA where there is one, else the CPU.

    Raises:
        ModelError: there is no such checkpoint, the hub cannot be reached, or it cannot be loaded safely.
    """
    folder = _resolve(name)
    _check_weights(folder, name)
    device = device or _default_device()
    dtype = dtype or ("float32" if device.startswith("cpu") else "bfloat16")
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


def _resolve(name: str) -> Path:
    """The folder of a checkpoint, downloaded where the name is a hub id."""
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


def _check_weights(folder: Path, name: str) -> None:
    if not (folder / "config.json").is_file():
        raise ModelError(f"no model at {name}: the folder has no config.json")
    if any(folder.glob("*.safetensors")):
        return
    if any(file for pattern in _PICKLED_WEIGHTS for file in folder.glob(pattern)):
        raise ModelError(
            f"{name} has its weights as pickles, which can run code when loaded: save them as safetensors"
            " (model.save_pretrained)"
        )
    raise ModelError(f"no weights at {name}: the folder has no *.safetensors")


def _load(folder: Path, name: str, dtype: str, device: str) -> Engine:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    traits = read_traits(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), use_safetensors=True, trust_remote_code=False
        )
        model = model.to(device).eval()
        use_onednn(model, pack=True)
    except Exception as error:  # the loaders raise errors of any kind
        raise ModelError(f"the model at {name} cannot be loaded: {_first_line(error)}") from error
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
    weights = folder / "adapter_model.safetensors"
    if not (folder / "adapter_config.json").is_file():
        raise ModelError(f"no adapter at {path}: a folder with adapter_config.json and {weights.name} is needed")
    if not weights.is_file():
        raise ModelError(f"the adapter at {path} has no {weights.name}: save it as safetensors, pickles are not loaded")
    key = f"{folder.resolve()}@{weights.stat().st_mtime_ns}"
    with engine.lock:
        if key not in engine.adapters:
            _check_adapter(engine, folder, weights, path)
            adapter = f"adapter{len(engine.adapters)}"
            engine.add_adapter(_load_adapter(engine, folder, adapter, path), key, adapter)
        return engine.adapters[key]


def _check_adapter(engine: Engine, folder: Path, weights: Path, path: str) -> None:
    """Compare the adapter's tensors with the base before it is loaded: a failed one would stay on the shared base."""
    from safetensors import SafetensorError, safe_open

    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        with safe_open(str(weights), framework="numpy") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except (ValueError, SafetensorError) as error:
        raise ModelError(f"the adapter at {path} is damaged: {_first_line(error)}") from error
    if config.get("peft_type") != "LORA":
        raise ModelError(f"the adapter at {path} is of type {config.get('peft_type')}: only LORA adapters are loaded")
    modules = dict(engine.base.named_modules())
    for key, shape in shapes.items():
        layer, _, kind = key.removeprefix("base_model.model.").rpartition(".lora_")
        if not layer:
            continue
        weight = getattr(modules.get(layer), "weight", None)
        # lora_A is (rank, in), lora_B is (out, rank); the weight that they add to is (out, in).
        side = {"A.weight": 1, "B.weight": 0}.get(kind)
        fits = weight is not None and (side is None or shape[side] == weight.shape[side])
        if not fits:
            trained_on = config.get("base_model_name_or_path") or "another model"
            raise ModelError(
                f"the adapter at {path} does not fit {engine.name} ({layer}): it was trained on {trained_on},"
                " give that as the model"
            )


def _load_adapter(engine: Engine, folder: Path, adapter: str, path: str) -> PeftModel:
    from peft import PeftModel

    model = engine.model
    try:
        if not isinstance(model, PeftModel):
            return PeftModel.from_pretrained(model, str(folder), adapter_name=adapter)
        _patch_trainable_tokens()
        model.load_adapter(str(folder), adapter_name=adapter)
    except (ValueError, RuntimeError, KeyError, OSError, TypeError) as error:
        raise ModelError(f"the adapter at {path} cannot be loaded onto {engine.name}: {_first_line(error)}") from error
    return model


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


def _first_line(error: BaseException) -> str:
    """The first line of an error's text: the loaders' messages have many."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
