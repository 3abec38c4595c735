"""``egosrag mcp``: manuals and roles as tools of other programs, by the Model Context Protocol."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from egosrag.cli.options import Adapter, Config, Embedder, Model, Set, Store, Template, load_settings
from egosrag.cli.serve import check_name, named_index, run
from egosrag.console import Progress
from egosrag.errors import SettingsError

if TYPE_CHECKING:
    from egosrag.mcp.served import Manual, Served
    from egosrag.settings import Settings

EXAMPLES = (
    "egosrag mcp --doc manual.pdf --role edda.json",
    "egosrag mcp --index car=runs/manual --model qwen2.5-1.5b",
    "egosrag mcp --doc sample:manual.en --http --port 8080",
)
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
            help="Document or folder to answer from, or sample:manual.en, as a manual of its own; repeatable.",
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
        anyio.run(serve_stdio, served)


def served_tools(settings: Settings, roles: Sequence[Path], documents: Sequence[str], indexes: Sequence[str]) -> Served:
    """What is served, by name. Nothing is loaded yet, but what is misspelt is an error now, not at the first call.

    Args:
        settings: the settings.
        roles: role cards, each under the name of its file.
        documents: ``[NAME=]PATH`` of each document or folder.
        indexes: ``[NAME=]PLACE`` of each index.

    Raises:
        SettingsError: two manuals or two roles have the same name.
        RoleError, SourceError, StoreError: a card, a document or an index cannot be found or read.
    """
    from egosrag import assemble
    from egosrag.mcp.served import Manual, Once, Served
    from egosrag.rag.documents.load import find_files
    from egosrag.rag.index.manual_index import open_store
    from egosrag.roles.files import load_role
    from egosrag.samples import PREFIX, document_path, role_path

    progress = Progress()
    chat = Once(lambda: assemble.chat_model(settings))
    manuals: dict[str, Manual] = {}
    cards: dict[str, Path] = {}
    for argument in documents:
        name, path = named_index(argument)
        if name == path.rstrip("/").rsplit("/", 1)[-1]:  # not named: without prefix and suffix
            name = name.removeprefix(PREFIX) if name.startswith(PREFIX) else document_path(path).stem
        check_name(name, manuals, "manuals")
        manuals[name] = Manual(settings, chat, files=find_files([path]), progress=progress)
    for argument in indexes:
        name, place = named_index(argument)
        open_store(place).read_manifest()
        check_name(name, manuals, "manuals")
        manuals[name] = Manual(settings, chat, index=place, progress=progress)
    for card in roles:
        load_role(card, notify=progress.note)
        check_name(card.stem, cards, "roles")
        cards[card.stem] = role_path(card)
    return Served(settings, chat, manuals, cards, progress)
