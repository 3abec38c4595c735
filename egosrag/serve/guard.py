"""Access to the server: bearer tokens, limits on requests, and the Prometheus metrics of what was answered."""

from __future__ import annotations

import hmac
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from egosrag.caller import Caller
from egosrag.errors import SettingsError
from egosrag.limits import (
    ANSWER_TIMEOUT_S,
    CONCURRENT_REQUESTS,
    REQUEST_BYTES,
    REQUEST_TIMEOUT_S,
    STALL_TIMEOUT_S,
)
from egosrag.schema import Usage
from egosrag.serve.browsers import is_loopback
from egosrag.serve.responses import ApiError

TOKENS = "EGOSRAG_SERVE_TOKENS"
MIN_TOKEN_LENGTH = 16  # characters


class Limits(NamedTuple):
    """The limits of one server.

    Args:
        body_bytes: size of a request body.
        at_once: requests that are being answered or wait for the model.
        seconds: time for one answer, which then ends with the finish reason "length".
        body_seconds: time in which a request body must arrive.
        stall_seconds: time for which a client may stop reading.
    """

    body_bytes: int = REQUEST_BYTES
    at_once: int = CONCURRENT_REQUESTS
    seconds: float = ANSWER_TIMEOUT_S
    body_seconds: float = REQUEST_TIMEOUT_S
    stall_seconds: float = STALL_TIMEOUT_S


def read_tokens(file: Path | None) -> tuple[str, ...]:
    """Read the bearer tokens: one a line from ``file``, and comma-separated from the environment.

    Raises:
        SettingsError: the file cannot be read, or a token is so short that it could be guessed.
    """
    lines = os.environ.get(TOKENS, "").split(",")
    if file is not None:
        try:
            lines += file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{file} cannot be read as tokens, one a line: {type(error).__name__}") from error
    tokens = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if any(len(token) < MIN_TOKEN_LENGTH or not token.isascii() for token in tokens):
        raise SettingsError(
            f"a token is shorter than {MIN_TOKEN_LENGTH} ASCII characters: make one with openssl rand -hex 24"
        )
    return tokens


def check_address(host: str, tokens: Sequence[str]) -> None:
    """Refuse to listen on a network address without tokens.

    Raises:
        SettingsError: ``host`` is no loopback address, and there is no token.
    """
    if not is_loopback(host) and not tokens:
        raise SettingsError(f"{host} can be reached from other machines: give tokens first (--tokens FILE or {TOKENS})")


class Guard:
    """Authenticates requests, limits how many are answered at once, and counts answers.

    Args:
        tokens: the bearer tokens; every request is accepted where there are none.
        limits: the limits of the server.
    """

    def __init__(self, tokens: Sequence[str], limits: Limits) -> None:
        self._tokens = [token.encode() for token in tokens]
        self.limits = limits
        self._active = 0
        self._lock = threading.Lock()
        self._registry = CollectorRegistry()
        self._answers = Counter(
            "egosrag_requests", "Answers by model and outcome.", ["model", "outcome"], registry=self._registry
        )
        self._used_tokens = Counter("egosrag_tokens", "Tokens by kind.", ["kind"], registry=self._registry)
        self._seconds = Histogram("egosrag_seconds", "Seconds of an answer.", ["model"], registry=self._registry)
        self._working = Gauge("egosrag_working", "Requests that are being answered.", registry=self._registry)

    @property
    def has_tokens(self) -> bool:
        """Whether requests need a token."""
        return bool(self._tokens)

    def caller(self, token: str) -> Caller:
        """The caller of one answer: its time limit, and the key of its prompt caches where there are several tokens."""
        key = sha256(token.encode()).hexdigest()[:16] if len(self._tokens) > 1 else ""
        return Caller(self.limits.seconds, key)

    def authenticate(self, authorization: str | None) -> str:
        """The token of a request; empty where the server has no tokens.

        Args:
            authorization: the request's ``Authorization`` header.

        Raises:
            ApiError: the header holds no valid token.
        """
        if not self._tokens:
            return ""
        kind, _, sent = (authorization or "").partition(" ")
        # Compared with every token, each in constant time: the time taken does not reveal how close a guess was.
        matches = [hmac.compare_digest(sent.strip().encode(), token) for token in self._tokens]
        if kind.lower() != "bearer" or not any(matches):
            raise ApiError(401, "no valid token: send the header Authorization: Bearer TOKEN", "invalid_api_key")
        return sent.strip()

    def check_operator(self, token: str) -> None:
        """Checks that a token may read what all of them do together: of several only the first.

        Args:
            token: a valid token, see :meth:`authenticate`.

        Raises:
            ApiError: it may not.
        """
        if len(self._tokens) > 1 and not hmac.compare_digest(token.encode(), self._tokens[0]):
            message = "the metrics are of all tokens together: read them with the first token of the server"
            raise ApiError(403, message, "not_operator")

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Count a request as active while the block runs.

        Raises:
            ApiError: too many are active already.
        """
        with self._lock:
            if self._active >= self.limits.at_once:
                raise ApiError(429, "too many requests at once: try again later", "rate_limit_exceeded", retry_after=2)
            self._active += 1
        self._working.inc()
        try:
            yield
        finally:
            self._working.dec()
            with self._lock:
                self._active -= 1

    def record(self, model: str, outcome: str, seconds: float, usage: Usage | None = None) -> None:
        """Count an answer in the metrics.

        Args:
            model: a name that is served, never one that a client made up: each becomes a label of its own.
            outcome: "done", "refused", "failed", "late" (ended by the time limit) or "closed" (by the client).
            seconds: from request to end.
            usage: tokens, where the answer was completed.
        """
        self._answers.labels(model, outcome).inc()
        self._seconds.labels(model).observe(seconds)
        if usage:
            for kind in ("prompt_tokens", "completion_tokens", "cached_tokens"):
                self._used_tokens.labels(kind.removesuffix("_tokens")).inc(getattr(usage, kind))

    @property
    def metrics(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)
