"""The models that ``egosrag models`` fetches and that ``--model`` knows by name, and where they are on this machine.

The entries are in ``egosrag/data/models.toml``. A model's files are kept in a folder of its name, below the folder
``models`` of the user's data folder; ``egosrag.models.download`` puts them there, whole and verified.
"""

from __future__ import annotations

import os
import tomllib
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path

from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field

from egosrag.errors import ModelError

_WINDOW = 4096  # tokens of the KV cache that ``Entry.memory`` counts
_BUFFERS = 300_000_000  # bytes of a running model beside weights and KV cache: logits, activations, the library


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelFile(_Row):
    """A file of a model: its name in the repository, its size in bytes and its SHA-256 in hex."""

    name: str = Field(pattern=r"^[\w.-]+$")
    size: int
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Parts(_Row):
    """Python packages that hold a model's only file, cut into parts of one size.

    Attributes:
        package: the requirement of a part, with ``{}`` for its number, from 1.
        size: bytes of a part; the last one is shorter.
    """

    package: str
    size: int


class Entry(_Row):
    """A model of the catalogue.

    Attributes:
        name: what ``--model`` and ``egosrag models`` call it.
        repository: the hub's repository of its GGUF files.
        hub: the hub id of the same model as safetensors, which ``--model`` takes too (transformers).
        licence: its licence.
        languages: what it speaks.
        good_for: when to choose it.
        kv_bytes: bytes of the KV cache for one token, in 16 bits.
        files: its files; of a split GGUF the first one is loaded and finds the others beside it.
        parts: packages with the same bytes, where there are some.
    """

    name: str
    repository: str
    hub: str
    licence: str
    languages: str
    good_for: str
    kv_bytes: int
    files: tuple[ModelFile, ...]
    parts: Parts | None = None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def memory(self) -> int:
        """Bytes of memory that it needs, about: its weights, the KV cache of 4,096 tokens, and buffers."""
        return self.size + _WINDOW * self.kv_bytes + _BUFFERS

    def path(self, folder: Path) -> Path:
        """The file to load, below the folder of all models; see :meth:`is_here`."""
        return folder / self.name / self.files[0].name

    def is_here(self, folder: Path) -> bool:
        """Whether all its files are there; their hashes were checked before they got their names."""
        paths = ((folder / self.name / file.name, file.size) for file in self.files)
        return all(path.is_file() and path.stat().st_size == size for path, size in paths)


@cache
def entries() -> dict[str, Entry]:
    """The models of the catalogue by name."""
    text = (files("egosrag") / "data" / "models.toml").read_text(encoding="utf-8")
    return {row["name"]: Entry.model_validate(row) for row in tomllib.loads(text)["model"]}


def entry(name: str) -> Entry:
    """The model of that name.

    Raises:
        ModelError: the catalogue has none.
    """
    known = entries()
    if name not in known:
        close = get_close_matches(name, known, n=1)
        advice = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
        raise ModelError(f"no model {name} in the catalogue: {advice}")
    return known[name]


def models_dir() -> Path:
    """The folder of the models where no settings are at hand: in ``EGOSRAG_DATA_DIR``, else the user's data folder."""
    return Path(os.environ.get("EGOSRAG_DATA_DIR") or user_data_path("egosrag")).expanduser() / "models"


def resolve(name: str, folder: Path | None = None) -> str:
    """What to load for a model's name: the file of one of the catalogue, any other name as it is.

    Args:
        name: as given to ``--model``; a folder that is called like a model of the catalogue is ``./NAME``.
        folder: the folder of the models; None for :func:`models_dir`.

    Raises:
        ModelError: the catalogue has it, but it is not on this machine.
    """
    if name not in entries():
        return name
    found = entries()[name]
    folder = folder or models_dir()
    if not found.is_here(folder):
        raise ModelError(f"{name} is not on this machine yet: egosrag models get {name}")
    return str(found.path(folder))
