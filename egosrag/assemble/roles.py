"""Role cards from texts, and conversations with their store, memory, sources and reviser."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egosrag.assemble.manuals import build_index
from egosrag.assemble.models import chat_model, extract_model, reviser_for
from egosrag.console import Reporter
from egosrag.errors import RoleError, SettingsError
from egosrag.samples import role_path
from egosrag.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from egosrag.egos.extract.static import Extract
    from egosrag.egos.pipeline import MemorySettings, RoleSources
    from egosrag.rag.index.manual_index import ManualIndex
    from egosrag.schema import Evidence, Persona, Role, Turn
    from egosrag.sessions.conversation import Conversation


PASSAGES_AT_A_TIME = 4


@dataclass(frozen=True)
class ConversationSetup:
    """What a conversation needs beside the role's card.

    Attributes:
        sources: files with texts about the role, for the settings' strategy; a card may then be absent.
        name: the role's name in the sources, where there is no card.
        others: files of further cards, for a scene of several roles without sources.
        persona: who talks with the role, see :func:`egosrag.roles.personas.load_persona`.
        lore: files of lorebooks, added to the card's own; of several roles only the first one has them.
        greeting: the greeting that begins: 0 the card's first, from 1 on the alternate ones.
        earlier: turns that were said elsewhere before, for a new session with one role.
        until: the point of the sources as of which the roles speak, such as "chapter 5"; None: as the session was
            opened before.
        remember: files of memories that the conversation pins.
        sampling: how the replies are sampled, by the names of ``load_chat_model``, and ``stop`` strings; over the
            settings.
    """

    sources: Sequence[str | Path] = ()
    name: str | None = None
    others: Sequence[str | Path] = ()
    persona: str | None = None
    lore: Sequence[str | Path] = ()
    greeting: int = 0
    earlier: Sequence[Turn] = ()
    until: str | None = None
    remember: Sequence[str | Path] = ()
    sampling: Mapping[str, Any] = field(default_factory=dict)


def extract_step(
    model: BaseChatModel, progress: Reporter | None = None, progress_file: str | Path | None = None
) -> Extract:
    """The Extract step on a model, with the reviser that the model needs; it reads several passages at a time.

    Args:
        model: the model that reads.
        progress: receives the progress, chunk by chunk.
        progress_file: stores what each chunk gave, so that an interrupted call resumes.
    """
    from egosrag.egos.extract.static import Extract
    from egosrag.models.scripted import ScriptedChatModel

    workers = 1 if isinstance(model, ScriptedChatModel) else PASSAGES_AT_A_TIME  # a script is read in order
    return Extract(model, progress=progress, progress_file=progress_file, reviser=reviser_for(model), workers=workers)


def extract_role(
    settings: Settings, paths: Sequence[str | Path], name: str, out: str | Path, progress: Reporter
) -> Role:
    """Extract the card of ``name`` from texts and write it to ``out``, whole or not at all.

    With the strategy "dynamic" the card is the name alone, and the texts are indexed into the folder beside ``out``
    that :func:`conversation` looks for.

    Raises:
        SourceError, ModelError, RoleError, StoreError: a text, the model or ``out`` cannot be used.
    """
    from egosrag.egos.extract.dynamic import bare_role
    from egosrag.roles.files import save_role

    _check_writable(Path(out))
    texts = _read_texts(paths)
    if settings.strategy == "none":
        raise SettingsError("the strategy none extracts nothing: name the texts to egosrag chat with --source")
    if settings.strategy == "dynamic":
        role = bare_role(texts, name)
        build_index(settings, paths, str(_index_of(out)), progress)
    else:
        # The results of the chunks are kept in the cache until the card is done: the same call resumes.
        key = sha256(str(Path(out).resolve()).encode()).hexdigest()[:24]
        progress_file = settings.cache_dir / "extract" / f"{key}.jsonl"
        progress_file.parent.mkdir(parents=True, exist_ok=True)
        role = extract_step(extract_model(settings), progress, progress_file).invoke((texts, name))
    save_role(role, out)
    return role


@contextmanager
def conversation(
    settings: Settings,
    role: str | Path | None = None,
    session: str | None = None,
    model: BaseChatModel | None = None,
    *,
    setup: ConversationSetup | None = None,
    progress: Reporter | None = None,
) -> Iterator[Conversation]:
    """The session of that name with a role, while its store is open; a new session without a name.

    Args:
        settings: what was chosen.
        role: the file of the card, or the name of a sample.
        session: the name of the session.
        model: the model, where it is loaded already; by default the settings' one is loaded.
        setup: sources, further roles, the persona and the like.
        progress: receives the progress of Extract or of the index.

    Raises:
        RoleError, SourceError, ModelError, StoreError, SessionError, SettingsError: the card, a text, the model, the
            index or the store cannot be used, or they contradict each other.
    """
    from egosrag.models.sampling import call_sampling
    from egosrag.roles.files import load_role, with_greeting
    from egosrag.roles.lorebook import load_lorebook, with_lorebook
    from egosrag.sessions.archive import Archive
    from egosrag.sessions.catalog import restore
    from egosrag.sessions.conversation import Conversation
    from egosrag.sessions.group import GroupChat
    from egosrag.sessions.memories import read_memories
    from egosrag.sessions.store import open_store

    setup = setup or ConversationSetup()
    notify = {"notify": progress.note} if progress else {}  # by default, what leaves the prompt goes to the log
    session = session if session is not None else uuid.uuid4().hex[:8]
    model = model or chat_model(settings)
    card, sources = _card_and_sources(settings, role, setup, model, progress or Reporter())
    if setup.others and sources is not None:
        raise SettingsError("a scene of several roles is played from their cards alone: leave the sources out")
    card = with_greeting(card, setup.greeting)
    for file in setup.lore:
        card = with_lorebook(card, load_lorebook(file, **notify))
    cards = [card, *(load_role(other, **notify) for other in setup.others)]
    with open_store(settings.session_store) as store:
        if setup.earlier:
            restore(store, Archive(roles=(card,), turns=tuple(setup.earlier)), session)
        opened = Conversation if len(cards) == 1 else GroupChat
        talk = opened(
            model,
            cards if setup.others else card,  # type: ignore[arg-type]
            checkpointer=store,
            session=session,
            persona=_persona(settings, setup.persona),
            history=settings.history,
            quote=settings.quote,
            window=settings.prompt_tokens,
            memory=memory_settings(settings),
            sources=sources,
            reviser=reviser_for(model),
            sampling=call_sampling(model, settings.sampling, setup.sampling),
            unknown=settings.unknown,
            until=setup.until,
            **notify,
        )
        for file in setup.remember:
            for text in read_memories(file, talk.notify):
                talk.remember(text)
        yield talk


def _persona(settings: Settings, text: str | None) -> Persona | None:
    from egosrag.roles.personas import FILE_NAME, SavedPersonas, load_persona

    if text is None:
        return None
    return load_persona(text, SavedPersonas(settings.data_dir / FILE_NAME).all())


def _card_and_sources(
    settings: Settings, file: str | Path | None, setup: ConversationSetup, model: BaseChatModel, progress: Reporter
) -> tuple[Role, RoleSources | None]:
    """The card that is played, and its sources with what reads or searches them."""
    from egosrag.egos.pipeline import RoleSources
    from egosrag.roles.files import load_role

    if (file is None) == (setup.name is None):
        raise RoleError("who is it? give a role card, or the name that the sources use, one of the two")
    file = role_path(file) if file is not None else None
    card = load_role(file, notify=progress.note) if file is not None else None
    if not setup.sources:
        if card is None or file is None:
            raise RoleError(f"nothing is known of {setup.name}: give texts about the role as sources, or a role card")
        if settings.strategy == "dynamic" or (settings.strategy is None and _index_of(file).is_dir()):
            from egosrag.rag.index.manual_index import ManualIndex

            index = ManualIndex.load(_index_of(file), settings.embedder)
            return card, RoleSources(search=source_search(index, settings.top_k))
        return card, None
    from egosrag.egos.extract.dynamic import bare_role
    from egosrag.rag.index.manual_index import ManualIndex
    from egosrag.roles.points import timeline_of

    strategy = settings.strategy or ("dynamic" if card else "static")
    if card and strategy == "static":
        raise SettingsError(f"{file} is a card already: leave the sources out, or search them (strategy dynamic)")
    texts = _read_texts(setup.sources)
    role = card or bare_role(texts, str(setup.name))
    if not role.timeline:
        role = role.model_copy(update={"timeline": timeline_of(texts)})
    if strategy == "dynamic":
        index = ManualIndex.cached(
            setup.sources,
            settings.cache_dir,
            settings.embedder,
            progress,
            window=settings.window,
            overlap=settings.overlap,
        )
        return role, RoleSources(search=source_search(index, settings.top_k))
    if strategy == "none":
        return role, RoleSources(texts)
    return role, RoleSources(texts, extract=extract_step(extract_model(settings, model), progress))


def memory_settings(settings: Settings) -> MemorySettings:
    """The memory of one session: dynamic memory searches by words, and by meaning where an embedder is chosen.

    Raises:
        ModelError: the embedder cannot be loaded.
    """
    from egosrag.egos.pipeline import MemorySettings

    search = None
    if settings.memory in ("dynamic", "both"):
        from egosrag.rag.index.vectors import load_embedder
        from egosrag.rag.retrieval.turn_memory import TurnMemory

        search = TurnMemory(load_embedder(settings.embedder))
    return MemorySettings(settings.memory, search, settings.keep_turns)


def source_search(index: ManualIndex, top_k: int = 5) -> Callable[[str], list[Evidence]]:
    """A search over a role's sources, for dynamic Extract: a line -> places, the best first.

    Offsets count characters in the source's whole text, as ``read_text`` returns it.
    """
    from egosrag.rag.retrieval.search import Retriever
    from egosrag.schema import Evidence

    before: dict[tuple[str, int], int] = {}
    length: dict[str, int] = {}
    for page in index.pages:
        before[page.source, page.page] = length.get(page.source, 0)
        length[page.source] = before[page.source, page.page] + len(page.text) + len("\n\n")
    retriever = Retriever(index, per_page=None)

    def search(line: str) -> list[Evidence]:
        hits = (passage for passage, _ in retriever.search(line, top_k))
        return [
            Evidence(source=p.source, start=offset + p.start, end=offset + p.end, quote=p.text)
            for p in hits
            for offset in (before[p.source, p.page],)
        ]

    return search


def _read_texts(paths: Sequence[str | Path]) -> list[tuple[str, str]]:
    from egosrag.rag.documents.load import find_files, read_text
    from egosrag.roles.points import in_order

    return in_order([(source, read_text(path)) for source, path in find_files(paths).items()])


def _index_of(role: str | Path) -> Path:
    """The folder of the index that was extracted with a card: named by the card's file, never by its text."""
    return Path(role).with_suffix(".index")


def _check_writable(file: Path) -> None:
    """Fails before hours of work if ``file`` cannot be written, not after them."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RoleError(f"{file.parent} cannot be made ({error.strerror}): give --out another path") from error
    if file.is_dir() or not os.access(file.parent, os.W_OK):
        raise RoleError(f"{file} cannot be written: give --out the path of a file in a folder that you may write")
