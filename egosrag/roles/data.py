"""The data in files of other programs: JSON, or YAML, in any encoding that they write; and files written atomically.

These files come from strangers. Whatever is in them, the result is the data or one line of error. What can be read in
spite of a fault is read: a byte order mark, UTF-16 and the Chinese encodings, half a character (it becomes U+FFFD),
numbers that JSON does not have (they become null), zero bytes at the end.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from egosrag.errors import RoleError, SourceError
from egosrag.limits import CARD_BYTES, CARD_DEPTH
from egosrag.text.encoding import decode_bytes, without_surrogates

Notify = Callable[[str], None]
"""Receives, in one line, what is wrong with a file that is read in spite of it."""


def read_bytes(path: Path, kind: str, limit: int = CARD_BYTES) -> bytes:
    """The content of a file.

    Args:
        path: the file.
        kind: what the file should be ("role card", "lorebook", ...), for the error message.
        limit: bytes that it may have.

    Raises:
        RoleError: it cannot be read, or is too large.
    """
    try:
        size = path.stat().st_size
        if size > limit:
            raise RoleError(
                f"the {kind} {path} has {size / 2**20:.0f} MB, the limit is {limit // 2**20}: make its picture smaller"
            )
        return path.read_bytes()
    except OSError as error:
        raise RoleError(
            f"the {kind} {path} cannot be read ({error.strerror}): give the path of a JSON or PNG file"
        ) from error


def decode_text(data: bytes, path: Path, kind: str) -> str:
    """The text of a file, without a byte order mark and zero bytes at its end.

    Raises:
        RoleError: it is not text.
    """
    encoding = json.detect_encoding(data[:4])
    if encoding.startswith(("utf-16", "utf-32")):
        encodings = [encoding]
    else:
        encodings, data = ["utf-8-sig"], data.rstrip(b"\0")
    for attempt in encodings:
        with suppress(UnicodeDecodeError):
            return data.decode(attempt).rstrip("\0")
    try:
        return decode_bytes(data, path)
    except SourceError as error:
        if data.lstrip().startswith(b"{"):  # a few damaged characters do not make a card unreadable
            return data.decode("utf-8", "replace")
        raise RoleError(f"the {kind} {path} is neither UTF-8 text nor PNG: save it as JSON or PNG") from error


def parse_json(data: bytes, path: Path, kind: str, notify: Notify | None = None) -> dict[str, Any]:
    """The JSON object in ``data``.

    Args:
        data: the content of the file.
        path: the file, for error messages.
        kind: what it should be, for error messages.
        notify: receives what was wrong and is read in spite of it.

    Raises:
        RoleError: it is not a JSON object, or is nested too deeply.
    """
    text = decode_text(data, path, kind)
    if not text.strip():
        raise RoleError(f'the {kind} {path} is empty: write at least {{"name": "..."}}')
    try:
        value = json.loads(text, parse_constant=_null, parse_float=_finite_float, strict=False)
    except (ValueError, RecursionError) as error:
        raise RoleError(f"the {kind} {path} is not JSON ({error}): fix it there") from error
    return _checked(value, path, kind, notify)


def parse_yaml(data: bytes, path: Path, kind: str, notify: Notify | None = None) -> dict[str, Any]:
    """The YAML object in ``data``; as :func:`parse_json`. Aliases are refused: a few can stand for gigabytes."""
    import yaml

    try:
        value = _yaml_loader()(decode_text(data, path, kind)).get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        message = " ".join(str(error).split())
        raise RoleError(f"the {kind} {path} is not YAML ({message[:200]}): fix it there") from error
    return _checked(value, path, kind, notify)


def _yaml_loader() -> Any:
    import yaml

    class PlainLoader(yaml.SafeLoader):
        """Strings, numbers, truth values, lists and objects: no dates, no aliases."""

        yaml_implicit_resolvers = {
            first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("it has aliases (*name)")
            return super().compose_node(parent, index)

    return PlainLoader


def write_atomically(path: Path, content: bytes, kind: str) -> None:
    """Write a file by way of a temporary one: if that fails, the file that was at ``path`` before is unchanged.

    Raises:
        RoleError: it cannot be written.
    """
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(
            "wb", dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False
        ) as file:
            temporary = file.name
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)
        raise RoleError(f"the {kind} {path} cannot be written ({error.strerror}): give another path") from error


def _checked(value: Any, path: Path, kind: str, notify: Notify | None) -> dict[str, Any]:
    if isinstance(value, str):  # JSON that was written as JSON once more
        with suppress(ValueError, RecursionError):
            value = json.loads(value, parse_constant=_null, parse_float=_finite_float, strict=False)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        raise RoleError(f'the {kind} {path} is not a JSON object: write at least {{"name": "..."}}')
    if _depth(value) > CARD_DEPTH:
        raise RoleError(f"the {kind} {path} is nested more than {CARD_DEPTH} levels deep: fix it there")
    plain: dict[str, Any] = _plain(value)
    try:
        json.dumps(plain, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        plain = _whole_characters(plain)
        if notify:
            notify("it contains half of a character (a lone surrogate, \\ud800 to \\udfff), which is read as \ufffd")
    return plain


def _plain(value: Any) -> Any:
    """The value with strings as keys, and null for numbers that JSON does not have; YAML has both."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def _whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, dict):
        return {_whole_characters(key): _whole_characters(item) for key, item in value.items()}
    return [_whole_characters(item) for item in value] if isinstance(value, list) else value


def _null(text: str) -> None:
    return None


def _finite_float(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _depth(value: Any) -> int:
    """How many levels deep lists and objects are nested, counted without recursion."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return depth
