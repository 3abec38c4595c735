"""``egosrag index``: build an index of documents."""

from __future__ import annotations

from typing import Annotated

import typer

from egosrag.cli.options import Config, Debug, Embedder, Engine, Set, Sources, load_settings

EXAMPLES = ("egosrag index manual.pdf --out runs/manual", "egosrag index docs/ --out runs/docs")


def index(
    paths: Sources,
    out: Annotated[str, typer.Option(help="Folder or postgresql:// URL to write the index to.")],
    embedder: Embedder = None,
    engine: Engine = "here",
    pairs: Set = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Index documents once, to ask about them many times."""
    from egosrag import assemble
    from egosrag.console import Progress
    from egosrag.postgres import redact_url

    settings = load_settings(config, pairs, embedder=embedder)
    with Progress() as progress:
        assemble.build_index(settings, paths, out, progress, engine)
    print(redact_url(out))
