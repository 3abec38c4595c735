"""``egosrag serve``: what is served under which name, and the server's beginning and end."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from egosrag.cli.options import Adapter, Config, Embedder, Model, Set, Store, chosen
from egosrag.errors import SettingsError
from egosrag.postgres import is_postgres_url

if TYPE_CHECKING:
    from egosrag.serve.guard import Guard
    from egosrag.serve.models import Served
    from egosrag.settings import Settings

EXAMPLES = (
    "egosrag serve --role edda.json",
    "egosrag serve --index manual=runs/manual --model Qwen/Qwen2.5-1.5B-Instruct --port 9000",
)
_GRACE = 10  # seconds that running answers get when the server is told to stop


def serve(
    role: Annotated[list[Path] | None, typer.Option(help="Role card to serve by its file's name; repeatable.")] = None,
    index: Annotated[
        list[str] | None, typer.Option(metavar="[NAME=]DIR|URL", help="Index of a manual to serve; repeatable.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address; any but this machine's own needs tokens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes a free one.")] = 8000,
    tokens: Annotated[Path | None, typer.Option(help="File of bearer tokens, one a line.")] = None,
    model: Model = None,
    adapter: Adapter = None,
    embedder: Embedder = None,
    store: Store = None,
    pairs: Set = None,
    config: Config = None,
) -> None:
    """Serve roles, manuals and the model as an OpenAI-compatible API."""
    try:
        from egosrag.serve.guard import Guard, Limits, check_address, read_tokens
    except ImportError as error:
        raise SettingsError("serving needs packages more: pip install 'egosrag[serve]'") from error

    known = read_tokens(tokens)
    check_address(host, known)
    settings = chosen(config, pairs, model=model, adapter=adapter, embedder=embedder, store=store)
    served = offered(settings, role or (), index or ())
    run(served, Guard(known, Limits()), host, port)


def offered(settings: Settings, roles: Sequence[Path], indexes: Sequence[str]) -> dict[str, Served]:
    """What is served, by name: the model, roles by their files' names, manuals by theirs or their folders'.

    Raises:
        SettingsError: two have the same name.
        EgosRagError: one of them cannot be loaded.
    """
    from egosrag import assemble
    from egosrag.roles.files import load_role
    from egosrag.serve.models import Manual, Plain, Played

    chat = assemble.chat_model(settings)
    found: dict[str, Served] = {}

    def add(name: str, one: Served) -> None:
        if not name or name in found:
            raise SettingsError(f"two models would be named {name!r}: give the index another name, or rename the file")
        found[name] = one

    add(settings.model.rstrip("/").rsplit("/", 1)[-1], Plain(chat))
    for path in roles:
        load_role(path)  # what is wrong with a card is told now, not at the first request
        add(path.stem, Played(settings, path, chat))
    for given in indexes:
        name, place = named_index(given)
        add(name, Manual(settings, place, chat))
    return found


def named_index(given: str) -> tuple[str, str]:
    """The name and the place of ``[NAME=]PLACE``: a folder has its own name, an index in Postgres what follows #."""
    name, equals, place = given.partition("=")
    if equals and "/" not in name:  # an address has its = behind its host
        return name, place
    url, _, fragment = given.partition("#")
    return (fragment or "manual" if is_postgres_url(url) else given.rstrip("/").rsplit("/", 1)[-1]), given


def run(served: dict[str, Served], guard: Guard, host: str, port: int) -> None:
    """Listen until the process is told to stop; running answers get some seconds to end.

    Raises:
        SettingsError: the address cannot be listened at.
    """
    import uvicorn

    from egosrag.serve.api import create_app

    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise SettingsError(f"{host}:{port} cannot be listened at ({error.strerror}): give another --port") from error
    settings = uvicorn.Config(
        create_app(served, guard), log_level="warning", access_log=False, timeout_graceful_shutdown=_GRACE
    )
    at = listening.getsockname()[1]
    print(f"serves {', '.join(served)} at http://{host}:{at}/v1", file=sys.stderr, flush=True)
    with suppress(KeyboardInterrupt):  # raised once more when all has ended well
        uvicorn.Server(settings).run(sockets=[listening])
