"""Who a visitor is: whoever holds a token that cannot be guessed. What is kept bears the token's hash alone."""

from __future__ import annotations

import re
import secrets
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

COOKIE = "egosrag_visitor"
_TOKEN = re.compile(r"[0-9a-f]{32}")


class Visitor(NamedTuple):
    """One visitor: ``key`` names what is his in the stores, ``folder`` holds his files."""

    key: str
    folder: Path


def new_token() -> str:
    """A token for somebody who has none."""
    return secrets.token_hex(16)


def is_token(text: str) -> bool:
    """Whether a cookie holds a token as this house makes them."""
    return bool(_TOKEN.fullmatch(text))


def visitor_of(token: str, data_dir: Path) -> Visitor:
    """The visitor who holds ``token``.

    Args:
        token: as :func:`new_token` made it; it is never used as a name or path itself, so a copy of the stores
            lets nobody in.
        data_dir: the settings' folder of what should stay.
    """
    key = sha256(token.encode()).hexdigest()[:24]
    return Visitor(key, data_dir / "visitors" / key)
