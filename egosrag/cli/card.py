"""``egosrag card``: convert a role file to another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

EXAMPLES = ("egosrag card edda.json --out edda.png", "egosrag card edda.png --out edda.v3.json --spec v3")


def card(
    source: Annotated[Path, typer.Argument(help="Role card: our JSON, or a character card V1, V2 or V3 (JSON, PNG).")],
    out: Annotated[
        Path, typer.Option(help="File to write; *.png embeds the character card, as V2 and V3, in a picture.")
    ],
    spec: Annotated[
        Literal["egos", "v2", "v3"], typer.Option(help="Format of a JSON file: our own, or a character card.")
    ] = "egos",
    picture: Annotated[
        Path | None, typer.Option(help="PNG to embed the card in.", show_default="the source's or a plain one")
    ] = None,
) -> None:
    """Convert a role card to or from other programs' formats."""
    from egosrag.roles.files import load_role, save_role

    image = picture or (source if source.suffix.lower() == ".png" else None)
    role = load_role(source)
    save_role(role, out, version={"egos": None, "v2": 2, "v3": 3}[spec], picture=image)
    print(out)
