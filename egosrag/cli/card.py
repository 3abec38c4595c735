"""``egosrag card``: convert a role file to another format, or import a folder of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

EXAMPLES = (
    "egosrag card edda.json --out edda.png",
    "egosrag card edda.png --out edda.v3.json --spec v3",
    "egosrag card SillyTavern/data/default-user/characters --out roles",
)


def card(
    source: Annotated[
        Path,
        typer.Argument(
            help="Role card: our JSON, or a character card (PNG, WebP, JPEG, AVIF, CHARX, BYAF, JSON, YAML); or a "
            "folder of them."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="File to write; *.png embeds the character card, as V2 and V3, in a picture; *.charx is a CHARX file. "
            "For a folder, a folder."
        ),
    ],
    spec: Annotated[
        Literal["egos", "v2", "v3"], typer.Option(help="Format of a JSON file: our own, or a character card.")
    ] = "egos",
    picture: Annotated[
        Path | None, typer.Option(help="Picture to embed the card in.", show_default="the source's or a plain one")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each file of a folder as a line of JSON.")] = False,
) -> None:
    """Convert a role card to or from other programs' formats.

    Of a folder every card is imported, with its picture, and a table says what was read and what was not.
    """
    import sys

    from egosrag.errors import RoleError
    from egosrag.models.tokens import approximate_tokens
    from egosrag.prompts import render
    from egosrag.roles.files import read_role_file, save_role
    from egosrag.roles.folder import fit_note, import_folder, table

    version: Literal[2, 3] | None = {"egos": None, "v2": 2, "v3": 3}[spec]
    if source.is_dir():
        from egosrag.console import print_json

        rows = import_folder(source, out, approximate_tokens, version)
        if as_json:
            for row in rows:
                print_json(row._asdict())
        else:
            print(table(rows))
        if not any(row.out for row in rows):
            raise RoleError(f"no card in {source} could be read: the table says why")
        return
    file = read_role_file(source)
    tokens = approximate_tokens(render.card(file.role, file.role.language or "en"))
    for note in (*file.notes, *fit_note(tokens)):
        print(f"{source}: {note}", file=sys.stderr)
    save_role(file.role, out, version=version, picture=picture or (source if file.picture else None))
    print(out)
