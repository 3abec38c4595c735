"""``egosrag card``: role files from one format into another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def card(
    source: Annotated[Path, typer.Argument(help="Role card: ours, or a character card V1, V2 or V3, JSON or PNG.")],
    out: Annotated[Path, typer.Option(help="File to write; *.png holds a character card V2 and V3 in a picture.")],
    spec: Annotated[Literal["egos", "v2", "v3"], typer.Option(help="What a JSON file is: ours, or a card.")] = "egos",
    picture: Annotated[
        Path | None, typer.Option(help="PNG whose picture is shown.", show_default="the source's or a plain one")
    ] = None,
) -> None:
    """Convert a role card, for other programs or from them."""
    from egosrag.roles.files import load_role, save_role

    shown = picture or (source if source.suffix.lower() == ".png" else None)
    role = load_role(source)
    save_role(role, out, version={"egos": None, "v2": 2, "v3": 3}[spec], picture=shown)
    print(out)
