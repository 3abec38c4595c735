"""What can be typed at a conversation beside lines: commands that begin with a slash."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from egosrag.errors import EgosRagError, SessionError

if TYPE_CHECKING:
    from egosrag.schema import Reply
    from egosrag.sessions.conversation import Conversation

Say = Callable[["Iterator[str | Reply]"], None]  # shows a reply as it comes

HELP = """\
/turns             show the turns with their numbers
/regenerate [N]    another reply in the place of the last one, or of turn N; the old one is kept
/swipe [M]         go on from reply M of those; without M, show them
/edit N TEXT       give turn N other words
/delete N          take turn N out
/next [NAME]       in a scene of several roles: let the next one speak, or NAME
/export FILE       write the conversation to a .json, .jsonl (SillyTavern) or .md file
/help              show this
//LINE             say a line that begins with a slash"""


def is_command(line: str) -> bool:
    """Whether a typed line is a command and no line to say."""
    return line.startswith("/") and not line.startswith("//")


def run(conversation: Conversation, line: str, say: Say) -> None:
    """Does what a command says; what is wrong with it is told, and the conversation goes on.

    Args:
        conversation: the conversation that it is about.
        line: the command, with its slash.
        say: is given the pieces of a reply, to show them.
    """
    word, _, rest = line[1:].partition(" ")
    commands = {
        "help": lambda: print(HELP),
        "turns": lambda: _turns(conversation),
        "regenerate": lambda: _regenerate(conversation, rest, say),
        "swipe": lambda: _swipe(conversation, rest),
        "edit": lambda: _edit(conversation, rest),
        "delete": lambda: conversation.delete(_id(conversation, rest)),
        "next": lambda: _next(conversation, rest, say),
        "export": lambda: _export(conversation, rest),
    }
    command = commands.get(word.strip().lower())
    try:
        if command is None:
            raise SessionError(f"there is no command /{word}: /help shows those there are")
        command()
    except EgosRagError as error:
        print(error, file=sys.stderr)


def _id(conversation: Conversation, number: str) -> str:
    turns = conversation.turns()
    if not number.strip().isdecimal() or not 0 < int(number) <= len(turns):
        raise SessionError(f"there is no turn {number.strip() or 'without a number'}: /turns shows their numbers")
    return turns[int(number) - 1].id


def _turns(conversation: Conversation) -> None:
    for number, turn in enumerate(conversation.turns(), 1):
        broken = " [interrupted]" if turn.status == "interrupted" else ""
        print(f"{number}. {turn.speaker}: {turn.text}{broken}")


def _regenerate(conversation: Conversation, rest: str, say: Say) -> None:
    say(conversation.stream_again(_id(conversation, rest) if rest.strip() else None))


def _swipe(conversation: Conversation, rest: str) -> None:
    if rest.strip():
        if not rest.strip().isdecimal():
            raise SessionError(f"there is no reply {rest.strip()}: /swipe shows their numbers")
        conversation.choose(int(rest) - 1)
        turn = conversation.turns()[-1]
        print(f"{turn.speaker}: {turn.text}")
        return
    for number, text in enumerate(conversation.swipes(), 1):
        print(f"{number}. {text}")


def _edit(conversation: Conversation, rest: str) -> None:
    number, _, text = rest.strip().partition(" ")
    conversation.edit(_id(conversation, number), text)


def _next(conversation: Conversation, rest: str, say: Say) -> None:
    stream_on = getattr(conversation, "stream_on", None)
    if stream_on is None:
        raise SessionError("there is one role in this conversation: give --role twice or more for a scene of several")
    say(stream_on(rest.strip() or None))


def _export(conversation: Conversation, rest: str) -> None:
    if not rest.strip():
        raise SessionError("the file has no name: write /export FILE")
    conversation.export(rest.strip())
    print(rest.strip())
