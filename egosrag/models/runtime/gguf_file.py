"""What a GGUF file states of itself, read without loading the model."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egosrag.errors import ModelError
from egosrag.models.sampling import TalkSampling, gguf_sampling, recommended_sampling

if TYPE_CHECKING:
    from gguf import GGUFReader

INSTALL = "pip install 'egosrag[gguf]'"
"""The command that installs what GGUF files need."""

_SPECIAL_TYPES = (2, 3)  # token types of GGUF: unknown, control
_USER_DEFINED_TYPE = 4
# As the format spells them.
_SPECIAL_NAMES = ("bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "mask")
_SAMPLING_NAMES = {
    "temp": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p", "penalty_repeat": "repetition_penalty"
}  # fmt: skip


@dataclass(frozen=True)
class AddedToken:
    """A token beside the vocabulary of text, as transformers has them."""

    text: str
    special: bool

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class GgufFile:
    """The header of a GGUF file.

    Attributes:
        path: the file.
        name: what the user called it, for errors.
        version: another one for a file that was written again.
        metadata: keys and values, without the arrays.
        added_tokens: special and added tokens by id; empty in a file without a tokenizer.
    """

    path: Path
    name: str
    version: int
    metadata: Mapping[str, Any]
    added_tokens: Mapping[int, AddedToken]

    @property
    def architecture(self) -> str:
        """Such as "qwen2"."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def kind(self) -> str:
        """What the file holds: "model", "adapter" or another part of one."""
        return str(self.metadata.get("general.type", "model"))

    @property
    def window(self) -> int | None:
        """The context window of the model, in tokens."""
        window = self.metadata.get(f"{self.architecture}.context_length")
        return int(window) if window else None

    @property
    def chat_template(self) -> str | None:
        """Jinja source."""
        return self.metadata.get("tokenizer.chat_template") or None

    def special_id(self, name: str) -> int | None:
        """The id of a special token, such as "bos" or "eos"."""
        found = self.metadata.get(f"tokenizer.ggml.{name}_token_id")
        return found if found in self.added_tokens else None

    @property
    def talk_sampling(self) -> TalkSampling:
        """What its publisher recommends for conversations: in the file, beside it, or for its family."""
        own = {name: self.metadata.get(f"general.sampling.{key}") for key, name in _SAMPLING_NAMES.items()}
        if any(value is not None for value in own.values()):
            return recommended_sampling({"do_sample": True, **own})
        # A file without a chat template is of a base model: its family's recommendation is for Instruct models.
        return gguf_sampling(self.path, self.architecture if self.chat_template else "")


def read_gguf(name: str) -> GgufFile:
    """Read the header of a GGUF file.

    Raises:
        ModelError: there is no such file, it is no GGUF file, it is cut off or damaged, or ``gguf`` is not installed.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        raise ModelError(f"no model at {name}: there is no such file (looked for {path.absolute()})")
    return _read(path, name, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _read(path: Path, name: str, version: int) -> GgufFile:
    reader_class = _reader_class()
    try:
        fields = reader_class(path).fields
        arrays = {key for key, field in fields.items() if field.types[0].name == "ARRAY"}
        metadata = {key: field.contents() for key, field in fields.items() if key not in arrays}
        tokens = fields.get("tokenizer.ggml.tokens")
        types = _contents(fields, "tokenizer.ggml.token_type") or [1] * (len(tokens.data) if tokens else 0)
        named = {metadata.get(f"tokenizer.ggml.{special}_token_id") for special in _SPECIAL_NAMES}
        special = {n for n, kind in enumerate(types) if kind in _SPECIAL_TYPES or n in named}
        added = special | {n for n, kind in enumerate(types) if kind == _USER_DEFINED_TYPE}
        texts = {n: tokens.contents(n) for n in sorted(added)} if tokens else {}  # a few dozen of 150,000
        return GgufFile(path, name, version, metadata, {n: AddedToken(text, n in special) for n, text in texts.items()})
    except Exception as error:  # of any kind: the offsets of a damaged file point anywhere
        with path.open("rb") as file:
            fault = "is damaged or cut off: download it again" if file.read(4) == b"GGUF" else "is not a GGUF file"
        raise ModelError(f"{name} {fault}") from error


def _contents(fields: Mapping[str, Any], key: str) -> list[Any]:
    return list(fields[key].contents()) if key in fields else []


@cache
def _reader_class() -> type[GGUFReader]:
    try:
        import numpy as np
        from gguf import GGUFReader, GGUFValueType
    except ImportError as error:
        raise ModelError(f"GGUF files need another package: {INSTALL}") from error

    size_at = struct.Struct("<Q").unpack_from

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
                # Rows of a memory map take ten times as long as those of an array.
                return 12 + array.nbytes, list(array.view(np.ndarray)[:, None]), list(values), types
            data, strings = memoryview(self.data.view(np.ndarray).data), []
            for _ in values:  # a third of a million steps: each name that it looks up counts
                start = offset + 8
                offset = start + size_at(data, offset)[0]
                strings.append(data[start:offset])
            return offset - orig_offs, strings, list(values), types

    return Reader
