"""Visitors of the web app, identified by a random token in a cookie; only a hash of the token is stored."""

from __future__ import annotations

import re
import secrets
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

COOKIE = "egosrag_visitor"
_TOKEN = re.compile(r"[0-9a-f]{32}")


class Visitor(NamedTuple):
    """A visitor: ``key`` is the prefix of their entries in the stores, ``folder`` has their files."""

    key: str
    folder: Path


def new_token() -> str:
    """A random token for a new visitor."""
    return secrets.token_hex(16)


def is_token(text: str) -> bool:
    """Whether the value of a cookie has the form of a token."""
    return bool(_TOKEN.fullmatch(text))


def visitor_of(token: str, data_dir: Path) -> Visitor:
    """The visitor with this token.

    Args:
        token: from :func:`new_token`. Keys and paths are made from its hash, so that a copy of the stores gives nobody
            access as this visitor.
        data_dir: the data folder of the settings.
    """
    key = sha256(token.encode()).hexdigest()[:24]
    return Visitor(key, data_dir / "visitors" / key)
