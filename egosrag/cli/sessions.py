"""``egosrag sessions``: list, search, rename, pin, export, import and delete the stored conversations; their memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from egosrag.cli.options import Config, Store, examples, load_settings
from egosrag.console import print_json

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

app = typer.Typer(
    help="List, search, rename, pin, export, import and delete the stored conversations.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

SessionName = Annotated[str, typer.Argument(metavar="SESSION", help="Name of the session, as list prints it.")]


@contextmanager
def _open(store: str | None, config: Path | None) -> Iterator[BaseCheckpointSaver[Any]]:
    from egosrag.sessions.store import open_store

    with open_store(load_settings(config, store=store).session_store) as opened:
        yield opened


@app.command("list", epilog=examples("egosrag sessions list --json"))
def list_(
    store: Store = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each session as a line of JSON.")] = False,
    config: Config = None,
) -> None:
    """List the sessions: name, role, turns, time of the last turn."""
    from egosrag.sessions.catalog import list_sessions

    with _open(store, config) as opened:
        for info in list_sessions(opened):
            if as_json:
                print_json(info._asdict())
            else:
                *fields, pinned = info
                print("\t".join(map(str, fields)) + ("\tpinned" if pinned else ""))


@app.command(epilog=examples("egosrag sessions export monday monday.json", "egosrag sessions export monday a.md"))
def export(
    session: SessionName,
    file: Annotated[Path, typer.Argument(help=".json: complete; .jsonl: for SillyTavern; .md: to read.")],
    role: Annotated[
        list[Path] | None, typer.Option(help="Role card to include, if the session stores none; repeatable.")
    ] = None,
    store: Store = None,
    config: Config = None,
) -> None:
    """Export a conversation to a file."""
    from egosrag.roles.files import load_role
    from egosrag.sessions.catalog import archive_of
    from egosrag.sessions.transfer import write

    with _open(store, config) as opened:
        write(archive_of(opened, session, [load_role(path) for path in role or ()]), file)
    print(file)


@app.command(
    "import",
    epilog=examples(
        "egosrag sessions import monday.json",
        "egosrag sessions import chat.jsonl --session tuesday",
        "egosrag sessions import conversations.json --role edda.json --user Ann",
    ),
)
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="Conversation: our .json, SillyTavern's .jsonl, or JSON of text-generation-webui, KoboldAI, RisuAI, "
            "Agnai, Character.AI, ChatGPT or Claude."
        ),
    ],
    session: Annotated[
        str | None, typer.Option(help="Name of the new session.", show_default="the file's name without its suffix")
    ] = None,
    role: Annotated[
        Path | None, typer.Option(help="Role card of the character, with which the conversation goes on.")
    ] = None,
    user: Annotated[str, typer.Option(help="Name of the user, where the file does not state it.")] = "",
    store: Store = None,
    config: Config = None,
) -> None:
    """Import a conversation from a file as a new session; of several, each as one with a number."""
    import sys

    from egosrag.roles.files import load_role
    from egosrag.sessions.catalog import restore
    from egosrag.sessions.transfer import read_all

    def note(text: str) -> None:
        print(text, file=sys.stderr)

    archives = read_all(file, note, user=user, role=load_role(role, notify=note) if role else None)
    name = session if session is not None else file.stem
    with _open(store, config) as opened:
        for number, archive in enumerate(archives, 1):
            single = name if len(archives) == 1 else f"{name}-{number}"
            restore(opened, archive, single)
            print(single)


@app.command(epilog=examples("egosrag sessions rename monday 'evening at the lighthouse'"))
def rename(
    session: SessionName,
    name: Annotated[str, typer.Argument(help="Its new name.")],
    store: Store = None,
    config: Config = None,
) -> None:
    """Give a conversation another name."""
    from egosrag.sessions.manage import rename_session

    with _open(store, config) as opened:
        rename_session(opened, session, name)
    print(name)


@app.command(epilog=examples("egosrag sessions pin monday", "egosrag sessions pin monday --off"))
def pin(
    session: SessionName,
    off: Annotated[bool, typer.Option("--off", help="No longer pinned.")] = False,
    store: Store = None,
    config: Config = None,
) -> None:
    """Put a conversation in front of the others in the list."""
    from egosrag.sessions.manage import pin_session

    with _open(store, config) as opened:
        pin_session(opened, session, not off)
    print(session)


@app.command(epilog=examples("egosrag sessions search lighthouse keeper"))
def search(
    words: Annotated[list[str], typer.Argument(help="Words, all of which a turn must contain.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print each turn as a line of JSON.")] = False,
    store: Store = None,
    config: Config = None,
) -> None:
    """List the turns of all conversations that contain the words."""
    from egosrag.sessions.manage import search_sessions

    with _open(store, config) as opened:
        for session, number, turn, excerpt in search_sessions(opened, " ".join(words)):
            if as_json:
                print_json({"session": session, "turn": number, "speaker": turn.speaker, "text": turn.text})
            else:
                print(f"{session}\t{number}\t{turn.speaker}\t{excerpt}")


@app.command(epilog=examples("egosrag sessions memory monday", "egosrag sessions memory monday --out memory.jsonl"))
def memory(
    session: SessionName,
    out: Annotated[
        Path | None, typer.Option(help="JSONL file to write; egosrag chat --remember takes it into a conversation.")
    ] = None,
    store: Store = None,
    config: Config = None,
) -> None:
    """List what a conversation remembers: its pins, then the scenes that replace old turns."""
    from egosrag.cli.slash import print_memories
    from egosrag.sessions.catalog import memories_of
    from egosrag.sessions.memories import write_memories

    with _open(store, config) as opened:
        memories = memories_of(opened, session)
    if out is not None:
        write_memories(memories, out)
        print(out)
    else:
        print_memories(memories)


@app.command(epilog=examples("egosrag sessions delete monday"))
def delete(session: SessionName, store: Store = None, config: Config = None) -> None:
    """Delete a conversation with its whole history.

    This cannot be undone.
    """
    from egosrag.models.runtime.prompt_files import clear
    from egosrag.sessions.catalog import delete_session

    with _open(store, config) as opened:
        delete_session(opened, session)
    clear(load_settings(config).saved_prompts_dir)  # they have what was said
    print(session)
