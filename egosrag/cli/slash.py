"""Commands typed in a conversation, which begin with a slash."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from egosrag.errors import EgosRagError, SessionError

if TYPE_CHECKING:
    from egosrag.schema import Reply
    from egosrag.sessions.conversation import Conversation

ShowReply = Callable[["Iterator[str | Reply]"], None]  # prints a reply as it is generated

HELP = """\
/turns             list the turns with their numbers
/regenerate [N]    generate the last reply, or turn N, again; the old reply is kept as a swipe
/swipe [M]         continue from swipe M of the last reply; without M, list its swipes
/edit N TEXT       replace the text of turn N
/delete N          delete turn N
/next [NAME]       in a scene of several roles: let the next role speak, or NAME
/export FILE       write the conversation to a .json, .jsonl (SillyTavern) or .md file
/help              show this help
//LINE             say a line that begins with a slash"""


def is_command(line: str) -> bool:
    """Whether a typed line is a command, and not a line to say."""
    return line.startswith("/") and not line.startswith("//")


def run(conversation: Conversation, line: str, show: ShowReply) -> None:
    """Execute a command; an error is printed to standard error, and the conversation continues.

    Args:
        conversation: the conversation.
        line: the command, with its slash.
        show: prints a reply that the command generates.
    """
    word, _, rest = line[1:].partition(" ")
    commands = {
        "help": lambda: print(HELP),
        "turns": lambda: _turns(conversation),
        "regenerate": lambda: _regenerate(conversation, rest, show),
        "swipe": lambda: _swipe(conversation, rest),
        "edit": lambda: _edit(conversation, rest),
        "delete": lambda: conversation.delete(_turn_id(conversation, rest)),
        "next": lambda: _next(conversation, rest, show),
        "export": lambda: _export(conversation, rest),
    }
    command = commands.get(word.strip().lower())
    try:
        if command is None:
            raise SessionError(f"there is no command /{word}: /help lists the commands")
        command()
    except EgosRagError as error:
        print(error, file=sys.stderr)


def _turn_id(conversation: Conversation, number: str) -> str:
    turns, number = conversation.turns(), number.strip()
    if not number:
        raise SessionError("the command needs the number of a turn: /turns lists them")
    if not number.isdecimal() or not 0 < int(number) <= len(turns):
        raise SessionError(f"there is no turn {number}: /turns lists their numbers")
    return turns[int(number) - 1].id


def _turns(conversation: Conversation) -> None:
    for number, turn in enumerate(conversation.turns(), 1):
        note = " [interrupted]" if turn.status == "interrupted" else ""
        print(f"{number}. {turn.speaker}: {turn.text}{note}")


def _regenerate(conversation: Conversation, rest: str, show: ShowReply) -> None:
    show(conversation.stream_again(_turn_id(conversation, rest) if rest.strip() else None))


def _swipe(conversation: Conversation, rest: str) -> None:
    if rest.strip():
        if not rest.strip().isdecimal():
            raise SessionError(f"there is no reply {rest.strip()}: /swipe lists their numbers")
        conversation.choose(int(rest) - 1)
        turn = conversation.turns()[-1]
        print(f"{turn.speaker}: {turn.text}")
        return
    for number, text in enumerate(conversation.swipes(), 1):
        print(f"{number}. {text}")


def _edit(conversation: Conversation, rest: str) -> None:
    number, _, text = rest.strip().partition(" ")
    conversation.edit(_turn_id(conversation, number), text)


def _next(conversation: Conversation, rest: str, show: ShowReply) -> None:
    stream_on = getattr(conversation, "stream_on", None)
    if stream_on is None:
        raise SessionError("there is one role in this conversation: give --role twice or more for a scene of several")
    show(stream_on(rest.strip() or None))


def _export(conversation: Conversation, rest: str) -> None:
    if not rest.strip():
        raise SessionError("the file has no name: write /export FILE")
    conversation.export(rest.strip())
    print(rest.strip())
