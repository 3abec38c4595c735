"""``egosrag chat``: talk to a role; on a terminal replies stream, elsewhere each line of standard input is a turn."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import typer

from egosrag.cli import slash
from egosrag.cli.options import (
    Adapter,
    Config,
    Debug,
    ExtractModel,
    Greeting,
    History,
    Json,
    Lore,
    Memory,
    Model,
    Persona,
    Preset,
    Quote,
    Remember,
    RoleFiles,
    RoleName,
    RoleSources,
    SessionName,
    Set,
    Store,
    Strategy,
    Template,
    Until,
    load_settings,
)
from egosrag.console import Progress, print_json, stdin_lines

if TYPE_CHECKING:
    from egosrag.schema import Reply
    from egosrag.sessions.conversation import Conversation

EXAMPLES = (
    "egosrag chat --role edda",
    "egosrag chat --role edda.json --session monday --set temperature=0.7",
    'egosrag chat --role gatsby.json --until "chapter 5"',
    "egosrag chat --source novel.txt --name Gatsby --strategy dynamic",
    'echo "Who are you?" | egosrag chat --role edda.json --json',
)


def chat(
    role: RoleFiles = None,
    name: RoleName = None,
    source: RoleSources = None,
    strategy: Strategy = None,
    persona: Persona = None,
    lore: Lore = None,
    greeting: Greeting = 0,
    until: Until = None,
    remember: Remember = None,
    session: SessionName = None,
    store: Store = None,
    model: Model = None,
    adapter: Adapter = None,
    template: Template = None,
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
    """Talk to a role.

    If standard input is not a terminal, each of its lines is a turn.
    """
    from egosrag import assemble

    if bool(role) == (name is not None) or (name is not None and not source):
        raise typer.BadParameter("give the role as --role FILE, or as --name NAME with --source PATH")
    settings = load_settings(
        config,
        pairs,
        strategy=strategy,
        store=store,
        model=model,
        adapter=adapter,
        template=template,
        extract_model=extract_model,
        preset=preset,
        history=history,
        quote=quote,
        memory=memory,
    )
    first, others = (role[0], role[1:]) if role else (None, [])
    setup = assemble.ConversationSetup(
        sources=source or (),
        name=name,
        others=others,
        persona=persona,
        lore=lore or (),
        greeting=greeting,
        until=until,
        remember=remember or (),
    )
    with assemble.conversation(settings, first, session, setup=setup, progress=Progress()) as conversation:
        talk(conversation, as_json=as_json)


def talk(conversation: Conversation, *, as_json: bool) -> None:
    """Say each line to the role and print its replies, until the lines end.

    Ctrl-C stops a reply, or ends the conversation between replies; Ctrl-D ends it.

    Raises:
        SessionError: a line of standard input that is not a terminal is empty.
    """
    interactive = at_terminal()
    show = partial(_print_stream, conversation)
    past = conversation.turns()
    command = f"egosrag chat ... --session {conversation.session}"
    state = f"{len(past)} turns so far" if past else "new"
    print(f"session {conversation.session}: {state}; to continue it later: {command}", file=sys.stderr)
    if interactive:
        print("Ctrl-C stops a reply, Ctrl-D ends the conversation, /help lists the commands.", file=sys.stderr)
    if interactive and not past and (greeting := conversation.greeting):
        print(f"{greeting.speaker}: {greeting.text}")
    typed = _TypedLines()
    for line in typed if interactive else stdin_lines():
        if not line.strip() and interactive:
            continue
        if interactive and slash.is_command(line):
            typed.draft = slash.run(conversation, line, show)
            continue
        if interactive and line.startswith("//"):
            line = line[1:]
        if as_json:
            print_json(_json_fields(conversation.say(line)))
        else:
            show(conversation.stream(line))


def at_terminal() -> bool:
    """Whether standard input is a terminal."""
    return sys.stdin.isatty()


class _TypedLines:
    """The lines that are typed, until Ctrl-D or Ctrl-C; a draft is in the input line to be edited."""

    draft = ""

    def __iter__(self) -> Iterator[str]:
        import readline  # gives input() its line editing

        while True:
            draft, self.draft = self.draft, ""
            readline.set_startup_hook(partial(readline.insert_text, draft))
            try:
                yield input("> ")
            except (EOFError, KeyboardInterrupt):
                print()
                return
            finally:
                readline.set_startup_hook()


def _json_fields(reply: Reply) -> object:
    fields = {"speaker", "text", "stop_reason", "usage", "timing", "ledger"}
    if reply.evidence:  # the role's sources are searched
        fields.add("evidence")
    if reply.lore:
        fields.add("lore")
    return reply.model_dump(mode="json", include=fields)


def _print_stream(conversation: Conversation, pieces: Iterator[str | Reply]) -> None:
    """Print a reply as it is generated, after the name of its speaker."""
    printed = False
    try:
        for piece in pieces:
            if isinstance(piece, str):
                print(piece if printed else f"{conversation.role.name}: {piece}", end="", flush=True)
                printed = True
    except KeyboardInterrupt:
        print(" [stopped]" if printed else f"{conversation.role.name}: [stopped]", end="")
        printed = True
    finally:
        # The line of an error, or the next prompt, begins on a new line.
        if printed:
            print(flush=True)
    if not printed:
        print(f"{conversation.role.name}:", flush=True)
