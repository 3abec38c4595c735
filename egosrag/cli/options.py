"""What commands share: options with their help, loading the settings, and the examples below a help text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from egosrag.parallel import Backend

if TYPE_CHECKING:
    from egosrag.settings import Settings


@dataclass
class DebugFlag:
    """Whether ``--debug`` is set, before or after the command's name: the ``obj`` of the typer context."""

    enabled: bool = False


def _set_debug(context: typer.Context, enabled: bool) -> None:
    if enabled:
        context.ensure_object(DebugFlag).enabled = True


Debug = Annotated[
    bool, typer.Option("--debug", callback=_set_debug, expose_value=False, help="Show the traceback of an error.")
]
Config = Annotated[Path | None, typer.Option(help="Settings file.", show_default="egosrag.toml if there is one")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any other setting, such as temperature=0.7; repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print each answer as a line of JSON.")]

# --- models ----------------------------------------------------------------------------------------------------------

Model = Annotated[
    str | None,
    typer.Option(
        help="pocket (embedded), a name of egosrag models, a GGUF file, a hub id, a folder, deepseek:NAME, openai:NAME "
        "or scripted:FILE.",
        show_default="the one of egosrag models default, else pocket",
    ),
]
Adapter = Annotated[str | None, typer.Option(help="Folder of a PEFT adapter (LoRA) for a local model.")]
Template = Annotated[
    bool | None,
    typer.Option(
        "--template/--no-template",
        help="Prompt a local model in its chat template; without, as a base model.",
        show_default="template",
    ),
]
ExtractModel = Annotated[str | None, typer.Option(help="Model for Extract.", show_default="the chat model")]
Embedder = Annotated[
    str | None,
    typer.Option(help="Embedding model (hub id or folder) to combine with BM25.", show_default="BM25 alone"),
]
Engine = Annotated[
    Backend, typer.Option(help="Run in this process, or on the Ray cluster of RAY_ADDRESS or of this machine.")
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="System of the report: EGOS-Small, EGOS-wo-quote, EGOS-wo-Extract or EGOS-Large; other options override "
        "it."
    ),
]

# --- roles and conversations -----------------------------------------------------------------------------------------

Sources = Annotated[
    list[Path],
    typer.Argument(help="PDF, DOCX, Markdown, HTML, text, CSV or JSONL files, folders of them, or sample:NAME."),
]
RoleFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--role",
        help="Role card: our JSON, a character card (PNG, WebP, JPEG, AVIF, CHARX, BYAF, JSON, YAML), or a sample: "
        "edda, gu, juno, luo; repeat for several roles.",
    ),
]
RoleName = Annotated[
    str | None, typer.Option("--name", help="Name of the role in the sources, if there is no role card.")
]
RoleSources = Annotated[list[Path] | None, typer.Option("--source", help="Text about the role; repeatable.")]
Strategy = Annotated[
    Literal["static", "dynamic", "none"] | None,
    typer.Option(
        help="static: sources become a role card; dynamic: they are searched for each line; none: they enter the "
        "prompt as they are.",
        show_default="static",
    ),
]
Persona = Annotated[
    str | None,
    typer.Option(
        help='Who you are: "Ann", "Ann: a sailor from Hull", a file with that, or a name of egosrag personas.',
        show_default="as the session remembers, else Me",
    ),
]
Lore = Annotated[
    list[Path] | None,
    typer.Option(
        "--lore", help="Lorebook (JSON, or a character card with one), in addition to the card's own; repeatable."
    ),
]
Greeting = Annotated[int, typer.Option(help="Greeting of the card: 0 the first, from 1 on the alternate ones.")]
Remember = Annotated[
    list[Path] | None,
    typer.Option(help="File of memories, of egosrag sessions memory --out or one a line, to pin; repeatable."),
]
Until = Annotated[
    str | None,
    typer.Option(
        help='Point of its sources as of which the role speaks: "chapter 5", a title, a date or a file; what comes '
        'later is unknown to it. "" for the end.',
        show_default="as the session remembers, else the end",
    ),
]
SessionName = Annotated[str | None, typer.Option(help="Conversation to start or to continue.", show_default="new")]
Store = Annotated[str | None, typer.Option(help="Session store: an SQLite file or a postgresql:// URL.")]
History = Annotated[
    Literal["single", "multiple"] | None,
    typer.Option(help="Past turns as one chat message, or one message each.", show_default="as the model was trained"),
]
Quote = Annotated[
    bool | None, typer.Option("--quote/--no-quote", help="Generate speech in quotation marks.", show_default="quote")
]
Memory = Annotated[
    Literal["static", "dynamic", "both", "none"] | None,
    typer.Option(
        help="static: scenes summarize old turns; dynamic: old turns are retrieved for each line.",
        show_default="both",
    ),
]


def examples(*lines: str) -> str:
    """The examples below the help of a command."""
    return "Examples:\n\n" + "\n\n".join(lines)


def load_settings(config: Path | None, pairs: list[str] | None = None, **flags: Any) -> Settings:
    """The settings of a command: its flags, ``--set``, the environment, the settings file.

    Args:
        config: the settings file of ``--config``.
        pairs: ``KEY=VALUE`` of each ``--set``.
        **flags: settings by name; None where the flag was not given.

    Raises:
        SettingsError: a setting is unknown or its value invalid.
    """
    from egosrag.settings import Settings

    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r} has no =: write KEY=VALUE", param_hint="--set")
        flags[key.strip()] = value.strip()
    return Settings.load(config, **flags)
