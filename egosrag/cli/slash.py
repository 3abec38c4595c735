"""Commands typed in a conversation, which begin with a slash."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from egosrag.errors import EgosRagError, SessionError

if TYPE_CHECKING:
    from egosrag.schema import Reply
    from egosrag.sessions.conversation import Conversation
    from egosrag.sessions.memories import Memory

ShowReply = Callable[["Iterator[str | Reply]"], None]  # prints a reply as it is generated

HELP = """\
/turns             list the turns with their numbers
/regenerate [N]    generate the last reply, or turn N, again; the old reply is kept as a swipe
/swipe [M]         continue from swipe M of the last reply; without M, list its swipes
/continue          continue the last reply
/retry N           answer your line N again, or generate reply N again; what followed is kept as a swipe
/impersonate       draft your own next line, to edit and send
/edit N TEXT       replace the text of turn N
/delete N          delete turn N
/greeting [M]      before the first line: begin with greeting M; without M, list the greetings
/persona [TEXT]    who you are from now on: "Ann: a sailor from Hull"; without TEXT, show it
/memory [N] [TEXT] list what is remembered; replace line N by TEXT
/remember TEXT     keep a fact in every prompt; /remember N keeps line N of /memory
/forget N          forget line N of /memory
/until [POINT]     as of which point of its sources the role speaks, such as chapter 5; "-" for their end
/note [TEXT]       author's note, a hint that stays near the end of the prompt; "-" removes it; without TEXT, show it
/lore              list the lorebook entries that the last line activated
/search WORDS      list the turns that contain all of the words
/branch [N] [NAME] store the conversation up to turn N as another session
/rename NAME       give this session another name
/pin, /unpin       put this session in front of the others in egosrag sessions list, or no longer
/next [NAME]       in a scene of several roles: let the next role speak, or NAME
/export FILE       write the conversation to a .json, .jsonl (SillyTavern) or .md file
/help              show this help
//LINE             say a line that begins with a slash"""


def is_command(line: str) -> bool:
    """Whether a typed line is a command, and not a line to say."""
    return line.startswith("/") and not line.startswith("//")


def run(conversation: Conversation, line: str, show: ShowReply) -> str:
    """Execute a command; an error is printed to standard error, and the conversation continues.

    Args:
        conversation: the conversation.
        line: the command, with its slash.
        show: prints a reply that the command generates.

    Returns:
        A draft of the user's next line; empty where the command makes none.
    """
    word, _, rest = line[1:].partition(" ")
    commands: dict[str, Callable[[], str | None]] = {
        "help": lambda: print(HELP),
        "turns": lambda: _turns(conversation),
        "regenerate": lambda: _regenerate(conversation, rest, show),
        "swipe": lambda: _swipe(conversation, rest),
        "continue": lambda: show(conversation.stream_continue()),
        "retry": lambda: show(conversation.stream_retry(_turn_id(conversation, rest))),
        "impersonate": conversation.impersonate,
        "greeting": lambda: _greeting(conversation, rest),
        "persona": lambda: _persona(conversation, rest),
        "memory": lambda: _memory(conversation, rest),
        "remember": lambda: _remember(conversation, rest),
        "forget": lambda: conversation.forget(_memory_id(conversation, rest)),
        "until": lambda: _until(conversation, rest),
        "note": lambda: _note(conversation, rest),
        "lore": lambda: _lore(conversation),
        "search": lambda: _search(conversation, rest),
        "branch": lambda: _branch(conversation, rest),
        "rename": lambda: conversation.rename(rest.strip()),
        "pin": conversation.pin,
        "unpin": lambda: conversation.pin(False),
        "edit": lambda: _edit(conversation, rest),
        "delete": lambda: conversation.delete(_turn_id(conversation, rest)),
        "next": lambda: _next(conversation, rest, show),
        "export": lambda: _export(conversation, rest),
    }
    command = commands.get(word.strip().lower())
    try:
        if command is None:
            raise SessionError(f"there is no command /{word}: /help lists the commands")
        return command() or ""
    except EgosRagError as error:
        print(error, file=sys.stderr)
        return ""


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


def _greeting(conversation: Conversation, rest: str) -> None:
    if not rest.strip():
        for number, text in enumerate(conversation.greetings, 1):
            print(f"{number}. {text}")
        return
    turns = conversation.turns()
    if not rest.strip().isdecimal():
        raise SessionError(f"there is no greeting {rest.strip()}: /greeting lists their numbers")
    conversation.choose(int(rest) - 1, turns[0].id if turns else None)
    turn = conversation.turns()[0]
    print(f"{turn.speaker}: {turn.text}")


def _memory(conversation: Conversation, rest: str) -> None:
    number, _, text = rest.strip().partition(" ")
    if text.strip():
        conversation.edit_memory(_memory_id(conversation, number), text)
        return
    print_memories(conversation.memories())


def print_memories(memories: Sequence[Memory]) -> None:
    """Print what a conversation remembers, a numbered line each."""
    for number, memory in enumerate(memories, 1):
        print(f"{number}. {memory.text}" + (" [pinned]" if memory.pinned else f" [{len(memory.turns)} turns]"))


def _memory_id(conversation: Conversation, number: str) -> str:
    memories, number = conversation.memories(), number.strip()
    if not number.isdecimal() or not 0 < int(number) <= len(memories):
        raise SessionError(f"there is no line {number or 'without a number'}: /memory lists them")
    return memories[int(number) - 1].id


def _remember(conversation: Conversation, rest: str) -> None:
    if rest.strip().isdecimal():
        conversation.pin_memory(_memory_id(conversation, rest))
    else:
        conversation.remember(rest)


def _until(conversation: Conversation, rest: str) -> None:
    if rest.strip():
        conversation.set_until("" if rest.strip() == "-" else rest)
    print(conversation.role.as_of or "the end")


def _persona(conversation: Conversation, rest: str) -> None:
    from egosrag.roles.personas import load_persona

    if rest.strip():
        conversation.set_persona(load_persona(rest.strip()))
    persona = conversation.persona
    if persona is None:
        print(conversation.view.user_name)
    else:
        print(persona.name + (f": {persona.description}" if persona.description else ""))


def _note(conversation: Conversation, rest: str) -> None:
    if rest.strip():
        conversation.set_note("" if rest.strip() == "-" else rest)
    if conversation.note:
        print(conversation.note)


def _lore(conversation: Conversation) -> None:
    if conversation.composed is None:
        raise SessionError("nothing was answered since this conversation was opened: say a line first")
    for entry in conversation.composed.view.lore:
        print(f"{entry.label}: {' '.join(entry.content.split())}")


def _search(conversation: Conversation, rest: str) -> None:
    for found in conversation.search(rest):
        print(f"{found.number}. {found.turn.speaker}: {found.excerpt}")


def _branch(conversation: Conversation, rest: str) -> None:
    number, _, name = rest.strip().partition(" ")
    if number and not number.isdecimal():
        number, name = "", rest.strip()
    turn_id = _turn_id(conversation, number) if number else None
    session = conversation.branch(turn_id, name.strip() or None)
    print(f"{session}; to continue it: egosrag chat ... --session {shlex.quote(session)}")


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
