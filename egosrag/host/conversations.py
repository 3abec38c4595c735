"""A visitor's conversations: begun, read and continued; those of others are not accessible.

The name of a session is ``<visitor key>/<role ids joined by +>/<random>``, so that it states its owner.
"""

from __future__ import annotations

import re
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypedDict, Unpack

from egosrag import assemble
from egosrag.egos.cache_use import CacheUse
from egosrag.egos.view import ConversationView, PromptPart, RecalledTurn
from egosrag.errors import RoleError, SessionError
from egosrag.host import cards
from egosrag.host.choices import choices_of, store_choices
from egosrag.host.lorebooks import list_lorebooks
from egosrag.host.personas import chosen_persona
from egosrag.host.visitors import Visitor
from egosrag.limits import SCENE_ROLES
from egosrag.roles.files import load_role
from egosrag.schema import Ledger, LoreEntry, Persona, Reply, Role, Scene, Turn
from egosrag.sessions import manage
from egosrag.sessions.catalog import archive_of, memories_of
from egosrag.sessions.greetings import greeting_of
from egosrag.sessions.memories import Memory
from egosrag.sessions.records import Record
from egosrag.sessions.store import open_store
from egosrag.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from egosrag.sessions.conversation import Conversation

__all__ = [
    "NOTE_CHARS",
    "SCENE_ROLES",
    "Change",
    "PromptView",
    "Transcript",
    "Turn",
    "change_memory",
    "choices_of",
    "choose",
    "is_compared",
    "is_open",
    "load_transcript",
    "new_session",
    "open_conversation",
    "points_of",
    "prompt_view",
    "role_ids",
    "title_of",
]

NOTE_CHARS = 4000  # of an author's note
_COMPARED = re.compile(r"compare-[0-9a-f]{8}")  # the end of the name of one side of a comparison
_open: Counter[str] = Counter()  # the sessions that are open in this process
_lock = threading.Lock()  # guards _open
_UNNAMED = re.compile(r"(compare-)?[0-9a-f]{8}")  # the end of the name of a session without a title


class Transcript(NamedTuple):
    """A conversation to read, without a model.

    Attributes:
        session: name of the session.
        names: the names of its roles.
        record: the stored turns, scenes and alternative replies.
        greetings: what a role may say first, while nothing is stored; the first one is shown.
        persona: who talks with the roles.
        note: the author's note.
        memories: what the conversation remembers, line by line.
        until: the point of the role's sources as of which it speaks; empty: their end.
    """

    session: str
    names: tuple[str, ...]
    record: Record
    greetings: tuple[Turn, ...] = ()
    persona: Persona | None = None
    note: str = ""
    memories: tuple[Memory, ...] = ()
    until: str = ""

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns to show: the stored ones, or a greeting alone."""
        return self.record.turns or self.greetings[:1]

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """The running summary; where scenes summarize the same turns, the latest one."""
        return ConversationView(role=Role(name="-"), turns=self.record.turns, scenes=self.record.scenes).visible_scenes

    @property
    def unanswered(self) -> Turn | None:
        """The visitor's last line, where no role replied to it."""
        last = self.turns[-1] if self.turns else None
        return last if last and last.speaker not in self.names else None

    @property
    def started(self) -> bool:
        """Whether any turn is stored; a greeting is stored with the first message."""
        return bool(self.record.turns)

    def before(self, turn_id: str | None) -> tuple[Turn, ...]:
        """The turns that a page shows before one; all of them for None."""
        return self.turns if turn_id is None else self.turns[: self.record.index(turn_id)]

    def siblings(self, turn_id: str) -> tuple[int, int]:
        """The index of a reply among its alternatives, from 0, and their number."""
        if not self.started:
            return 0, len(self.greetings)
        swipes = self.record.siblings(turn_id)
        return swipes.at, len(swipes.branches)


