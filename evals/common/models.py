"""Models under evaluation: loaded once, when first needed, and identified by their weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel

from egosrag.errors import ModelError


@dataclass(frozen=True)
class Sampling:
    """How a model generates its answers; the defaults are those of the commands.

    Attributes:
        max_new_tokens: Maximum tokens of an answer.
        temperature: 0 is greedy; None: as the model's publisher recommends for talk.
        seed: Makes sampling repeatable.
    """

    max_new_tokens: int = 256
    temperature: float | None = 0.0
    seed: int | None = None


@dataclass(frozen=True)
class ModelSpec:
    """A chat model as :func:`egosrag.load_chat_model` takes it.

    Attributes:
        name: ``pocket``, a hub id, a folder, ``openai:NAME``, ...
        adapter: Folder of a PEFT adapter.
        template: False leaves out the chat template (base models, report 5.2).
        sampling: How it generates.
    """

    name: str
    adapter: str | None = None
    template: bool = True
    sampling: Sampling = Sampling()

    @cached_property
    def loaded(self) -> BaseChatModel:
        """The model, loaded at the first use.

        Raises:
            ModelError: It cannot be loaded.
        """
        from egosrag import load_chat_model

        options: dict[str, Any] = {"adapter": self.adapter} if self.adapter else {}
        options |= {} if self.template else {"template": False}
        sampling = asdict(self.sampling)
        if self.sampling.temperature is None:
            del sampling["temperature"]
        return load_chat_model(self.name, **options, **sampling)

    @property
    def weights(self) -> list[list[tuple[str, int, int]]]:
        """The weight files of the model and of its adapter, see :func:`weight_files`."""
        return [weight_files(self.name), weight_files(self.adapter or "")]


def check_model(name: str) -> None:
    """Check that there is a model of a name; local weights are not loaded, those of the hub are downloaded.

    Raises:
        ModelError: There is none, or the key of its server is missing.
    """
    from egosrag import load_chat_model
    from egosrag.models.catalogue import resolve
    from egosrag.models.runtime.checkpoint import checkpoint_folder

    found = resolve(name)
    if found.lower().endswith(".gguf"):
        if not Path(found).expanduser().is_file():
            raise ModelError(f"there is no file {found}: check the path")
    elif ":" in found:
        load_chat_model(found)
    else:
        checkpoint_folder(found)


def weight_files(folder: str) -> list[tuple[str, int, int]]:
    """(name, size, time of modification) of a checkpoint's files: changes when the model is trained again.

    That of the file itself for a GGUF file. Empty for the name of a model.
    """
    path = Path(folder).expanduser()
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path] if path.is_file() else []
    return [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]
