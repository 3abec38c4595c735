"""The files of roles, lorebooks and personas: read within limits, written in one go.

Such files are handed around by strangers: whatever is in them, the answer is the data or one line of error.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from egosrag.errors import RoleError
from egosrag.limits import CARD_BYTES, CARD_DEPTH


def read_bytes(path: Path, what: str) -> bytes:
    """The content of a file of at most ``CARD_BYTES``.

    Args:
        path: the file.
        what: what it should be, as the error calls it.

    Raises:
        RoleError: it cannot be read, or is too large.
    """
    try:
        size = path.stat().st_size
        if size > CARD_BYTES:
            raise RoleError(
                f"the {what} {path} has {size / 2**20:.0f} MB, and one may have {CARD_BYTES // 2**20}: "
                "make its picture smaller"
            )
        return path.read_bytes()
    except OSError as error:
        raise RoleError(
            f"the {what} {path} cannot be read ({error.strerror}): give the path of a JSON or PNG file"
        ) from error


def decoded(data: bytes, path: Path, what: str) -> str:
    """The text of a file, in UTF-8.

    Raises:
        RoleError: it is none.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RoleError(f"the {what} {path} is neither UTF-8 text nor PNG: save it as JSON or PNG") from error


def read_json(data: bytes, path: Path, what: str) -> dict[str, Any]:
    """The JSON object of a file.

    Raises:
        RoleError: it is none, or one that could not be written back as it was.
    """
    text = decoded(data, path, what)
    if not text.strip():
        raise RoleError(f'the {what} {path} is empty: write at least {{"name": "..."}}')
    try:
        found = json.loads(text, parse_constant=_no_number, parse_float=_number)
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise RoleError(f"the {what} {path} holds half of a character (a lone \\ud800 to \\udfff): mend it") from error
    except (ValueError, RecursionError) as error:
        raise RoleError(f"the {what} {path} is not JSON ({error}): mend it there") from error
    if not isinstance(found, dict):
        raise RoleError(f'the {what} {path} is not a JSON object: write at least {{"name": "..."}}')
    if _depth(found) > CARD_DEPTH:
        raise RoleError(f"the {what} {path} is nested more than {CARD_DEPTH} deep: nothing of its kind is; mend it")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


def _number(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _depth(value: Any) -> int:
    """How deep lists and objects stand inside each other, counted without recursion."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return depth


def write_bytes(path: Path, content: bytes, what: str) -> None:
    """Writes a file in one go: a failure leaves what stood at ``path`` before.

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
        raise RoleError(f"the {what} {path} cannot be written ({error.strerror}): give another path") from error
