"""``egosrag serve``: roles, manuals and the model as an OpenAI-compatible API."""

from __future__ import annotations

import gc
import socket
import sys
from collections.abc import Container, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from egosrag.cli.options import Adapter, Config, Embedder, Model, Set, Store, Template, load_settings
from egosrag.errors import SettingsError
from egosrag.postgres import is_postgres_url

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from egosrag.serve.backends import Backend
    from egosrag.settings import Settings

EXAMPLES = (
    "egosrag serve --role edda.json",
    "egosrag serve --index manual=runs/manual --model Qwen/Qwen2.5-1.5B-Instruct --port 9000",
)
_SHUTDOWN_S = 10  # seconds in which running requests may finish when the server is stopped


def serve(
    role: Annotated[
        list[Path] | None,
        typer.Option(help="Role card (or the name of a sample) to serve under the name of its file; repeatable."),
    ] = None,
    index: Annotated[
        list[str] | None, typer.Option(metavar="[NAME=]DIR|URL", help="Index to serve as a manual; repeatable.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; any but the loopback address requires --tokens.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes a free one.")] = 8000,
    tokens: Annotated[Path | None, typer.Option(help="File of bearer tokens, one per line.")] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN", help="Origin whose web pages may use the server, as http://host:port; repeatable."
        ),
    ] = None,
    user_sessions: Annotated[
        bool, typer.Option("--user-sessions", help="Let the field user of a request name a stored session.")
    ] = False,
    model: Model = None,
    adapter: Adapter = None,
    template: Template = None,
    embedder: Embedder = None,
    store: Store = None,
    pairs: Set = None,
    config: Config = None,
) -> None:
    """Serve roles, manuals and the model as an OpenAI-compatible API."""
    try:
        from egosrag.serve.api import create_app
        from egosrag.serve.browsers import check_origins
        from egosrag.serve.guard import Guard, Limits, check_address, read_tokens
    except ImportError as error:
        raise SettingsError("serving needs additional packages: pip install 'egosrag[serve]'") from error

    known = read_tokens(tokens)
    check_address(host, known)
    check_origins(allow_origin or (), has_tokens=bool(known))
    settings = load_settings(
        config, pairs, model=model, adapter=adapter, template=template, embedder=embedder, store=store
    )
    served = served_models(settings, role or (), index or ())
    app = create_app(served, Guard(known, Limits()), origins=allow_origin or (), user_is_session=user_sessions)
    run(app, list(served), host, port, "/v1")


def served_models(settings: Settings, roles: Sequence[Path], indexes: Sequence[str]) -> dict[str, Backend]:
    """The models of the API by name: the chat model itself, and a model for each role and each manual.

    Args:
        settings: the settings.
        roles: role cards, each served under the name of its file.
        indexes: ``[NAME=]PLACE`` of each index, see :func:`named_index`.

    Raises:
        SettingsError: two have the same name.
        EgosRagError: one of them cannot be loaded.
    """
    from egosrag import assemble
    from egosrag.roles.files import load_role
    from egosrag.serve.backends import ManualBackend, ModelBackend, RoleBackend

    chat = assemble.chat_model(settings.model_copy(update={"prompt_cache_mb": 0}))
    served: dict[str, Backend] = {}

    def add(name: str, model: Backend) -> None:
        check_name(name, served, "models")
        served[name] = model

    add(settings.model.rstrip("/").rsplit("/", 1)[-1], ModelBackend(chat, settings.sampling))
    for path in roles:
        load_role(path)  # a broken card is an error now, not at the first request
        add(path.stem, RoleBackend(settings, path, chat))
    for argument in indexes:
        name, place = named_index(argument)
        add(name, ManualBackend(settings, place, chat))
    return served


def named_index(argument: str) -> tuple[str, str]:
    """The served name and the place of ``[NAME=]PLACE``; NAME is by default the folder's, the file's or the URL's."""
    name, equals, place = argument.partition("=")
    if equals and "/" not in name:  # in a URL, = can only come after the host
        return name, place
    url, _, fragment = argument.partition("#")
    return (fragment or "manual" if is_postgres_url(url) else argument.rstrip("/").rsplit("/", 1)[-1]), argument


def check_name(name: str, taken: Container[str], what: str) -> None:
    """Check that something can be served under a name.

    Args:
        name: the name.
        taken: the names that are served already.
        what: what has these names, for the message.

    Raises:
        SettingsError: the name is empty, or taken.
    """
    if not name or name in taken:
        raise SettingsError(f"two {what} would be named {name!r}: write NAME=PLACE, or rename the file of a role")


def run(app: ASGIApp, names: Sequence[str], host: str, port: int, path: str) -> None:
    """Serve until the process is stopped; running requests then have some seconds to finish.

    Args:
        app: the application.
        names: of what is served, for the message that it has started.
        host: address to listen at.
        port: port to listen at; 0 takes a free one.
        path: of the API, for the message.

    Raises:
        SettingsError: it cannot listen at the address.
    """
    import uvicorn

    from egosrag.serve.protocol import server_config

    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise SettingsError(f"cannot listen at {host}:{port} ({error.strerror}): give another --port") from error
    gc.freeze()  # what is loaded stays: the garbage collector need not look at it again
    server = server_config(app, timeout_graceful_shutdown=_SHUTDOWN_S)
    actual_port = listening.getsockname()[1]
    print(f"serves {', '.join(names)} at http://{host}:{actual_port}{path}", file=sys.stderr, flush=True)
    with suppress(KeyboardInterrupt):  # raised again after a graceful shutdown
        uvicorn.Server(server).run(sockets=[listening])
