"""The files of an index, which anybody may have written: checked before anything is allocated, and never unpickled."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: what reading a made-up file may raise; MemoryError and RecursionError are no ValueError
DAMAGED = (OSError, ValueError, KeyError, TypeError, IndexError, MemoryError, RecursionError, OverflowError)


def read_array(path: Path, dtype: str, dimensions: int) -> NDArray[Any]:
    """An array of a npy file.

    Raises:
        ValueError: its header states another type or number of dimensions, or another size than the file has.
        OSError: the file cannot be read.
    """
    import numpy as np

    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise ValueError(f"{path.name} has the version {version}")
        try:
            shape, fortran, found = readers[version](file)
        except Exception as error:  # numpy parses the header as Python: any error of the parser may come out
            raise ValueError(f"{path.name} has no header of an array") from error
        size = os.fstat(file.fileno()).st_size - file.tell()
        if found != np.dtype(dtype) or len(shape) != dimensions or (fortran and dimensions > 1) or min(shape) < 0:
            raise ValueError(f"{path.name} is not an array of {dtype} of {dimensions} dimensions")
        if prod(shape) * found.itemsize != size:
            raise ValueError(f"{path.name} has {size} bytes, and its header states {shape}")
        return np.fromfile(file, found, prod(shape)).reshape(shape)


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object of a file.

    Raises:
        ValueError: it is none, or nested too deeply.
        OSError: the file cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError(f"{path.name} is nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is no JSON object")
    return content


def weights_hash(folder: Path) -> str:
    """The SHA-256, in hex, of a model's weights, tokenizer and configuration: its identity, wherever it is."""
    files = sorted(path for pattern in ("*.safetensors", "*.json", "*.txt") for path in folder.rglob(pattern))
    states = [(path, path.stat()) for path in files]
    return _hash_of(folder, tuple((str(path), state.st_size, state.st_mtime_ns) for path, state in states))


@lru_cache(maxsize=8)  # until a file of the folder changes
def _hash_of(folder: Path, states: tuple[tuple[str, int, int], ...]) -> str:
    digest = sha256()
    for name, _, _ in states:
        with open(name, "rb") as file:
            part = sha256()
            while block := file.read(1 << 20):
                part.update(block)
        digest.update(f"{Path(name).relative_to(folder).as_posix()} {part.hexdigest()}\n".encode())
    return digest.hexdigest()