class PromptView(NamedTuple):
    """What the model saw for a reply.

    Attributes:
        parts: sections of the prompt, each with its name, text and tokens.
        recalled: old turns that were retrieved for the message.
        scenes: the running summary in the prompt.
        ledger: tokens of the reply.
        lore: the lorebook entries that the message activated.
        turn_id: id of the turn with the reply.
        first_token_s: seconds until its first text.
        tokens_per_second: of the reply after its first text; 0: not measured.
        use: how much of the prompt was cached, and why not more.
    """

    parts: tuple[PromptPart, ...]
    recalled: tuple[RecalledTurn, ...]
    scenes: tuple[Scene, ...]
    ledger: Ledger
    lore: tuple[LoreEntry, ...] = ()
    turn_id: str = ""
    first_token_s: float = 0.0
    tokens_per_second: float = 0.0
    use: CacheUse | None = None

    @property
    def cached_share(self) -> float:
        """The share of the prompt's tokens that was read from the cache, 0 to 1."""
        return min(1.0, self.ledger.cached / self.ledger.prompt) if self.ledger.prompt else 0.0


def new_session(visitor: Visitor, roles: Sequence[str], *, compared: bool = False) -> str:
    """A unique name for a new session.

    Args:
        visitor: the owner.
        roles: ids of the roles.
        compared: it is one side of a comparison, which is in no list of conversations.

    Raises:
        SessionError: there are no roles, or too many.
    """
    if not 1 <= len(roles) <= SCENE_ROLES:
        raise SessionError(f"a conversation needs one role to {SCENE_ROLES}: choose that many")
    return f"{visitor.key}/{'+'.join(roles)}/{'compare-' if compared else ''}{uuid.uuid4().hex[:8]}"


def role_ids(visitor: Visitor, session: str) -> tuple[str, ...]:
    """The ids of a session's roles, from its name. Every access to a session checks its owner here.

    Raises:
        SessionError: the session belongs to another visitor.
    """
    key, _, rest = session.partition("/")
    if key != visitor.key or not rest:
        raise SessionError("there is no such conversation: choose one from the list")
    return tuple(rest.rpartition("/")[0].split("+"))


def title_of(session: str) -> str:
    """The name that a visitor gave a session; empty where it has none."""
    name = session.rpartition("/")[2]
    return "" if _UNNAMED.fullmatch(name) else name


def is_compared(session: str) -> bool:
    """Whether a session is one side of a comparison."""
    return bool(_COMPARED.fullmatch(session.rpartition("/")[2]))


def load_transcript(settings: Settings, visitor: Visitor, session: str) -> Transcript:
    """Read a conversation.

    Raises:
        SessionError: the session belongs to another visitor, or the store cannot be read.
        RoleError: the session has no turns, and one of its roles no longer exists.
    """
    ids = role_ids(visitor, session)
    chosen = choices_of(visitor, session)
    with open_store(settings.session_store) as store:
        if store.get_tuple({"configurable": {"thread_id": session}}) is not None:
            archive = archive_of(store, session)
            persona = chosen_persona(visitor, chosen.persona, archive.persona)
            names = tuple(role.name for role in archive.roles)
            note = archive.note if chosen.note is None else chosen.note
            until = archive.until if chosen.until is None else chosen.until
            memories = tuple(memories_of(store, session))
            return Transcript(session, names, archive.record, (), persona, note, memories, until)
    roles = [load_role(cards.find(visitor, role).path) for role in ids]
    persona = chosen_persona(visitor, chosen.persona, None)
    names = tuple(role.name for role in roles)
    greeting = next(filter(None, (greeting_of(role, persona, session, names) for role in roles)), None)
    said = greeting.record.texts(greeting.turn.id) if greeting else []
    speaker = greeting.turn.speaker if greeting else ""
    # The ids stay the same when a page is run again, which identifies its widgets by them.
    greetings = (Turn(speaker=speaker, text=text, id=f"greeting {number}") for number, text in enumerate(said))
    return Transcript(session, names, Record(), tuple(greetings), persona, chosen.note or "", (), chosen.until or "")


def points_of(visitor: Visitor, session: str) -> list[str]:
    """The points of the sources of a session's only role, in order; none where it has no card with several.

    Raises:
        SessionError: the session belongs to another visitor.
    """
    ids = role_ids(visitor, session)
    try:
        timeline = load_role(cards.find(visitor, ids[0]).path).timeline if len(ids) == 1 else ()
    except RoleError:  # the role was deleted: the conversation can still be read
        return []
    return [point.label for point in timeline] if len(timeline) > 1 else []


