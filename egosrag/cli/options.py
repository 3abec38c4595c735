"""What several commands share: options with their help, the settings that they make, examples below a help text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from egosrag.parallel import Backend

if TYPE_CHECKING:
    from egosrag.settings import Settings

Model = Annotated[
    str | None,
    typer.Option(
        help="pocket, a hub id, a folder, deepseek:NAME, openai:NAME or scripted:FILE.", show_default="pocket"
    ),
]
Adapter = Annotated[str | None, typer.Option(help="Folder of a PEFT adapter, put on a local model.")]
Preset = Annotated[
    str | None, typer.Option(help="EGOS-Small, EGOS-wo-quote, EGOS-wo-Extract or EGOS-Large; other options beat it.")
]
ExtractModel = Annotated[str | None, typer.Option(help="The model of Extract.", show_default="the one that speaks")]
Embedder = Annotated[
    str | None,
    typer.Option(help="Hub id or folder of an embedding model, beside BM25.", show_default="BM25 alone"),
]
Where = Annotated[
    Backend,
    typer.Option(help="Work in this process, or on the Ray cluster of RAY_ADDRESS or of this machine."),
]
Sources = Annotated[
    list[Path], typer.Argument(help="PDF, Markdown, HTML, text, CSV, JSONL of pages; or folders of them.")
]
Json = Annotated[bool, typer.Option("--json", help="A line of JSON for each answer.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any other setting, such as temperature=0.7; repeatable."),
]
Config = Annotated[Path | None, typer.Option(help="Settings file.", show_default="egosrag.toml where there is one")]
History = Annotated[
    Literal["single", "multiple"] | None,
    typer.Option(help="Past turns in one message, or one message each.", show_default="as the model was trained"),
]
Memory = Annotated[
    Literal["static", "dynamic", "both", "none"] | None,
    typer.Option(help="static: scenes stand for old turns; dynamic: a line finds those it needs.", show_default="both"),
]
Strategy = Annotated[
    Literal["static", "dynamic", "none"] | None,
    typer.Option(help="Sources become a card, are searched for each line, or are read raw.", show_default="static"),
]
RoleFiles = Annotated[
    list[Path] | None,
    typer.Option("--role", help="Role card: ours, or a character card, as JSON or PNG; repeat it for several roles."),
]
Name = Annotated[str | None, typer.Option(help="The role's name in the sources, where there is no card.")]
RoleSources = Annotated[list[Path] | None, typer.Option("--source", help="Text about the role; repeatable.")]
Persona = Annotated[
    str | None,
    typer.Option(help='Who you are: "Ann", "Ann: a sailor from Hull", or a file of that.', show_default="Me"),
]
Lore = Annotated[
    list[Path] | None, typer.Option("--lore", help="Lorebook, as JSON, beside the card's own; repeatable.")
]
Greeting = Annotated[int, typer.Option(help="Which greeting of the card: 0 the first, 1 and up the alternate ones.")]
SessionName = Annotated[str | None, typer.Option(help="Conversation to begin or to resume.", show_default="new")]
Store = Annotated[str | None, typer.Option(help="SQLite file or postgresql:// URL that keeps sessions.")]
Quote = Annotated[
    bool | None, typer.Option("--quote/--no-quote", help="Speak between quotation marks.", show_default="quote")
]


def examples(*lines: str) -> str:
    """What stands below a command's help."""
    return "Examples:\n\n" + "\n\n".join(lines)


def chosen(config: Path | None, pairs: list[str] | None, **flags: Any) -> Settings:
    """The settings: flags, those of ``--set``, environment, file.

    Raises:
        SettingsError: one is unknown or does not fit.
    """
    from egosrag.settings import Settings

    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r} has no =: write KEY=VALUE", param_hint="--set")
        flags[key.strip()] = value.strip()
    return Settings.load(config, **flags)
