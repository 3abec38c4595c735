"""``egosrag personas``: list, add and remove the user's personas, which --persona takes by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from egosrag.cli.options import Config, examples, load_settings
from egosrag.console import print_json

if TYPE_CHECKING:
    from egosrag.roles.personas import SavedPersonas

app = typer.Typer(
    help="List, add and remove your personas, which egosrag chat --persona takes by name.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def saved_personas(config: Path | None) -> SavedPersonas:
    """The saved personas of the user whose settings these are."""
    from egosrag.roles.personas import FILE_NAME, SavedPersonas

    return SavedPersonas(load_settings(config).data_dir / FILE_NAME)


@app.command("list", epilog=examples("egosrag personas list --json"))
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print each persona as a line of JSON.")] = False,
    config: Config = None,
) -> None:
    """List the personas: name and description."""
    for persona in saved_personas(config).all():
        if as_json:
            print_json(persona.model_dump())
        else:
            print(f"{persona.name}\t{' '.join(persona.description.split())}")


@app.command(epilog=examples('egosrag personas add "Ann: a sailor from Hull"', "egosrag personas add personas.json"))
def add(
    persona: Annotated[
        str,
        typer.Argument(help='"Ann: a sailor from Hull", a file with that, or a backup of SillyTavern\'s personas.'),
    ],
    config: Config = None,
) -> None:
    """Save a persona, in place of one of the same name."""
    from egosrag.roles.personas import load_personas

    saved = saved_personas(config)
    for one in load_personas(persona):
        saved.add(one)
        print(one.name)


@app.command(epilog=examples("egosrag personas remove Ann"))
def remove(name: Annotated[str, typer.Argument(help="Its name.")], config: Config = None) -> None:
    """Remove a persona; conversations that use it keep it."""
    saved_personas(config).remove(name)
    print(name)
