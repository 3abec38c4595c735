"""KV caches of prompts on disk, so that a new process goes on with a conversation instead of reading it again.

When a process ends, llama.cpp's slots are saved: for each the token ids and the keys and values computed for them. The
first prompt of a later process that begins alike takes over the longest common beginning. A file has what its prompts
say: the folder is its owner's alone, and ``egosrag sessions delete`` clears it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import time
import zlib
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from egosrag.models.runtime.kv_cache import common_prefix_length

MIN_TOKENS = 64
"""Shorter prompts are read again as fast."""

_HEADER = struct.Struct("<4sII")  # of a sequence's state by llama.cpp: magic, version, number of 32 bit numbers
_MAGIC = b"qsgg"
_COUNTED = (-1, 1)  # the numbers begin with these and the number of token ids; without them all are token ids
_NAME = "{}-{}.saving"
_ABANDONED_S = 3600.0  # after which a file that is still being saved is of a process that was killed
_ALIKE = 0.5  # a saved prompt replaces one that shares this part of it: the same conversation, some turns earlier


class SavedPrompts(NamedTuple):
    """Where prompts are saved between processes.

    Attributes:
        folder: of all models.
        limit_mb: MiB of all models together.
    """

    folder: Path
    limit_mb: int


class PromptFiles:
    """The saved prompts of one model.

    Args:
        saved: where those of all models are.
        model: what decides whether a file fits: the model's file and version, its adapter, the library.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, saved: SavedPrompts, model: object) -> None:
        self._root, self._limit = saved.folder, saved.limit_mb << 20
        self.folder = saved.folder / hashlib.sha256(repr(model).encode()).hexdigest()[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        self._root.chmod(0o700)

    def best_for(self, prompt: Sequence[int]) -> Path | None:
        """The file with the longest common beginning with a prompt, if that is worth reading."""
        found = [(common_prefix_length(ids, prompt), path) for path, ids in self._saved()]
        length, path = max(found, default=(0, None), key=lambda pair: pair[0])
        if length < MIN_TOKENS or path is None:
            return None
        if not path.stem.endswith(_checksum(path)):  # llama.cpp would end the process
            path.unlink(missing_ok=True)
            return None
        with suppress(OSError):
            os.utime(path)  # the least recently used one is dropped first
        return path

    def slot(self, number: int) -> Path:
        """Where llama.cpp saves a slot, before :meth:`keep`; other processes save theirs at the same time."""
        return self.folder / _NAME.format(os.getpid(), number)

    def keep(self, saved: Path) -> None:
        """Take over a file that llama.cpp saved, in place of an earlier state of the same conversation."""
        ids = _token_ids(saved)
        if ids is None or len(ids) < MIN_TOKENS:
            saved.unlink(missing_ok=True)
            return
        for path, other in self._saved():
            common = common_prefix_length(ids, other)
            if common == len(ids):  # has all of it
                saved.unlink()
                return
            if common > _ALIKE * len(other):
                path.unlink(missing_ok=True)
        saved.replace(self.folder / f"{hashlib.sha256(ids.tobytes()).hexdigest()[:16]}-{_checksum(saved)}.kv")
        self._trim()

    def _saved(self) -> Iterator[tuple[Path, array[int]]]:
        for path in self.folder.glob("*.kv"):
            ids = _token_ids(path)
            if ids is not None:
                yield path, ids

    def _trim(self) -> None:
        for path in self._root.glob("*/*.saving"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED_S:
                    path.unlink()
        files = sorted(self._root.glob("*/*.kv"), key=lambda path: path.stat().st_mtime, reverse=True)
        total = 0
        for path in files:
            total += path.stat().st_size
            if total > self._limit:
                path.unlink(missing_ok=True)


def clear(root: Path) -> None:
    """Delete all saved prompts, of all models."""
    shutil.rmtree(root, ignore_errors=True)


def _checksum(path: Path) -> str:
    """CRC-32 of a file, in hex."""
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return f"{checksum:08x}"


def _token_ids(path: Path) -> array[int] | None:
    """The token ids at the beginning of a file; None where it is no such file."""
    numbers = array("i")
    with suppress(OSError, EOFError, struct.error), path.open("rb") as file:
        magic, _, count = _HEADER.unpack(file.read(_HEADER.size))
        if magic == _MAGIC and count * numbers.itemsize <= path.stat().st_size:
            numbers.fromfile(file, count)
            return numbers[3 : 3 + numbers[2]] if tuple(numbers[:2]) == _COUNTED else numbers
    return None
