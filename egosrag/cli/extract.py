"""``egosrag extract``: make a role card from texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from egosrag.cli.options import (
    Adapter,
    Config,
    Debug,
    ExtractModel,
    Model,
    Preset,
    Set,
    Sources,
    Template,
    load_settings,
)

EXAMPLES = (
    "egosrag extract novel.txt --name Gatsby --out gatsby.json",
    "egosrag extract wiki.html story.txt --name Edda --out edda.json",
)


def extract(
    paths: Sources,
    name: Annotated[str, typer.Option(help="Name of the role, as the texts use it.")],
    out: Annotated[Path, typer.Option(help="Role card to write, as JSON.")],
    strategy: Annotated[
        Literal["static", "dynamic"] | None,
        typer.Option(
            help="static: summarize the texts into a card; dynamic: index them, to search them for each line.",
            show_default="static",
        ),
    ] = None,
    model: Model = None,
    adapter: Adapter = None,
    template: Template = None,
    extract_model: ExtractModel = None,
    preset: Preset = None,
    pairs: Set = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Extract a role card from texts."""
    from egosrag import assemble
    from egosrag.console import Progress

    settings = load_settings(
        config,
        pairs,
        preset=preset,
        model=model,
        adapter=adapter,
        template=template,
        extract_model=extract_model,
        strategy=strategy,
    )
    with Progress() as progress:
        assemble.extract_role(settings, paths, name, out, progress)
    print(out)
