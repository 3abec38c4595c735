"""Weights from files: safetensors only, every one that the model has, of the right shape; else an error of one line.

transformers, PEFT and sentence-transformers initialize a weight that is missing with random numbers, and warn of it at
most. Whatever loads weights here, in training and in the evaluations, does it through this module.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egosrag.errors import ModelError

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

_PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")
_INDEX = "model.safetensors.index.json"
_ADAPTER_WEIGHTS = "adapter_model.safetensors"
_NAMED = 3  # weights that an error names

Shape = tuple[int, ...]


def check_files(folder: Path, name: str) -> None:
    """Check that a checkpoint folder has its weights as safetensors, every part of them, before anything is loaded.

    Args:
        folder: a causal language model, or an embedder or reranker of sentence-transformers.
        name: as error messages show it.

    Raises:
        ModelError: it has not; it is an adapter, or no checkpoint at all.
    """
    if (folder / "adapter_config.json").is_file():
        raise ModelError(f"{name} is an adapter: give its base as the model, and the folder as the adapter")
    if not any((folder / file).is_file() for file in ("config.json", "modules.json")):
        raise ModelError(f"no model at {name}: the folder has no config.json")
    parts = [folder, *(part for part in folder.iterdir() if part.is_dir())]  # sentence-transformers has folders in it
    for part in parts:
        if not any(part.glob("*.safetensors")) and any(file for pattern in _PICKLES for file in part.glob(pattern)):
            raise ModelError(
                f"{name} has its weights as pickles, which can run code when loaded: save them as safetensors"
                " (model.save_pretrained)"
            )
    if not any(file for part in parts for file in part.glob("*.safetensors")):
        raise ModelError(f"no weights at {name}: the folder has no *.safetensors")
    index = folder / _INDEX
    if index.is_file() and not (folder / "model.safetensors").is_file():
        files = set(_json(index).get("weight_map", {}).values())
        if absent := sorted(file for file in files if not (folder / file).is_file()):
            raise ModelError(
                f"{name} lacks {len(absent)} of the {len(files)} files of its weights ({_some(absent)}):"
                " copy or download it again"
            )


def load_causal_lm(folder: Path, name: str, **options: Any) -> PreTrainedModel:
    """Load a causal language model with every weight from its files.

    Args:
        folder: the checkpoint.
        name: as error messages show it.
        **options: of ``from_pretrained``, such as ``dtype``.

    Raises:
        ModelError: it cannot be loaded; weights are missing, pickled, or do not fit its config.
    """
    from transformers import AutoModelForCausalLM

    check_files(folder, name)
    model: PreTrainedModel
    model, info = _from_pretrained(AutoModelForCausalLM, folder, name, **options)
    _check_complete(name, info)
    return model


def stored_dtype(folder: Path) -> str:
    """The dtype of the checkpoint's largest tensor, as torch names it; of tensors in several files, those of the first.

    Only the header of the file is read. "" where there is no whole file: loading it says what is wrong.
    """
    from safetensors import SafetensorError, safe_open

    names = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
    try:
        with safe_open(str(min(folder.glob("*.safetensors"))), framework="numpy") as file:
            parts = [file.get_slice(key) for key in file.keys()]  # noqa: SIM118
            largest = max(parts, key=lambda part: prod(part.get_shape()))
            return names.get(largest.get_dtype(), "")
    except (ValueError, SafetensorError):
        return ""


def load_encoder(kind: Callable[..., Any], folder: Path, name: str, **options: Any) -> Any:
    """Load an embedder or a reranker of sentence-transformers with every weight from its files.

    Args:
        kind: ``SentenceTransformer``, ``CrossEncoder``, or a function of the same arguments that makes a LangChain
            ``HuggingFaceEmbeddings``.
        folder: its checkpoint.
        name: as error messages show it.
        **options: arguments of ``kind``.

    Raises:
        ModelError: it cannot be loaded; weights are missing, pickled, or do not fit its config.
    """
    check_files(folder, name)
    try:
        with _quiet():
            loading = {"use_safetensors": True, "ignore_mismatched_sizes": True}  # they are reported below, by name
            model = kind(str(folder), trust_remote_code=False, model_kwargs=loading, **options)
    except Exception as error:  # the loaders raise errors of any kind
        raise ModelError(f"the model at {name} cannot be loaded: {first_line(error)}") from error
    _check_encoder(getattr(model, "_client", model), name)
    return model


def _check_encoder(model: torch.nn.Module, name: str) -> None:
    """Check that the transformers inside an embedder or a reranker have every weight from their files.

    sentence-transformers does not report what it loaded, so names and shapes are compared again, without the weights.
    An embedder's pooler may be missing: transformers' BERT has one, sentence-transformers does not use it.
    """
    from transformers import PreTrainedModel

    seen: set[torch.nn.Module] = set()
    for module in model.modules():
        if isinstance(module, PreTrainedModel) and module not in seen:
            seen.update(module.modules())
            _, info = _from_pretrained(
                type(module), Path(str(module.name_or_path)), name, config=module.config, device_map="meta"
            )
            _check_complete(name, info, unused=("pooler.",))


def load_adapter(model: PreTrainedModel | PeftModel, path: str, name: str, adapter: str = "default") -> PeftModel:
    """Load a LoRA adapter with every weight from its files.

    Nothing is changed in ``model`` unless the adapter fits: its weights are compared before it is loaded.

    Args:
        model: the base model, or one that has adapters already.
        path: the adapter's folder.
        name: the base model's, as error messages show it.
        adapter: the name that the loaded adapter gets in the model.

    Raises:
        ModelError: the folder is no LoRA adapter, its weights are missing or pickled, or it is of another base.
    """
    from peft import PeftModel

    folder = Path(path).expanduser()
    base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    _check_adapter(base, folder, path, name)
    try:
        if not isinstance(model, PeftModel):
            return PeftModel.from_pretrained(model, str(folder), adapter_name=adapter, use_safetensors=True)
        model.load_adapter(str(folder), adapter_name=adapter, use_safetensors=True)
    except Exception as error:  # the loaders raise errors of any kind
        raise ModelError(f"the adapter at {path} cannot be loaded onto {name}: {first_line(error)}") from error
    return model


def _from_pretrained(kind: Any, folder: Path, name: str, **options: Any) -> tuple[Any, dict[str, Any]]:
    """The model, and what transformers reports of its weights."""
    try:
        with _quiet():
            model, info = kind.from_pretrained(
                folder,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,  # they are reported, by name
                output_loading_info=True,
                **options,
            )
    except Exception as error:  # the loaders raise errors of any kind
        raise ModelError(f"the model at {name} cannot be loaded: {first_line(error)}") from error
    return model, info


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' table of the weights that are missing: an error names them."""
    import logging

    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)


