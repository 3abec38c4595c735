"""``egosrag models``: real models by name: list, fetch and remove them, and choose the default."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from egosrag.cli.options import Config, examples, load_settings
from egosrag.console import Progress, print_json

if TYPE_CHECKING:
    from egosrag.settings import Settings

_LINE = "{:18}  {:7}  {:7}  {:13}  {:17}  {}"
_LIST_EXAMPLES = examples("egosrag models", "egosrag models list --json")

app = typer.Typer(rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the model, as list prints it.")]


@app.callback(invoke_without_command=True, epilog=_LIST_EXAMPLES)
def models(context: typer.Context) -> None:
    """List, fetch and remove real models, and choose the default.

    Without a command, list them.
    """
    if context.invoked_subcommand is None:
        list_()


@app.command("list", epilog=_LIST_EXAMPLES)
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print the models as JSON.")] = False,
    config: Config = None,
) -> None:
    """List the models: size, licence, languages, what they are good for, whether they are on this machine."""
    settings = load_settings(config)
    rows = _rows(settings)
    if as_json:
        print_json(rows)
        return
    print(_LINE.format("name", "size", "here", "licence", "languages", "good for"))
    for row in rows:
        here = "default" if row["default"] else "yes" if row["here"] else "-"
        size = f"{row['size'] / 1e9:.2f} GB"
        print(_LINE.format(row["name"], size, here, row["licence"], row["languages"], row["good_for"]))
    print(
        f"\nWithout --model, {settings.model} is used. egosrag models get NAME fetches a model, --model NAME uses it,"
        "\negosrag models default NAME uses it always."
    )


def _rows(settings: Settings) -> list[dict[str, Any]]:
    """What ``list`` prints of each model; the embedded one is the first."""
    from egosrag.models.catalogue import entries
    from egosrag.models.runtime.checkpoint import EMBEDDED_MODEL, embedded_folder

    rows: list[dict[str, Any]] = [
        {
            "name": EMBEDDED_MODEL,
            "licence": "Apache-2.0",
            "languages": "zh, en",
            "good_for": "the demo and tests; part of the package",
            "size": sum(file.stat().st_size for file in embedded_folder().glob("*.safetensors")),
            "path": str(embedded_folder()),
        }
    ]
    for entry in entries().values():
        path = str(entry.path(settings.models_dir)) if entry.is_here(settings.models_dir) else None
        stated = entry.model_dump(include={"name", "licence", "languages", "good_for", "repository", "hub"})
        rows.append({**stated, "size": entry.size, "memory": entry.memory, "path": path})
    return [{**row, "here": row["path"] is not None, "default": row["name"] == settings.model} for row in rows]


@app.command(epilog=examples("egosrag models get qwen2.5-1.5b"))
def get(name: Name, config: Config = None) -> None:
    """Fetch a model and check its SHA-256.

    After a break the same command goes on where it was. Ctrl-C stops it.
    """
    from egosrag.models import catalogue, download

    settings = load_settings(config)
    entry = catalogue.entry(name)
    try:
        with Progress() as progress:
            path = download.get(entry, settings.models_dir, mirror=settings.hub_mirror, progress=progress)
    except KeyboardInterrupt:
        print(f"\nstopped: egosrag models get {name} goes on from here", file=sys.stderr)
        raise
    print(path)
    print(f"use it with --model {name}, or always: egosrag models default {name}", file=sys.stderr)


@app.command(epilog=examples("egosrag models remove qwen2.5-1.5b"))
def remove(name: Name, config: Config = None) -> None:
    """Delete a model from this machine."""
    from egosrag.errors import ModelError
    from egosrag.models import catalogue, download
    from egosrag.settings import save_default_model, user_settings

    settings = load_settings(config)
    if not download.remove(catalogue.entry(name), settings.models_dir):
        raise ModelError(f"{name} is not on this machine: egosrag models lists those that are")
    print(name)
    if user_settings(settings.data_dir).get("model") == name:
        save_default_model(settings.data_dir, None)
        print("it was the default: now pocket is", file=sys.stderr)


@app.command(epilog=examples("egosrag models default qwen2.5-1.5b", "egosrag models default pocket"))
def default(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A fetched model, or pocket to reset it.")],
    config: Config = None,
) -> None:
    """Choose the model that is used wherever none is named."""
    from egosrag.models import catalogue
    from egosrag.models.runtime.checkpoint import EMBEDDED_MODEL
    from egosrag.settings import save_default_model

    settings = load_settings(config)
    if name != EMBEDDED_MODEL:
        catalogue.resolve(catalogue.entry(name).name, settings.models_dir)
    save_default_model(settings.data_dir, None if name == EMBEDDED_MODEL else name)
    print(name)
    if (chosen := load_settings(config).model) != name:
        print(f"but EGOSRAG_MODEL or egosrag.toml selects {chosen} here", file=sys.stderr)
