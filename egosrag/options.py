"""Options that several commands take, with their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

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
Sources = Annotated[list[Path], typer.Argument(help="PDF, Markdown, HTML, text, JSONL of pages; or folders of them.")]
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
RoleFile = Annotated[
    Path | None, typer.Option("--role", help="Role card: ours, or a character card V2 or V3, as JSON or PNG.")
]
Name = Annotated[str | None, typer.Option(help="The role's name in the sources, where there is no card.")]
RoleSources = Annotated[list[Path] | None, typer.Option("--source", help="Text about the role; repeatable.")]
SessionName = Annotated[str | None, typer.Option(help="Conversation to begin or to resume.", show_default="new")]
Store = Annotated[str | None, typer.Option(help="SQLite file or postgresql:// URL that keeps sessions.")]
Quote = Annotated[
    bool | None, typer.Option("--quote/--no-quote", help="Speak between quotation marks.", show_default="quote")
]