def _check_complete(name: str, info: Mapping[str, Any], unused: tuple[str, ...] = ()) -> None:
    """Raise an error where transformers initialized weights by itself, except under the modules ``unused``."""
    for key, stored, expected in sorted(info["mismatched_keys"]):
        raise ModelError(
            f"the weights of {name} do not fit its config.json: {key} has the shape {tuple(stored)} and not"
            f" {tuple(expected)}: copy or download it again"
        )
    missing = sorted(key for key in info["missing_keys"] if not key.startswith(unused))
    if missing:
        raise ModelError(
            f"{name} lacks {len(missing)} of the weights that its config.json describes ({_some(missing)}): copy or"
            " download it again, or give another model"
        )


def _check_adapter(base: Any, folder: Path, path: str, name: str) -> None:
    """Compare the names and shapes of an adapter's weights with those that it would have on ``base``."""
    import torch
    from peft import PeftConfig, PeftModel, get_peft_model_state_dict

    if not (folder / "adapter_config.json").is_file():
        raise ModelError(f"no adapter at {path}: a folder with adapter_config.json and {_ADAPTER_WEIGHTS} is needed")
    if not (folder / _ADAPTER_WEIGHTS).is_file():
        raise ModelError(
            f"the adapter at {path} has no {_ADAPTER_WEIGHTS}: save it as safetensors, pickles are not loaded"
        )
    stored, config = _shapes(folder / _ADAPTER_WEIGHTS, path), _json(folder / "adapter_config.json")
    if config.get("peft_type") != "LORA":
        raise ModelError(f"the adapter at {path} is of type {config.get('peft_type')}: only LORA adapters are loaded")
    trained_on = config.get("base_model_name_or_path") or "another model"
    misfit = f"the adapter at {path} does not fit {name} (%s): it was trained on {trained_on}, give that as the model"
    try:
        with torch.device("meta"):  # names and shapes without memory
            adapted = PeftModel(type(base)(base.config), PeftConfig.from_pretrained(str(folder)))
        weights = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    except Exception as error:  # PEFT raises errors of any kind
        raise ModelError(misfit % first_line(error)) from error
    trained = config.get("trainable_token_indices") or []
    ids = sum(trained.values(), []) if isinstance(trained, dict) else trained
    rows = base.get_input_embeddings().weight.shape[0]
    if any(token >= rows for token in ids):
        raise ModelError(misfit % f"it has trained the token {max(ids)} of {rows}")
    expected = {key: tuple(weight.shape) for key, weight in weights.items()}
    for key, shape in expected.items():
        if stored.get(key, shape) != shape:
            raise ModelError(misfit % f"{key} has the shape {stored[key]} and not {shape}")
    if not stored.keys() & expected.keys():
        raise ModelError(misfit % f"it has no {_some(expected)}")
    if missing := sorted(expected.keys() - stored.keys()):
        raise ModelError(
            f"the adapter at {path} lacks {len(missing)} of its weights ({_some(missing)}): copy or download it again"
        )


def _shapes(file: Path, path: str) -> dict[str, Shape]:
    """The shapes of the tensors in a safetensors file, by name; only its header is read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="numpy") as tensors:
            return {key: tuple(tensors.get_slice(key).get_shape()) for key in tensors.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ModelError(f"the adapter at {path} is damaged: {first_line(error)}") from error


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read: {error}") from error
    return content if isinstance(content, dict) else {}


def _some(names: Collection[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:_NAMED]) + (", ..." if len(listed) > _NAMED else "")


def first_line(error: BaseException) -> str:
    """The first line of an error's text: the loaders' messages have many."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
