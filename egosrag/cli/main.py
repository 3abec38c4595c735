"""The command line: what was asked for goes to ``assemble``, what comes back to standard output.

Answers go to standard output and everything else to standard error. Exit 0: done; 1: it could not be done, and
one line says why (the traceback only with --debug); 2: wrong usage.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from egosrag.cli import card as convert
from egosrag.cli import serve as serve_command
from egosrag.cli import sessions
from egosrag.cli.options import (
    Adapter,
    Config,
    Embedder,
    ExtractModel,
    Greeting,
    History,
    Json,
    Lore,
    Memory,
    Model,
    Name,
    Persona,
    Preset,
    Quote,
    RoleFiles,
    RoleSources,
    SessionName,
    Set,
    Sources,
    Store,
    Strategy,
    Where,
    chosen,
    examples,
)
from egosrag.console import Progress, lines_of_stdin
from egosrag.errors import EgosRagError
from egosrag.postgres import shown

app = typer.Typer(
    help="Roles that speak for themselves, and manuals that answer with their page, on small local models.",
    epilog="Start with: egosrag demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: it opens three times as fast
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(sessions.app, name="sessions")
app.command(
    epilog=examples(
        "egosrag card edda.json --out edda.png",
        "egosrag card edda.png --out edda.v3.json --spec v3",
    )
)(convert.card)
_show_traceback = False


def _debug(wanted: bool) -> None:
    global _show_traceback
    _show_traceback = _show_traceback or wanted


Debug = Annotated[bool, typer.Option("--debug", callback=_debug, expose_value=False, help="Show an error's traceback.")]


@app.callback()
def _root(debug: Debug = False) -> None:
    pass


@app.command(epilog=examples("egosrag demo", "egosrag demo --language zh"))
def demo(
    language: Annotated[Literal["en", "zh"], typer.Option(help="Language of the samples.")] = "en",
    debug: Debug = False,
) -> None:
    """Show both jobs on the embedded model, offline, in under a minute."""
    from egosrag.cli.demo import run

    run(language)


@app.command(epilog=examples("egosrag index manual.pdf --out runs/manual", "egosrag index docs/ --out runs/docs"))
def index(
    paths: Sources,
    out: Annotated[str, typer.Option(help="Folder to write the index into, or postgresql:// URL.")],
    embedder: Embedder = None,
    engine: Where = "here",
    pairs: Set = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Index documents once, to answer from them many times."""
    from egosrag import assemble

    settings = chosen(config, pairs, embedder=embedder)
    with Progress() as progress:
        assemble.build_index(settings, paths, out, progress, engine)
    print(shown(out))


