"""What sessions and indexes in PostgreSQL share: the connection, patience with it, and an address without its password.

A server that is away for some seconds, as in a restart, is waited for; what it refuses (a password, a database that is
not there) fails at once. No message holds the password: not ours, and not libpq's, which may quote an address.
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
_LONGEST_PAUSE_S = 2.0
# Keeps a connection's end known within a minute on either side of a network that was cut.
_KEEPALIVE = {"keepalives_idle": 20, "keepalives_interval": 10, "keepalives_count": 3}
OPTIONS: Any = {"autocommit": True, "connect_timeout": 5, "application_name": "egosrag", **_KEEPALIVE}
_AWAY = ("08", "57P")  # classes of SQLSTATE: connection exceptions; the server stops, crashes or starts up
_WRONG = ("FATAL:", "translate host name", "invalid", "missing")  # of a connection that no waiting will mend
_STARTS = ("starting up", "shutting down", "recovery", "too many clients", "remaining connection slots")
_log = logging.getLogger(__name__)
T = TypeVar("T")


def is_address(where: object) -> bool:
    """Whether ``where`` names a PostgreSQL database, and no path."""
    return str(where).startswith(("postgresql://", "postgres://"))


def shown(url: str) -> str:
    """The address as it may be shown: without user, password and parameters; a path stays as it is."""
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return "postgresql://..."
    if "@" in parts.path + parts.query + parts.fragment:  # of a password with a / ? or # in it
        return f"{parts.scheme}://..."
    name = f"#{parts.fragment}" if parts.fragment else ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{name}"


def reason(error: Exception, url: str) -> str:
    """The first line of a database's error, without what the address keeps secret."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    try:
        parts = urlsplit(url)
        secrets = {parts.netloc.rpartition("@")[0].partition(":")[2], *_values(parts.query)}
    except ValueError:
        return type(error).__name__
    for secret in sorted(secrets | {unquote(s) for s in secrets}, key=len, reverse=True):
        if secret:
            text = text.replace(secret, "***")
    return text


def _values(query: str) -> set[str]:
    return {pair.partition("=")[2] for pair in query.split("&") if pair.partition("=")[0] in ("password", "passfile")}


def installed() -> None:
    """Finds out whether the packages for Postgres are there.

    Raises:
        SettingsError: they are not.
    """
    if find_spec("psycopg") is None:
        raise SettingsError("Postgres needs packages more: pip install 'egosrag[postgres]'")


def connect(url: str, kind: type[EgosRagError], **options: Any) -> Connection[Any]:
    """A connection that commits each statement, made as soon as the server answers.

    Args:
        url: ``postgresql://user@host:5432/database``; a password is better kept in ``PGPASSWORD`` or ``~/.pgpass``,
            where no list of processes shows it.
        kind: the error that is raised.
        **options: of ``psycopg.connect``.

    Raises:
        SettingsError: the packages for Postgres are not installed.
        EgosRagError: of ``kind``: the address is wrong, or the server did not answer for ``DATABASE_TIMEOUT_S``.
    """
    installed()
    import psycopg

    try:
        psycopg.conninfo.conninfo_to_dict(url)
        if urlsplit(url).netloc.count("@") > 1:  # libpq would take a part of the password as the host, and show it
            raise ValueError(url)
    except (psycopg.Error, ValueError):
        raise kind(
            f"the address {shown(url)} cannot be read: write postgresql://USER@HOST:5432/DATABASE, "
            "with %40 for an @ of the password"
        ) from None
    try:
        return patiently(lambda: psycopg.connect(url, **{**OPTIONS, **options}))
    except psycopg.Error as error:
        told = f"Postgres at {shown(url)} cannot be reached ({reason(error, url)}): check address and server"
        raise kind(told) from None  # libpq's own words may hold the password


def patiently(call: Callable[[], T], mend: Callable[[], None] | None = None) -> T:
    """What ``call`` gives, called again while the database is away, in longer and longer steps.

    Args:
        call: may be repeated.
        mend: is called before each repetition; what it raises ends the patience unless the database is still away.

    Raises:
        psycopg.Error: as ``call`` raises it, when it means something else or ``DATABASE_TIMEOUT_S`` are over.
    """
    import psycopg

    until, pause, broken = time.monotonic() + DATABASE_TIMEOUT_S, _FIRST_PAUSE_S, False
    while True:
        try:
            if broken and mend:
                mend()
            return call()
        except psycopg.OperationalError as error:
            if not is_away(error) or time.monotonic() + pause > until:
                raise
            if not broken:
                _log.warning("the database does not answer; trying again for %.0f seconds", DATABASE_TIMEOUT_S)
            broken = True
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def is_away(error: Exception) -> bool:
    """Whether a database's error means that the server is away for now, and not that it refuses something."""
    state = getattr(error, "sqlstate", None)
    if state:
        return str(state).startswith(_AWAY)
    text = str(error)  # of a connection that could not be made, libpq gives no state
    return any(word in text for word in _STARTS) or not any(word in text for word in _WRONG)


class Link:
    """A connection that is made when it is needed, and made again after it broke; any thread may use it.

    Args:
        url: the database's address.
        kind: the error that is raised.
    """

    def __init__(self, url: str, kind: type[EgosRagError]) -> None:
        self.url = url
        self._kind = kind
        self._connection: Connection[Any] | None = None
        self._lock = threading.Lock()

    def rows(self, query: str, *values: Any, before: str = "") -> list[Any]:
        """What a query that changes nothing gives.

        Args:
            query: with ``%s`` for the values.
            *values: the values.
            before: a command that holds for this query alone.

        Raises:
            EgosRagError: of the link's kind: the database does not answer, or refuses.
        """
        import psycopg

        def ask(connection: Connection[Any]) -> list[Any]:
            with connection.transaction() if before else nullcontext():
                if before:
                    connection.execute(before)
                return connection.execute(query, values).fetchall()

        try:
            return self.again(ask)
        except psycopg.Error as error:
            told = f"Postgres at {shown(self.url)} does not answer as it should ({reason(error, self.url)})"
            raise self._kind(told) from None

    def again(self, work: Callable[[Connection[Any]], T]) -> T:
        """What ``work`` gives with a connection, done again from its beginning while the database is away.

        Raises:
            psycopg.Error: as ``work`` raises it.
            EgosRagError: of the link's kind: there is no connection to be had.
        """
        with self._lock:
            return patiently(lambda: work(self._open()))

    def _open(self) -> Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self.url, self._kind)
        return self._connection
