"""PostgreSQL connections, shared by session stores and indexes: retries, and URLs without their password.

A server that is unavailable for some seconds, as during a restart, is waited for; an error that waiting does not fix (a
wrong password, a database that does not exist) is raised at once. No message contains the password: neither ours nor
libpq's, which may quote the URL.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from egosrag.errors import EgosRagError, SettingsError
from egosrag.limits import DATABASE_TIMEOUT_S

if TYPE_CHECKING:
    from psycopg import Connection

_FIRST_PAUSE_S = 0.1
_MAX_PAUSE_S = 2.0
# Either side notices within a minute that the network was cut.
_KEEPALIVE = {"keepalives_idle": 20, "keepalives_interval": 10, "keepalives_count": 3}
CONNECT_OPTIONS: Any = {"autocommit": True, "connect_timeout": 5, "application_name": "egosrag", **_KEEPALIVE}
_UNAVAILABLE_STATES = ("08", "57P")  # classes of SQLSTATE: connection exceptions; the server stops, crashes or starts
# libpq gives no SQLSTATE for a connection that could not be made: parts of its messages in place of one.
_UNAVAILABLE_MESSAGES = ("starting up", "shutting down", "recovery", "too many clients", "remaining connection slots")
_PERMANENT_MESSAGES = ("FATAL:", "translate host name", "invalid", "missing")
_log = logging.getLogger(__name__)
T = TypeVar("T")


def is_postgres_url(where: object) -> bool:
    """Whether ``where`` is the URL of a PostgreSQL database, and not a path."""
    return str(where).startswith(("postgresql://", "postgres://"))


def redact_url(url: str) -> str:
    """The URL without user, password and parameters, as it may be displayed; a path is returned unchanged."""
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return "postgresql://..."
    if "@" in parts.path + parts.query + parts.fragment:  # the password contains a / ? or #
        return f"{parts.scheme}://..."
    name = f"#{parts.fragment}" if parts.fragment else ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{name}"


def error_reason(error: Exception, url: str) -> str:
    """The first line of a database error, with the secrets of the URL masked."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    try:
        parts = urlsplit(url)
        secrets = {parts.netloc.rpartition("@")[0].partition(":")[2], *_secret_parameters(parts.query)}
    except ValueError:
        return type(error).__name__
    for secret in sorted(secrets | {unquote(s) for s in secrets}, key=len, reverse=True):
        if secret:
            text = text.replace(secret, "***")
    return text


def _secret_parameters(query: str) -> set[str]:
    return {pair.partition("=")[2] for pair in query.split("&") if pair.partition("=")[0] in ("password", "passfile")}


def require_psycopg() -> None:
    """Check that the packages of the ``postgres`` extra are installed.

    Raises:
        SettingsError: they are not.
    """
    if find_spec("psycopg") is None:
        raise SettingsError("PostgreSQL needs additional packages: pip install 'egosrag[postgres]'")


def connect(url: str, error_type: type[EgosRagError], **options: Any) -> Connection[Any]:
    """Open a connection with autocommit, waiting for a server that is unavailable.

    Args:
        url: ``postgresql://user@host:5432/database``; keep the password in ``PGPASSWORD`` or ``~/.pgpass``, where it
            does not appear in a process list.
        error_type: the class of the error that is raised.
        **options: of ``psycopg.connect``.

    Raises:
        SettingsError: the packages for PostgreSQL are not installed.
        EgosRagError: (as ``error_type``) the URL is malformed, or there was no answer within ``DATABASE_TIMEOUT_S``.
    """
    require_psycopg()
    import psycopg

    try:
        psycopg.conninfo.conninfo_to_dict(url)
        if urlsplit(url).netloc.count("@") > 1:  # libpq would take a part of the password for the host, and display it
            raise ValueError(url)
    except (psycopg.Error, ValueError):
        raise error_type(
            f"the address {redact_url(url)} cannot be read: write postgresql://USER@HOST:5432/DATABASE, "
            "with %40 for an @ in the password"
        ) from None
    try:
        return with_retries(lambda: psycopg.connect(url, **{**CONNECT_OPTIONS, **options}))
    except psycopg.Error as error:
        reason = error_reason(error, url)
        message = f"PostgreSQL at {redact_url(url)} cannot be reached ({reason}): check address and server"
        raise error_type(message) from None  # libpq's own message may contain the password


def with_retries(call: Callable[[], T], repair: Callable[[], None] | None = None) -> T:
    """The result of ``call``, repeated with growing pauses while the database is unavailable.

    Args:
        call: may be repeated.
        repair: is called before each repetition; what it raises ends the retries unless the database is still
            unavailable.

    Raises:
        psycopg.Error: from ``call``, if it is another error or ``DATABASE_TIMEOUT_S`` seconds are over.
    """
    import psycopg

    deadline, pause, failed = time.monotonic() + DATABASE_TIMEOUT_S, _FIRST_PAUSE_S, False
    while True:
        try:
            if failed and repair:
                repair()
            return call()
        except psycopg.OperationalError as error:
            if not is_unavailable(error) or time.monotonic() + pause > deadline:
                raise
            if not failed:
                _log.warning("the database does not answer; retrying for %.0f seconds", DATABASE_TIMEOUT_S)
            failed = True
        time.sleep(pause)
        pause = min(2 * pause, _MAX_PAUSE_S)


def is_unavailable(error: Exception) -> bool:
    """Whether a database error means that the server is unavailable for now, rather than that it refuses something."""
    state = getattr(error, "sqlstate", None)
    if state:
        return str(state).startswith(_UNAVAILABLE_STATES)
    text = str(error)
    temporary = any(words in text for words in _UNAVAILABLE_MESSAGES)
    return temporary or not any(words in text for words in _PERMANENT_MESSAGES)


class Database:
    """A connection that is opened when it is first needed and reopened after it broke; thread-safe.

    Args:
        url: the database's URL.
        error_type: the class of the errors that are raised.
    """

    def __init__(self, url: str, error_type: type[EgosRagError]) -> None:
        self.url = url
        self._error_type = error_type
        self._connection: Connection[Any] | None = None
        self._lock = threading.Lock()

    def fetch_all(self, query: str, *values: Any, before: str = "") -> list[Any]:
        """The rows of a query that changes nothing.

        Args:
            query: with ``%s`` for the values.
            *values: the values.
            before: a command executed first, in the same transaction, such as ``SET LOCAL ...``.

        Raises:
            EgosRagError: (as ``error_type``) the database does not answer, or refuses.
        """
        import psycopg

        def fetch(connection: Connection[Any]) -> list[Any]:
            with connection.transaction() if before else nullcontext():
                if before:
                    connection.execute(before)
                return connection.execute(query, values).fetchall()

        try:
            return self.run(fetch)
        except psycopg.Error as error:
            reason = error_reason(error, self.url)
            raise self._error_type(f"PostgreSQL at {redact_url(self.url)} failed to answer ({reason})") from None

    def run(self, work: Callable[[Connection[Any]], T]) -> T:
        """The result of ``work`` with a connection, restarted from its beginning while the database is unavailable.

        Raises:
            psycopg.Error: from ``work``.
            EgosRagError: (as ``error_type``) no connection can be opened.
        """
        with self._lock:
            return with_retries(lambda: work(self._open()))

    def _open(self) -> Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self.url, self._error_type)
        return self._connection