@app.command(
    epilog=examples(
        'egosrag ask "Which engine oil does it need?" --doc manual.pdf',
        'egosrag ask "如何打开前机舱盖？" --doc manual.pdf --json',
        "egosrag ask - --index runs/manual --json < questions.txt",
    )
)
def ask(
    question: Annotated[str, typer.Argument(help="The question; - for one on each line of standard input.")],
    more: Annotated[list[Path] | None, typer.Argument(metavar="PATH", help="Further documents.")] = None,
    doc: Annotated[list[Path] | None, typer.Option(help="Document or folder to answer from; repeatable.")] = None,
    index: Annotated[str | None, typer.Option(help="Index to answer from: a folder or postgresql:// URL.")] = None,
    model: Model = None,
    adapter: Adapter = None,
    top_k: Annotated[int | None, typer.Option(help="Passages that the model reads.", show_default="5")] = None,
    embedder: Embedder = None,
    as_json: Json = False,
    pairs: Set = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Answer from a manual with page and quote, or say that it does not tell."""
    from egosrag import assemble
    from egosrag.cli.chat import answer

    documents = [*(doc or []), *(more or [])]
    if bool(documents) == bool(index):
        raise typer.BadParameter("give the manual with --doc PATH or with --index DIR, one of the two")
    settings = chosen(config, pairs, model=model, adapter=adapter, top_k=top_k, embedder=embedder)
    with Progress() as progress:
        engine = assemble.manual(settings, documents, index, progress)
    for one in lines_of_stdin() if question == "-" else [question]:
        answer(engine, one, as_json)


@app.command(
    epilog=examples(
        "egosrag extract novel.txt --name Gatsby --out gatsby.json",
        "egosrag extract wiki.html story.txt --name Edda --out edda.json",
    )
)
def extract(
    paths: Sources,
    name: Annotated[str, typer.Option(help="Whose card, by the name that the texts use.")],
    out: Annotated[Path, typer.Option(help="The role card to write, as JSON.")],
    strategy: Annotated[
        Literal["static", "dynamic"] | None,
        typer.Option(help="static: summarise the texts piece by piece; dynamic: index them.", show_default="static"),
    ] = None,
    model: Model = None,
    adapter: Adapter = None,
    extract_model: ExtractModel = None,
    preset: Preset = None,
    pairs: Set = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Extract a role card from texts."""
    from egosrag import assemble

    flags = {"model": model, "adapter": adapter, "extract_model": extract_model, "strategy": strategy}
    settings = chosen(config, pairs, preset=preset, **flags)
    with Progress() as progress:
        assemble.extract_role(settings, paths, name, out, progress)
    print(out)


@app.command(
    epilog=examples(
        "egosrag chat --role edda.json",
        "egosrag chat --role edda.json --session monday --set temperature=0.7",
        "egosrag chat --source novel.txt --name Gatsby --strategy dynamic",
        'echo "Who are you?" | egosrag chat --role edda.json --json',
    )
)
def chat(
    role: RoleFiles = None,
    name: Name = None,
    source: RoleSources = None,
    strategy: Strategy = None,
    persona: Persona = None,
    lore: Lore = None,
    greeting: Greeting = 0,
    session: SessionName = None,
    store: Store = None,
    model: Model = None,
    adapter: Adapter = None,
    extract_model: ExtractModel = None,
    preset: Preset = None,
    history: History = None,
    quote: Quote = None,
    memory: Memory = None,
    as_json: Json = False,
    pairs: Set = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Talk with a role; without a terminal, each line of standard input is a turn."""
    from egosrag import assemble
    from egosrag.cli.chat import talk

    if bool(role) == (name is not None) or (name is not None and not source):
        raise typer.BadParameter("give the role with --role FILE, or with --name NAME and --source PATH")
    flags = {"model": model, "adapter": adapter, "store": store, "history": history, "quote": quote, "memory": memory}
    settings = chosen(config, pairs, preset=preset, strategy=strategy, extract_model=extract_model, **flags)
    first, others = (role[0], role[1:]) if role else (None, [])
    setup = assemble.ConversationSetup(
        sources=source or (), name=name, others=others, persona=persona, lore=lore or (), greeting=greeting
    )
    with assemble.conversation(settings, first, session, setup=setup, progress=Progress()) as conversation:
        talk(conversation, as_json=as_json)


@app.command(epilog=examples("egosrag doctor", "egosrag doctor --json"))
def doctor(as_json: Json = False, config: Config = None, debug: Debug = False) -> None:
    """Say what is installed, found and set, and the command that mends what is missing."""
    from egosrag.cli.doctor import examine

    raise typer.Exit(0 if examine(chosen(config, None), as_json) else 1)


app.command(epilog=examples(*serve_command.EXAMPLES))(serve_command.serve)


def main() -> int:
    """Run the command line and give its exit code."""
    gc.set_threshold(100_000, 50)  # what is imported stays: to look through it for garbage took a fifth of the start
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # no bars into a log file
    try:
        app(prog_name="egosrag")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BrokenPipeError:
        # Whoever read the answers has gone. Python flushes at exit once more: give it somewhere to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if _show_traceback:
            raise
        reason = str(error)
        if isinstance(error, OSError):
            reason = f"{error.filename or 'the system'}: {error.strerror or error}: check path, rights and disk"
        elif not isinstance(error, EgosRagError):
            reason = f"unexpected {type(error).__name__}: {error} (this is a bug; --debug shows where)"
        print(f"egosrag: {' '.join(reason.split())}", file=sys.stderr)
        return 1
    return 0
