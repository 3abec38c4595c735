"""``egosrag mcp``: manuals and roles as tools of other programs, by the Model Context Protocol."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

from egosrag.cli.options import Adapter, Config, Embedder, Model, Set, Store, Template, load_settings
from egosrag.cli.serve import check_name, named_index, run
from egosrag.console import Progress
from egosrag.errors import SettingsError
from egosrag.samples import PREFIX

if TYPE_CHECKING:
    from egosrag.mcp.served import Served
    from egosrag.settings import Settings

T = TypeVar("T")
EXAMPLES = (
    "egosrag mcp --doc manual.pdf --role edda.json",
    "egosrag mcp --index car=runs/manual --model qwen2.5-1.5b",
    "egosrag mcp --doc sample:manual.en --http --port 8080",
)
_LEAVE_S = 1.5  # seconds; hosts end a server that takes two
_SAMPLE_DOCUMENTS, _SAMPLE_ROLES = ("sample:manual.en", "sample:manual.zh"), ("edda", "gu", "juno", "luo")


def mcp(
    role: Annotated[
        list[Path] | None,
        typer.Option(help="Role card (or the name of a sample) to talk to, under the name of its file; repeatable."),
    ] = None,
    doc: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]PATH",
            help="Document or folder to answer from, or sample:manual.en, as a manual of its own; with the NAME of an "
            "index, it shows the pages of that one. Repeatable.",
        ),
    ] = None,
    index: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]DIR|URL", help="Index to answer from, as a manual; repeatable."),
    ] = None,
    http: Annotated[
        bool,
        typer.Option(
            "--http", help="Serve streamable HTTP on this machine alone, in place of standard input and output."
        ),
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port for --http; 0 takes a free one.")] = 8000,
    model: Model = None,
    adapter: Adapter = None,
    template: Template = None,
    embedder: Embedder = None,
    store: Store = None,
    pairs: Set = None,
    config: Config = None,
) -> None:
    """Serve manuals and roles as tools of other programs (MCP).

    Without --doc, --index and --role it serves the samples, to try it out.
    """
    try:
        import anyio

        from egosrag.mcp.server import http_app, serve_stdio
    except ImportError as error:
        raise SettingsError("this needs an additional package: pip install 'egosrag[mcp]'") from error

    settings = load_settings(
        config, pairs, model=model, adapter=adapter, template=template, embedder=embedder, store=store
    )
    if not (role or doc or index):
        print("no --doc, --index or --role: serves the samples", file=sys.stderr)
        role, doc = [Path(name) for name in _SAMPLE_ROLES], list(_SAMPLE_DOCUMENTS)
    served = served_tools(settings, role or (), doc or (), index or ())
    if http:
        run(http_app(served), [*served.manuals, *served.roles], "127.0.0.1", port, "/mcp")
    else:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a thread waits for standard input, and cannot be interrupted
        anyio.run(serve_stdio, served)
        leave()


def leave() -> NoReturn:
    """End the process. Calls have a moment to store what was said; what is still being loaded is not waited for."""
    end = time.monotonic() + _LEAVE_S
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, end - time.monotonic()))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def served_tools(settings: Settings, roles: Sequence[Path], documents: Sequence[str], indexes: Sequence[str]) -> Served:
    """What is served, by name. Nothing is loaded yet, but what is misspelt is an error now, not at the first call.

    Args:
        settings: the settings.
        roles: role cards, each under the name of its file.
        documents: ``[NAME=]PATH`` of each document or folder; those with the name of an index show its pages.
        indexes: ``[NAME=]PLACE`` of each index.

    Raises:
        SettingsError: two have the same name.
        RoleError, SourceError, StoreError: a card, a document or an index cannot be found or read.
    """
    from egosrag import assemble
    from egosrag.mcp.served import Manual, Once, Served, files_of_index
    from egosrag.rag.documents.load import find_files
    from egosrag.roles.files import load_role
    from egosrag.samples import role_path

    progress = Progress()
    chat = Once(lambda: assemble.chat_model(settings.model_copy(update={"prompt_cache_mb": 0})))
    files = {name: find_files([path]) for name, path in _by_name(map(named_document, documents), "documents").items()}
    places = _by_name(map(named_index, indexes), "indexes")
    manuals = {
        name: Manual(settings, chat, files=found, progress=progress)
        for name, found in files.items()
        if name not in places
    }
    for name, place in places.items():
        from egosrag.rag.index.manual_index import open_store  # as slow to import as all the rest together

        shown = files_of_index(open_store(place).read_manifest(), files.get(name, {}))
        manuals[name] = Manual(settings, chat, files=shown, index=place)
    cards = _by_name(((path.stem.removeprefix(PREFIX), path) for path in roles), "roles")
    for card in cards.values():
        load_role(card, notify=progress.note)
    return Served(settings, chat, manuals, {name: role_path(card) for name, card in cards.items()}, progress)


def named_document(argument: str) -> tuple[str, str]:
    """The name and the path of ``--doc [NAME=]PATH``; NAME is by default the file's without its suffix."""
    name, path = named_index(argument)
    if path != argument:
        return name, path
    if path.startswith(PREFIX):
        return path.removeprefix(PREFIX), path
    place = Path(path).resolve()
    return (place.name if place.is_dir() else place.stem), path


def _by_name(named: Iterable[tuple[str, T]], what: str) -> dict[str, T]:
    found: dict[str, T] = {}
    for name, value in named:
        check_name(name, found, what)
        found[name] = value
    return found