def change_memory(
    settings: Settings, visitor: Visitor, session: str, memory_id: str, *, text: str = "", pin: bool = False
) -> None:
    """Correct, forget (without a text) or pin one line of what a conversation remembers.

    Raises:
        SessionError: the session belongs to another visitor, or there is no such line.
    """
    role_ids(visitor, session)
    with open_store(settings.session_store) as store:
        manage.change_memory(store, session, memory_id, text=text, pin=pin)


def is_open(session: str) -> bool:
    """Whether a page of this process has the conversation open: its reply is being written, or stopped and stored.

    After a reload in the middle of a reply this is the page before it. Ask before the transcript is read.
    """
    with _lock:
        return _open[session] > 0


@contextmanager
def _counted(session: str) -> Iterator[None]:
    with _lock:
        _open[session] += 1
    try:
        yield
    finally:
        with _lock:
            _open[session] -= 1
            if not _open[session]:
                del _open[session]


@contextmanager
def open_conversation(
    settings: Settings, visitor: Visitor, session: str, model: BaseChatModel
) -> Iterator[Conversation]:
    """Open the conversation of a session, with the persona and the lorebooks that were chosen for it.

    Where its only role was extracted from texts, the strategy of the settings decides how these are used: "none" puts
    the texts into the prompt in place of the card, "dynamic" searches them at each message, "static" ignores them.

    Raises:
        SessionError: the session belongs to another visitor.
        RoleError, ModelError, StoreError: see :func:`egosrag.assemble.conversation`.
    """
    chosen = choices_of(visitor, session)
    lore = [book.path for book in list_lorebooks(visitor) if book.id in chosen.lorebooks]
    first, *others = (cards.find(visitor, role) for role in role_ids(visitor, session))
    strategy = settings.strategy if first.sources and not others else None
    settings = settings.model_copy(update={"strategy": strategy})
    if strategy == "none":
        card, setup = None, assemble.ConversationSetup(sources=first.sources, name=first.name)
    elif strategy == "dynamic":
        card, setup = first.path, assemble.ConversationSetup(sources=first.sources)
    else:
        card, setup = first.path, assemble.ConversationSetup(others=[role.path for role in others])
    setup = replace(setup, lore=lore, until=chosen.until if points_of(visitor, session) else None)
    with _counted(session), assemble.conversation(settings, card, session, model, setup=setup) as conversation:
        persona = chosen_persona(visitor, chosen.persona, conversation.persona)
        if persona != conversation.persona:
            conversation.set_persona(persona)
        if chosen.note is not None and chosen.note != conversation.note:
            conversation.set_note(chosen.note)
        yield conversation


def prompt_view(conversation: Conversation, reply: Reply) -> PromptView | None:
    """The prompt of ``reply``, the last one of ``conversation``; None before its first since it was opened."""
    composed = conversation.composed
    if composed is None:
        return None
    view = composed.view
    turn_id = conversation.record.turns[-1].id
    first = reply.timing.first_token_s or 0.0
    writing = reply.timing.total_s - first
    speed = (reply.usage.completion_tokens - 1) / writing if writing > 0 and reply.usage.completion_tokens > 1 else 0.0
    return PromptView(
        composed.sections,
        view.recalled,
        view.visible_scenes,
        reply.ledger,
        view.lore,
        turn_id,
        first,
        speed,
        conversation.last_use,
    )


class Change(TypedDict, total=False):
    """Choices to change, see :class:`egosrag.host.choices.Choices`."""

    persona: str
    lorebooks: Sequence[str]
    model: str
    note: str
    until: str


def choose(visitor: Visitor, session: str, **changed: Unpack[Change]) -> None:
    """Change what belongs to a conversation: its persona, lorebooks or author's note, or the model that replied last.

    Raises:
        SessionError: the conversation belongs to another visitor.
        RoleError: the choice cannot be stored.
    """
    role_ids(visitor, session)
    chosen = choices_of(visitor, session)._replace(**changed)  # type: ignore[arg-type]
    note = None if chosen.note is None else chosen.note.strip()[:NOTE_CHARS]
    store_choices(visitor, session, chosen._replace(lorebooks=tuple(chosen.lorebooks), note=note))
