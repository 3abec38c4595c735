"""What is said at the console: on a terminal it streams, elsewhere each line of standard input is a turn."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from egosrag.cli import slash
from egosrag.console import lines_of_stdin, print_json
from egosrag.errors import SourceError

if TYPE_CHECKING:
    from egosrag.rag.answer.engine import ManualEngine
    from egosrag.schema import Reply
    from egosrag.sessions.conversation import Conversation


def talk(conversation: Conversation, *, as_json: bool) -> None:
    """Say each line to the role and print its replies, until the lines end.

    Ctrl-C stops a reply, or ends the conversation between replies; Ctrl-D ends it.

    Raises:
        SessionError: a line that came from no terminal is empty.
    """
    typed = at_terminal()
    show = partial(_show, conversation)
    past = conversation.turns()
    again = f"egosrag chat ... --session {conversation.session}"
    state = f"{len(past)} turns so far" if past else "new"
    print(f"session {conversation.session}: {state}; go on with it later: {again}", file=sys.stderr)
    if typed:
        print("Ctrl-C stops a reply, Ctrl-D ends the conversation, /help shows what else there is.", file=sys.stderr)
    if typed and not past and (greeting := conversation.greeting):
        print(f"{greeting.speaker}: {greeting.text}")
    for line in _typed() if typed else lines_of_stdin():
        if not line.strip() and typed:
            continue
        if typed and slash.is_command(line):
            slash.run(conversation, line, show)
            continue
        if typed and line.startswith("//"):
            line = line[1:]
        if as_json:
            print_json(_fields(conversation.say(line)))
        else:
            show(conversation.stream(line))


def at_terminal() -> bool:
    """Whether a person types the lines."""
    return sys.stdin.isatty()


def _typed() -> Iterator[str]:
    import readline  # noqa: F401  (gives input() its line editing)

    while True:
        try:
            yield input("> ")
        except (EOFError, KeyboardInterrupt):
            print()
            return


def _fields(reply: Reply) -> object:
    # Where sources are searched, what they told of the line is shown with its place.
    fields = {"speaker", "text", "stop_reason", "usage", "timing", "ledger", *(["evidence"] if reply.evidence else [])}
    return reply.model_dump(mode="json", include=fields)


def _show(conversation: Conversation, pieces: Iterator[str | Reply]) -> None:
    """A reply as it comes, behind the name of whoever speaks."""
    said = False
    try:
        for piece in pieces:
            if isinstance(piece, str):
                print(piece if said else f"{conversation.role.name}: {piece}", end="", flush=True)
                said = True
    except KeyboardInterrupt:
        print(" [stopped]" if said else f"{conversation.role.name}: [stopped]", end="")
        said = True
    finally:
        # An error's line, or the next prompt, starts on a line of its own.
        if said:
            print(flush=True)
    if not said:
        print(f"{conversation.role.name}:", flush=True)


def answer(engine: ManualEngine, question: str, as_json: bool) -> None:
    """Print the manual's answer to one question.

    Raises:
        SourceError: the question is empty.
    """
    if not question.strip():
        raise SourceError("the question is empty: write one, and leave no blank lines between questions")
    if as_json:
        fields = {"answer", "refused", "citations", "usage", "timing"}
        print_json(engine.ask(question).model_dump(mode="json", include=fields))
        return
    for piece in engine.stream(question):
        if isinstance(piece, str):
            print(piece, end="", flush=True)
        else:
            places = (f"{c.source}, p. {c.page}: {c.quote}" for c in piece.citations)
            print(*("\n" + textwrap.indent(place, "  ") for place in places), sep="")
