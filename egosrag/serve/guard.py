"""Who may ask, how much at once, and what is counted of it."""

from __future__ import annotations

import hmac
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from egosrag.errors import SettingsError
from egosrag.limits import ANSWER_TIMEOUT_S, CONCURRENT_REQUESTS, REQUEST_BYTES
from egosrag.schema import Usage
from egosrag.serve.schema import Refused

TOKENS = "EGOSRAG_SERVE_TOKENS"
_SHORTEST = 16  # characters of a token


class Limits(NamedTuple):
    """What one server takes.

    Args:
        body_bytes: of one request.
        at_once: requests that are worked on or wait for the model.
        seconds: that one answer may take; then it ends with the reason "length".
    """

    body_bytes: int = REQUEST_BYTES
    at_once: int = CONCURRENT_REQUESTS
    seconds: float = ANSWER_TIMEOUT_S


def read_tokens(file: Path | None) -> tuple[str, ...]:
    """The bearer tokens: a line each of ``file``, and those of the environment, parted by commas.

    Raises:
        SettingsError: the file cannot be read, or a token is too short to keep anybody out.
    """
    lines = os.environ.get(TOKENS, "").split(",")
    if file is not None:
        try:
            lines += file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{file} cannot be read as tokens, one a line: {type(error).__name__}") from error
    found = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if any(len(token) < _SHORTEST or not token.isascii() for token in found):
        raise SettingsError(f"a token is shorter than {_SHORTEST} ASCII characters: make one with openssl rand -hex 24")
    return found


def check_address(host: str, tokens: Sequence[str]) -> None:
    """Refuse to open the door to other machines without a key.

    Raises:
        SettingsError: ``host`` is not of this machine alone, and there is no token.
    """
    try:
        at_home = ip_address(host).is_loopback
    except ValueError:
        at_home = host == "localhost"
    if not at_home and not tokens:
        raise SettingsError(f"{host} lets other machines in: give tokens first (--tokens FILE, or {TOKENS})")


class Guard:
    """Lets requests in and counts them."""

    def __init__(self, tokens: Sequence[str], limits: Limits) -> None:
        self._tokens = [token.encode() for token in tokens]
        self.limits = limits
        self._active = 0
        self._lock = threading.Lock()
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "egosrag_requests", "Answers by model and outcome.", ["model", "outcome"], registry=self._registry
        )
        self._spent = Counter("egosrag_tokens", "Tokens by kind.", ["kind"], registry=self._registry)
        self._seconds = Histogram("egosrag_seconds", "Seconds of an answer.", ["model"], registry=self._registry)
        self._working = Gauge("egosrag_working", "Requests that are worked on.", registry=self._registry)

    def who(self, authorization: str | None) -> str:
        """The token that a request shows; empty where none is needed.

        Raises:
            Refused: it shows none of those that are known.
        """
        if not self._tokens:
            return ""
        kind, _, given = (authorization or "").partition(" ")
        # All are compared, each in constant time: how long it takes tells nothing of how near a guess was.
        right = [hmac.compare_digest(given.strip().encode(), token) for token in self._tokens]
        if kind.lower() != "bearer" or not any(right):
            raise Refused(401, "no valid token: send Authorization: Bearer TOKEN", "invalid_api_key")
        return given.strip()

    @contextmanager
    def working(self) -> Iterator[None]:
        """One of the requests at once.

        Raises:
            Refused: there are too many.
        """
        with self._lock:
            if self._active >= self.limits.at_once:
                raise Refused(429, "too many requests at once: try again", "rate_limit_exceeded", retry_after=2)
            self._active += 1
        self._working.inc()
        try:
            yield
        finally:
            self._working.dec()
            with self._lock:
                self._active -= 1

    def count(self, model: str, outcome: str, seconds: float, usage: Usage | None = None) -> None:
        """Count an answer. ``model`` is a name that is served, never what a client made up."""
        self._requests.labels(model, outcome).inc()
        self._seconds.labels(model).observe(seconds)
        if usage:
            for kind in ("prompt_tokens", "completion_tokens", "cached_tokens"):
                self._spent.labels(kind.removesuffix("_tokens")).inc(getattr(usage, kind))

    @property
    def metrics(self) -> bytes:
        """The counts in the text format of Prometheus."""
        return generate_latest(self._registry)
