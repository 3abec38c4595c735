"""What a GGUF file states of itself, read without loading the model."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egosrag.errors import ModelError

if TYPE_CHECKING:
    from gguf import GGUFReader

INSTALL = "pip install 'egosrag[gguf]'"
"""The command that installs what GGUF files need."""


def read_metadata(path: Path, name: str) -> dict[str, Any]:
    """The keys and values of a GGUF file, such as ``general.architecture``.

    Args:
        path: the file.
        name: what the user called it, for errors.

    Raises:
        ModelError: there is no such file, it is no GGUF file, it is cut off or damaged, or ``gguf`` is not installed.
    """
    if not path.is_file():
        raise ModelError(f"no model at {name}: there is no such file (looked for {path.absolute()})")
    reader = _reader_class()
    try:
        return {key: field.contents() for key, field in reader(path).fields.items()}
    except Exception as error:  # of any kind: offsets of a damaged file point anywhere
        with path.open("rb") as file:
            magic = file.read(4)
        fault = "is damaged or cut off: download it again" if magic == b"GGUF" else "is not a GGUF file"
        raise ModelError(f"{name} {fault}") from error


def _reader_class() -> type[GGUFReader]:
    try:
        import numpy as np
        from gguf import GGUFReader, GGUFValueType
    except ImportError as error:
        raise ModelError(f"GGUF files need another package: {INSTALL}") from error

    class Reader(GGUFReader):
        """The package's reader with arrays read at once: one by one, a vocabulary of 150,000 takes seconds."""

        def _get_field_parts(self, orig_offs: int, raw_type: int) -> tuple[int, list[Any], list[int], list[Any]]:
            if raw_type != GGUFValueType.ARRAY:
                parts: tuple[int, list[Any], list[int], list[Any]] = super()._get_field_parts(orig_offs, raw_type)
                return parts
            kind = GGUFValueType(int(self._get(orig_offs, np.uint32)[0]))
            count = int(self._get(orig_offs + 4, np.uint64)[0])
            offset = orig_offs + 12
            types, values = [GGUFValueType.ARRAY, kind], range(count)
            if kind != GGUFValueType.STRING:
                array = self._get(offset, self.gguf_scalar_to_np[kind], count)
                if len(array) < count:
                    raise ValueError("an array goes beyond the end of the file")
                return 12 + array.nbytes, list(array[:, None]), list(values), types
            data, strings = memoryview(self.data.view(np.ndarray).data), []
            for _ in values:
                (size,) = struct.unpack_from("<Q", data, offset)
                strings.append(data[offset + 8 : offset + 8 + size])
                offset += 8 + size
            return offset - orig_offs, strings, list(values), types

    return Reader
